"""Baidu Qianfan's first API: a path for each model, the answer in `result`, a running count of usage in every event."""

from __future__ import annotations

import re
from typing import Any, Final

from tokenmeter.testing.ask import CREATED, Ask
from tokenmeter.testing.dialects import Numbers
from tokenmeter.testing.reply import Reply, json_reply, sse, sse_reply

__all__ = ["API", "PATH", "answer", "refuse"]

API: Final = "baidu.wenxin"
PATH: Final = re.compile(r"/wenxinworkshop/chat/(?P<model>[^/]+)$")


def answer(ask: Ask) -> Reply:
    """The text whole, or in pieces that are each what is new."""
    words = ask.words()
    if not ask.stream:
        return json_reply(_body(ask, "".join(words), ask.numbers))
    frames = []
    for number, word in enumerate(words, 1):
        body = _body(ask, word, ask.numbers.so_far(number, len(words)))
        frames.append(sse({**body, "sentence_id": number - 1, "is_end": number == len(words)}))
    return sse_reply(frames, sse(refuse(500, "Internal error")))


def refuse(status: int, message: str) -> dict[str, Any]:
    """Qianfan's error body."""
    return {"error_code": {401: 110, 429: 18}.get(status, 336100), "error_msg": message}


def _body(ask: Ask, text: str, numbers: Numbers) -> dict[str, Any]:
    body: dict[str, Any] = {"id": f"as-{ask.id}", "object": "chat.completion", "created": CREATED, "result": text}
    if ask.faults.usage == "none":
        return body
    total = numbers.input + numbers.output
    usage = {"prompt_tokens": numbers.input, "completion_tokens": numbers.output, "total_tokens": total}
    return {**body, "is_truncated": False, "usage": usage}
