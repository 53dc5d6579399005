"""Cohere's chat, version 2 of the API: billed units beside tokens."""

from __future__ import annotations

import re
from typing import Any, Final

from tokenmeter.testing.ask import Ask
from tokenmeter.testing.reply import Reply, json_reply, sse, sse_reply

__all__ = ["API", "PATH", "answer", "refuse"]

API: Final = "cohere.chat.v2"
PATH: Final = re.compile(r"/v2/chat$")


def answer(ask: Ask) -> Reply:
    """A message, whole or as a stream that ends with `message-end`."""
    words = ask.words()
    if not ask.stream:
        content = [{"type": "text", "text": "".join(words)}]
        message = {"role": "assistant", "content": content}
        return json_reply({"id": ask.id, "finish_reason": "COMPLETE", "message": message, **_usage(ask)})
    start = {"type": "message-start", "id": ask.id, "delta": {"message": {"role": "assistant", "content": []}}}
    opened = {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}}
    pieces = [
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": word}}}} for word in words
    ]
    end = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", **_usage(ask)}}
    events: list[dict[str, Any]] = [start, opened, *pieces, {"type": "content-end", "index": 0}, end]
    failure = {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "internal error"}}
    return sse_reply([sse(event, event["type"]) for event in events], sse(failure, "message-end"))


def refuse(status: int, message: str) -> dict[str, Any]:
    """Cohere's error body."""
    return {"id": "refused", "message": message}


def _usage(ask: Ask) -> dict[str, Any]:
    if ask.faults.usage == "none":
        return {}
    if ask.faults.usage == "null":
        return {"usage": None}
    numbers = ask.numbers
    billed = {"input_tokens": numbers.input, "output_tokens": numbers.output}
    # The tokens of the model's own template come on top, and are not billed.
    tokens = {"input_tokens": numbers.input + 60, "output_tokens": numbers.output + 2}
    return {"usage": {"billed_units": billed, "tokens": tokens}}
