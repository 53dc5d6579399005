"""OpenAI's legacy completions: a prompt in, text out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tokenmeter.testing.ask import CREATED, Ask
from tokenmeter.testing.reply import Reply, json_reply, sse, sse_reply
from tokenmeter.testing.wire.openai_chat import error_event, refuse, usage_of

__all__ = ["API", "PATH", "answer", "refuse"]

API: Final = "openai.completions"
PATH: Final = re.compile(r"(?<!/chat)(?:/deployments/(?P<model>[^/]+))?(?<!/chat)/completions$")


def answer(ask: Ask) -> Reply:
    """Text as asked, whole or as a stream."""
    if ask.stream:
        return sse_reply([*_events(ask), sse("[DONE]")], error_event())
    body = {**_head(ask), "choices": [_choice("".join(ask.words()), "stop")]}
    if ask.faults.bad == "null":
        body["choices"] = [None]
    if ask.faults.usage != "none":
        body["usage"] = usage_of(ask, ask.numbers)
    return json_reply(body)


def _head(ask: Ask) -> dict[str, Any]:
    return {"id": f"cmpl-{ask.id}", "object": "text_completion", "created": CREATED, "model": ask.model}


def _choice(text: str, finish: str | None) -> dict[str, Any]:
    return {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}


def _events(ask: Ask) -> Iterator[bytes]:
    place = ask.faults.usage or ask.dialect.place
    words = ask.words()
    for number, piece in enumerate(words, 1):
        last = number == len(words)
        chunk = {**_head(ask), "choices": [_choice(piece, "stop" if last else None)]}
        if place == "cumulative" or (last and place in ("last", "choice")):
            chunk["usage"] = usage_of(ask, ask.numbers.so_far(number, len(words)))
        yield sse(chunk)
    asked = (ask.body.get("stream_options") or {}).get("include_usage")
    if place == "extra" or (asked and place not in ("cumulative", "last", "choice", "none")):
        yield sse({**_head(ask), "choices": [], "usage": usage_of(ask, ask.numbers)})
