"""Ollama's chat and generate: lines of JSON, streamed unless told otherwise, counts in the last line."""

from __future__ import annotations

import re
from typing import Any, Final

from tokenmeter.testing.ask import Ask
from tokenmeter.testing.reply import Reply, json_reply, ndjson_reply

__all__ = ["API", "PATH", "answer", "refuse"]

API: Final = "ollama.chat"
PATH: Final = re.compile(r"/api/(?:chat|generate)$")


def answer(ask: Ask) -> Reply:
    """Text in lines, or one object with `stream: false`."""
    words = ask.words()
    if ask.body.get("stream") is False:
        return json_reply({**_line(ask, "".join(words)), **_end(ask)})
    lines = [{**_line(ask, word), "done": False} for word in words]
    return ndjson_reply([*lines, {**_line(ask, ""), **_end(ask)}], refuse(500, "the model runner has stopped"))


def refuse(status: int, message: str) -> dict[str, Any]:
    """Ollama's error body."""
    return {"error": message}


def _line(ask: Ask, text: str) -> dict[str, Any]:
    said: dict[str, Any] = {"message": {"role": "assistant", "content": text}}
    if ask.path.endswith("/generate"):
        said = {"response": text}
    if ask.faults.bad == "null":
        said = {"message": None}
    return {"model": ask.model, "created_at": "2025-10-09T08:53:20Z", **said}


def _end(ask: Ask) -> dict[str, Any]:
    end: dict[str, Any] = {"done": True, "done_reason": "stop", "total_duration": 5_000_000, "eval_duration": 3_000_000}
    if ask.faults.usage not in ("none", "null"):
        end |= {"prompt_eval_count": ask.numbers.input, "eval_count": ask.numbers.output}
    return end
