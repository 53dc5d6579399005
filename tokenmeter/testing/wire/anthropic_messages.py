"""Anthropic's messages: input known at the start of a stream, output as a running count in `message_delta`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from tokenmeter.testing.ask import Ask
from tokenmeter.testing.reply import Reply, json_reply, sse, sse_reply

__all__ = ["API", "PATH", "answer", "events", "message", "refuse"]

API: Final = "anthropic.messages"
PATH: Final = re.compile(r"/v1/messages$|/publishers/anthropic/models/(?P<model>[^/]+):(?:r|streamR)awPredict$")
"""On Vertex the path names the model."""
_BAD: Final = b'event: content_block_delta\ndata: {"type": "content_block_delta", "ind\n\n'

_EMPTY: Final[dict[str, dict[str, Any]]] = {
    "thinking": {"thinking": "", "signature": ""},
    "text": {"text": ""},
    "tool_use": {"input": {}},
}


def answer(ask: Ask) -> Reply:
    """A message, whole or as a stream; thinking and a tool call as asked."""
    if not ask.stream:
        return json_reply(message(ask))
    failure = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    return sse_reply([sse(event, event["type"]) for event in events(ask)], sse(failure, "error"), _BAD)


def refuse(status: int, message: str) -> dict[str, Any]:
    """Anthropic's error body."""
    kinds = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}
    kind = {429: "rate_limit_error", 529: "overloaded_error", **kinds}.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_refused"}


def _input_usage(ask: Ask) -> dict[str, Any]:
    # Cached input stands beside the input here, not inside it.
    numbers = ask.numbers
    return {
        "input_tokens": numbers.input - numbers.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": numbers.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "service_tier": "standard",
    }


def _usage(ask: Ask) -> Any:
    if ask.faults.usage in ("none", "null"):
        return None
    usage = {**_input_usage(ask), "output_tokens": ask.numbers.output}
    if ask.faults.usage == "strings":
        return {name: str(value) if isinstance(value, int) else value for name, value in usage.items()}
    return usage


def _blocks(ask: Ask) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if thoughts := ask.thoughts():
        blocks.append({"type": "thinking", "thinking": "".join(thoughts), "signature": "c2ln"})
    if tool := ask.tool():
        name, arguments = tool
        return [*blocks, {"type": "tool_use", "id": f"toolu_{ask.id}", "name": name, "input": json.loads(arguments)}]
    return [*blocks, {"type": "text", "text": "".join(ask.words())}]


def message(ask: Ask) -> dict[str, Any]:
    """The whole message."""
    body = {
        "id": f"msg_{ask.id}",
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": [None] if ask.faults.bad == "null" else _blocks(ask),
        "stop_reason": "tool_use" if ask.tool() else "end_turn",
        "stop_sequence": None,
        "usage": _usage(ask),
    }
    if ask.faults.usage == "none":
        del body["usage"]
    return body


def events(ask: Ask) -> Iterator[dict[str, Any]]:
    """The events of a stream, in order."""
    start = {**message(ask), "content": [], "stop_reason": None, "usage": {**_input_usage(ask), "output_tokens": 1}}
    if ask.faults.usage == "none":
        del start["usage"]
    yield {"type": "message_start", "message": start}
    yield {"type": "ping"}
    for index, block in enumerate(_blocks(ask)):
        yield from _block_events(ask, index, block)
    delta = {"stop_reason": "tool_use" if ask.tool() else "end_turn", "stop_sequence": None}
    usage = {} if ask.faults.usage == "none" else {"usage": {"output_tokens": ask.numbers.output}}
    yield {"type": "message_delta", "delta": delta, **usage}
    yield {"type": "message_stop"}


def _block_events(ask: Ask, index: int, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind = block["type"]
    yield {"type": "content_block_start", "index": index, "content_block": {**block, **_EMPTY[kind]}}
    if kind == "text":
        deltas = [{"type": "text_delta", "text": piece} for piece in ask.words()]
    elif kind == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in ask.thoughts()]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
    else:
        deltas = [{"type": "input_json_delta", "partial_json": json.dumps(block["input"], ensure_ascii=False)}]
    for delta in deltas:
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}
