"""OpenAI's embeddings: eight numbers for each input, as a list or in base64."""

from __future__ import annotations

import base64
import re
import struct
from typing import Any, Final

from tokenmeter.testing.ask import Ask
from tokenmeter.testing.reply import Reply, json_reply
from tokenmeter.testing.wire.openai_chat import refuse

__all__ = ["API", "PATH", "answer", "refuse"]

API: Final = "openai.embeddings"
PATH: Final = re.compile(r"(?:/deployments/(?P<model>[^/]+))?/embeddings$")


def answer(ask: Ask) -> Reply:
    """One vector for each input; input may be text, tokens, or a list of either."""
    given = ask.body.get("input")
    inputs = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
    vectors = [[(number + place) / 16 for place in range(8)] for number in range(len(inputs))]
    data: list[Any] = [
        {"object": "embedding", "index": number, "embedding": _encoded(ask, vector)}
        for number, vector in enumerate(vectors)
    ]
    body: dict[str, Any] = {"object": "list", "data": data, "model": ask.model}
    used: Any = {"prompt_tokens": ask.numbers.input, "total_tokens": ask.numbers.input}
    if ask.faults.usage == "strings":
        used = {name: str(value) for name, value in used.items()}
    if ask.faults.bad == "null":
        body["data"] = [None]
    if ask.faults.usage != "none":
        body["usage"] = None if ask.faults.usage == "null" else used
    return json_reply(body)


def _encoded(ask: Ask, vector: list[float]) -> str | list[float]:
    if ask.body.get("encoding_format") != "base64":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
