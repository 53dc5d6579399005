"""Turn a recorded case back into the HTTP answer it came from, as one body or as server-sent events.

A case keeps what the model said and the vendor's usage, not the body around them (`stream_events` excepted, which are
replayed as they are). The body is rebuilt in OpenAI's documented shape; usage goes in verbatim, and in a stream
stands where that vendor puts it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from tokenmeter.testing.dialects import DIALECTS
from tokenmeter.testing.reply import Reply, json_reply, sse, sse_reply

__all__ = ["APIS", "place_of_usage", "rebuild", "recorded"]

Case = Mapping[str, Any]
APIS: Final = ("openai.chat", "openai.completions", "openai.embeddings", "openai.responses")
CREATED: Final = 1_760_000_000
_PIECES: Final = 24
_DIALECT: Final = {"volcengine": "ark", "azure-openai": "azure", "google": "deepseek"}


def place_of_usage(case: Case) -> str:
    """Where this vendor puts the usage of a chat stream; `asked` where that is not known."""
    # Google's endpoint of this shape says it in the last chunk, as DeepSeek does.
    dialect = DIALECTS.get(_DIALECT.get(case["vendor"], case["vendor"]))
    return dialect.place if dialect is not None else "asked"


def rebuild(case: Case, request: Mapping[str, Any]) -> Reply:
    """The answer to a request as this case's vendor would have given it."""
    if not request.get("stream"):
        return json_reply(_BODIES[case["api"]](case))
    events = _EVENTS[case["api"]](case, request)
    frames = [sse(event, event.get("type")) for event in events]
    if case["api"] != "openai.responses":
        frames.append(sse("[DONE]"))
    return sse_reply(frames, b"")


def recorded(case: Case) -> Reply:
    """The recorded events, as they are."""
    frames = []
    for event in case["stream_events"]:
        text = event if isinstance(event, str) else json.dumps(event, ensure_ascii=False)
        name = None
        if case["api"] == "openai.responses" and text.startswith("{"):
            name = json.loads(text).get("type")
        frames.append(sse(text, name))
    return sse_reply(frames, b"")


def _model(case: Case) -> str:
    return case["model_returned"] or case["model_requested"] or "unknown"


def _head(case: Case, kind: str) -> dict[str, Any]:
    return {"id": case["id"], "object": kind, "created": CREATED, "model": _model(case)}


def _texts(case: Case) -> list[str]:
    return case["output"].get("texts") or [case["output"]["text"]]


def _calls(case: Case) -> list[dict[str, Any]]:
    return [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": call["arguments"] or ""},
        }
        for call in case["output"]["tool_calls"]
    ]


def _chat(case: Case) -> dict[str, Any]:
    choices = []
    for index, text in enumerate(_texts(case)):
        message: dict[str, Any] = {"role": "assistant", "content": text or None}
        if case["output"]["reasoning"]:
            message["reasoning_content"] = case["output"]["reasoning"]
        if calls := _calls(case):
            message["tool_calls"] = calls
        choices.append({"index": index, "message": message, "finish_reason": case["output"]["finish_reason"]})
    return {**_head(case, "chat.completion"), "choices": choices, "usage": case["usage"]}


def _completion(case: Case) -> dict[str, Any]:
    finish = case["output"]["finish_reason"]
    choices = [
        {"index": index, "text": text, "finish_reason": finish, "logprobs": None}
        for index, text in enumerate(_texts(case))
    ]
    return {**_head(case, "text_completion"), "choices": choices, "usage": case["usage"]}


def _embedding(case: Case) -> dict[str, Any]:
    # Vectors were not kept; three numbers stand for each, and the usage is what is under test.
    data = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5, 0.125]}]
    return {"object": "list", "data": data, "model": _model(case), "usage": case["usage"]}


