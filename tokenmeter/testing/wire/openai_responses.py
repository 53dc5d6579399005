"""OpenAI's Responses API: one response, or the events by which it comes to be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tokenmeter.testing.ask import CREATED, Ask
from tokenmeter.testing.reply import Reply, json_reply, sse, sse_reply
from tokenmeter.testing.wire.openai_chat import refuse

__all__ = ["API", "PATH", "answer", "refuse"]

API: Final = "openai.responses"
PATH: Final = re.compile(r"/responses$")
_BAD: Final = b'event: response.output_text.delta\ndata: {"type": "response.output_te\n\n'


def answer(ask: Ask) -> Reply:
    """A message, or a function call, with reasoning before it if asked for."""
    if not ask.stream:
        return json_reply(_response(ask, "completed", _output(ask)))
    frames = [
        sse({**event, "sequence_number": number}, str(event["type"])) for number, event in enumerate(_events(ask))
    ]
    failure = {"type": "error", "code": "server_error", "message": "The server had an error", "param": None}
    return sse_reply(frames, sse({**failure, "sequence_number": len(frames)}, "error"), _BAD)


def _usage(ask: Ask) -> Any:
    numbers = ask.numbers
    usage: dict[str, Any] = {
        "input_tokens": numbers.input,
        "input_tokens_details": {"cached_tokens": numbers.cached},
        "output_tokens": numbers.output,
        "output_tokens_details": {"reasoning_tokens": numbers.reasoning},
        "total_tokens": numbers.input + numbers.output,
    }
    if ask.faults.usage in ("null", "none"):
        return None
    if ask.faults.usage == "strings":
        return {name: str(value) if isinstance(value, int) else value for name, value in usage.items()}
    return usage


def _response(ask: Ask, status: str, output: list[Any]) -> dict[str, Any]:
    done = status == "completed"
    response: dict[str, Any] = {
        "id": f"resp_{ask.id}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": ask.body.get("instructions"),
        "metadata": ask.body.get("metadata") or {},
        "model": ask.model,
        "output": [None] if ask.faults.bad == "null" and done else output,
        "parallel_tool_calls": True,
        "service_tier": ask.body.get("service_tier") or "default",
        "temperature": 1.0,
        "tool_choice": ask.body.get("tool_choice") or "auto",
        "tools": ask.body.get("tools") or [],
        "top_p": 1.0,
        "text": ask.body.get("text") or {"format": {"type": "text"}},
        "truncation": "disabled",
        "usage": _usage(ask) if done else None,
    }
    if ask.faults.usage == "none":
        del response["usage"]
    return response


def _output(ask: Ask) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if ask.faults.reasoning:
        items.append({"id": f"rs_{ask.id}", "type": "reasoning", "summary": []})
    if tool := ask.tool():
        return [*items, _function_call(ask, *tool)]
    return [*items, _message(ask, "".join(ask.words()), "completed")]


def _function_call(ask: Ask, name: str, arguments: str) -> dict[str, Any]:
    call = {"id": f"fc_{ask.id}", "type": "function_call", "call_id": f"call_{ask.id}", "status": "completed"}
    return {**call, "name": name, "arguments": arguments}


def _message(ask: Ask, text: str | None, status: str) -> dict[str, Any]:
    content = [] if text is None else [_part(text)]
    return {"id": f"msg_{ask.id}", "type": "message", "role": "assistant", "status": status, "content": content}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


def _events(ask: Ask) -> Iterator[Mapping[str, Any]]:
    begun = _response(ask, "in_progress", [])
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    items = _output(ask)
    for index, item in enumerate(items):
        yield from _item_events(ask, index, item)
    yield {"type": "response.completed", "response": _response(ask, "completed", items)}


def _item_events(ask: Ask, index: int, item: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    place = {"item_id": item["id"], "output_index": index}
    match item["type"]:
        case "message":
            yield _added(index, _message(ask, None, "in_progress"))
            inside = {**place, "content_index": 0}
            yield {"type": "response.content_part.added", **inside, "part": _part("")}
            for piece in ask.words():
                yield {"type": "response.output_text.delta", **inside, "delta": piece, "logprobs": []}
            text = "".join(ask.words())
            yield {"type": "response.output_text.done", **inside, "text": text, "logprobs": []}
            yield {"type": "response.content_part.done", **inside, "part": _part(text)}
        case "function_call":
            yield _added(index, {**item, "arguments": "", "status": "in_progress"})
            arguments = item["arguments"]
            for start in range(0, len(arguments), 8):
                delta = arguments[start : start + 8]
                yield {"type": "response.function_call_arguments.delta", **place, "delta": delta}
            named = {"name": item["name"], "arguments": arguments}
            yield {"type": "response.function_call_arguments.done", **place, **named}
        case _:
            yield _added(index, item)
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _added(index: int, item: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "response.output_item.added", "output_index": index, "item": item}
