"""OpenAI's chat completions, in every provider's dialect: JSON and server-sent events."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from tokenmeter.testing.ask import CREATED, Ask
from tokenmeter.testing.dialects import Numbers
from tokenmeter.testing.reply import Reply, json_reply, sse, sse_reply

__all__ = ["API", "PATH", "answer", "error_event", "refuse", "usage_of"]

API: Final = "openai.chat"
PATH: Final = re.compile(
    r"(?:/deployments/(?P<model>[^/]+))?/(?:chat/completions|text/chatcompletion_v2|bots/chat/completions)$"
)
# Azure learned stream_options with this version of its API.
_AZURE_STREAM_OPTIONS: Final = "2024-09-01"


def answer(ask: Ask) -> Reply:
    """Chat as asked: text, a tool call, or JSON by a schema; `n` choices."""
    refused = _refused_stream_options(ask)
    if refused is not None:
        return refused
    if ask.stream:
        return sse_reply([*_events(ask), sse("[DONE]")], error_event())
    body = {**_head(ask, "chat.completion"), "choices": _choices(ask), "usage": usage_of(ask, ask.numbers)}
    if ask.faults.usage == "none":
        del body["usage"]
    if ask.faults.usage == "choice":
        body["choices"][0]["usage"] = body.pop("usage")
    if ask.dialect.name == "groq":
        body["x_groq"] = {"id": f"req_{ask.id}"}
    return json_reply(body)


def refuse(status: int, message: str) -> dict[str, Any]:
    """OpenAI's error body."""
    kind = {401: "authentication_error", 429: "rate_limit_error"}.get(status, "server_error")
    kind = "invalid_request_error" if status in (400, 404, 422) else kind
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}


def error_event() -> bytes:
    """What a stream says when it fails after it began."""
    return sse({"error": {"message": "The server had an error", "type": "server_error", "param": None, "code": None}})


def usage_of(ask: Ask, numbers: Numbers) -> Any:
    """The usage object in the provider's shape, or in the broken one asked for."""
    shape = ask.dialect.shape(numbers)
    if ask.faults.usage == "null":
        return None
    if ask.faults.usage == "strings":
        return {name: str(value) if isinstance(value, int) else value for name, value in shape.items()}
    return shape


def _refused_stream_options(ask: Ask) -> Reply | None:
    if "stream_options" not in ask.body:
        return None
    status = ask.dialect.refuses_stream_options
    version = ask.query.get("api-version", "9999")
    if status is None and (version >= _AZURE_STREAM_OPTIONS or "/deployments/" not in ask.path):
        return None
    if status is None:
        return json_reply(refuse(400, "Unknown parameter: 'stream_options'."), 400)
    detail = {"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}
    return json_reply({"object": "error", "message": {"detail": [detail]}, "type": "invalid_request_error"}, status)


def _head(ask: Ask, kind: str) -> dict[str, Any]:
    head: dict[str, Any] = {"id": f"chatcmpl-{ask.id}", "object": kind, "created": CREATED, "model": ask.model}
    if tier := ask.body.get("service_tier"):
        head["service_tier"] = "default" if tier == "auto" else tier
    return {**head, **(ask.dialect.body or {})}


def _choices(ask: Ask) -> list[Any]:
    if ask.faults.bad == "null":
        return [None]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(ask.words())}
    finish = "stop"
    if thoughts := ask.thoughts():
        message["reasoning_content"] = "".join(thoughts)
    if tool := ask.tool():
        message["content"], finish = None, "tool_calls"
        message["tool_calls"] = [_call(ask, *tool)]
    several = ask.body.get("n") or 1
    return [{"index": i, "message": message, "finish_reason": finish, "logprobs": None} for i in range(several)]


def _call(ask: Ask, name: str, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{ask.id}", "type": "function", "function": {"name": name, "arguments": arguments}}


def _events(ask: Ask) -> Iterator[bytes]:
    place = ask.faults.usage or ask.dialect.place
    if place in ("strings", "null", "negative"):
        place = ask.dialect.place
    asked = bool((ask.body.get("stream_options") or {}).get("include_usage"))
    head = _head(ask, "chat.completion.chunk")
    if place == "asked" and asked:
        head["usage"] = None  # what OpenAI adds to every chunk but the last
    if ask.dialect.name == "azure" or "/deployments/" in ask.path:
        yield sse({**head, "choices": [], "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {}}]})
    deltas = _deltas(ask)
    for number, (delta, finish) in enumerate(deltas, 1):
        chunk = {**head, "choices": _chunk_choices(ask, delta, finish)}
        if place == "cumulative":
            chunk["usage"] = usage_of(ask, ask.numbers.so_far(number, len(deltas)))
        elif finish is not None:
            _put_usage(ask, chunk, place)
        yield sse(chunk)
    if place == "extra" or (asked and (place == "asked" or (place == "choice" and ask.dialect.extra_chunk_if_asked))):
        yield sse({**head, "choices": [], "usage": usage_of(ask, ask.numbers)})


def _put_usage(ask: Ask, chunk: dict[str, Any], place: str) -> None:
    usage = usage_of(ask, ask.numbers)
    match place:
        case "last":
            chunk["usage"] = usage
        case "choice" if chunk["choices"] and chunk["choices"][0]:
            chunk["choices"][0]["usage"] = usage
        case "x_groq":
            chunk["x_groq"] = {"id": f"req_{ask.id}", "usage": usage}
            chunk["usage"] = usage


def _chunk_choices(ask: Ask, delta: dict[str, Any], finish: str | None) -> list[Any]:
    if ask.faults.bad == "null":
        return [None]
    several = ask.body.get("n") or 1
    return [{"index": i, "delta": delta, "finish_reason": finish, "logprobs": None} for i in range(several)]


def _deltas(ask: Ask) -> list[tuple[dict[str, Any], str | None]]:
    deltas: list[tuple[dict[str, Any], str | None]] = [({"role": "assistant", "content": ""}, None)]
    deltas += [({"reasoning_content": piece}, None) for piece in ask.thoughts()]
    tool = ask.tool()
    if tool is None:
        deltas += [({"content": piece}, None) for piece in ask.words()]
        return [*deltas, ({}, "stop")]
    name, arguments = tool
    first = {"index": 0, **_call(ask, name, "")}
    deltas.append(({"tool_calls": [first]}, None))
    for start in range(0, len(arguments), 8):
        part = {"index": 0, "function": {"arguments": arguments[start : start + 8]}}
        deltas.append(({"tool_calls": [part]}, None))
    return [*deltas, ({}, "tool_calls")]