def _response(case: Case, status: str = "completed", *, whole: bool = True) -> dict[str, Any]:
    incomplete = case["output"]["finish_reason"] in ("max_output_tokens", "incomplete")
    output: list[dict[str, Any]] = []
    if case["output"]["reasoning"]:
        summary = [{"type": "summary_text", "text": case["output"]["reasoning"]}]
        output.append({"id": "rs_1", "type": "reasoning", "summary": summary})
    if case["output"]["text"]:
        output.append(_message(case["output"]["text"]))
    output += [
        {
            "id": f"fc_{number}",
            "type": "function_call",
            "call_id": call["id"],
            "name": call["name"],
            "arguments": call["arguments"] or "",
        }
        for number, call in enumerate(case["output"]["tool_calls"])
    ]
    return {
        "id": case["id"],
        "object": "response",
        "created_at": CREATED,
        "status": ("incomplete" if incomplete else status) if whole else status,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if incomplete and whole else None,
        "model": _model(case),
        "output": output if whole else [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": case["usage"] if whole else None,
    }


def _message(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": content}


def _split(text: str) -> list[str]:
    size = max(1, -(-len(text) // _PIECES))
    return [text[start : start + size] for start in range(0, len(text), size)]


def _chat_events(case: Case, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    deltas: list[tuple[int, dict[str, Any]]] = [(0, {"role": "assistant", "content": ""})]
    deltas += [(0, {"reasoning_content": piece}) for piece in _split(case["output"]["reasoning"])]
    for index, text in enumerate(_texts(case)):
        deltas += [(index, {"content": piece}) for piece in _split(text)]
    for index, call in enumerate(_calls(case)):
        arguments = call["function"]["arguments"]
        call["function"]["arguments"] = ""
        deltas.append((0, {"tool_calls": [{"index": index, **call}]}))
        deltas += [
            (0, {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}) for piece in _split(arguments)
        ]
    chunks = [{"choices": [{"index": index, "delta": delta, "finish_reason": None}]} for index, delta in deltas]
    finish = case["output"]["finish_reason"]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    yield from _with_usage(case, request, _head(case, "chat.completion.chunk"), chunks)


def _completion_events(case: Case, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    finish = case["output"]["finish_reason"]
    chunks = [
        {"choices": [{"index": index, "text": piece, "finish_reason": None, "logprobs": None}]}
        for index, text in enumerate(_texts(case))
        for piece in _split(text)
    ]
    chunks.append({"choices": [{"index": 0, "text": "", "finish_reason": finish, "logprobs": None}]})
    yield from _with_usage(case, request, _head(case, "text_completion"), chunks)


def _with_usage(
    case: Case, request: Mapping[str, Any], head: dict[str, Any], chunks: list[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    place = place_of_usage(case)
    last = chunks[-1]
    if place in ("last", "cumulative"):
        last["usage"] = case["usage"]
    elif place == "choice":
        last["choices"][0]["usage"] = case["usage"]
    elif place == "x_groq":
        last["x_groq"] = {"id": "req_1", "usage": case["usage"]}
    for chunk in chunks:
        yield {**head, **chunk}
    asked = (request.get("stream_options") or {}).get("include_usage")
    if place == "extra" or (asked and place == "asked"):
        yield {**head, "choices": [], "usage": case["usage"]}


def _response_events(case: Case, request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for number, event in enumerate(_response_steps(case)):
        yield {**event, "sequence_number": number}


def _response_steps(case: Case) -> Iterator[dict[str, Any]]:
    yield {"type": "response.created", "response": _response(case, "in_progress", whole=False)}
    whole = _response(case)
    for index, item in enumerate(whole["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        if item["type"] == "message":
            part = item["content"][0]
            empty = {**item, "content": [], "status": "in_progress"}
            yield {"type": "response.output_item.added", "output_index": index, "item": empty}
            inside = {**place, "content_index": 0}
            yield {"type": "response.content_part.added", **inside, "part": {**part, "text": ""}}
            for piece in _split(part["text"]):
                yield {"type": "response.output_text.delta", **inside, "delta": piece, "logprobs": []}
            yield {"type": "response.output_text.done", **inside, "text": part["text"], "logprobs": []}
        else:
            yield {"type": "response.output_item.added", "output_index": index, "item": item}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    kind = "response.incomplete" if whole["status"] == "incomplete" else "response.completed"
    yield {"type": kind, "response": whole}


_BODIES: Final = {
    "openai.chat": _chat,
    "openai.completions": _completion,
    "openai.embeddings": _embedding,
    "openai.responses": _response,
}
_EVENTS: Final = {
    "openai.chat": _chat_events,
    "openai.completions": _completion_events,
    "openai.responses": _response_events,
}
