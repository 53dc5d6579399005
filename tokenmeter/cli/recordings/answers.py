"""Reads what a recorded answer says: text, reasoning, tool calls, and why it ended.

A whole answer is read as the next turn of a conversation, by the reader of requests, so every vendor's form is known
once. A stream is joined into the whole answer that its events stand for; where its calls come in a form that is not
joined here, the output is marked `incomplete`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tokenmeter.tokens.requests.bodies import read
from tokenmeter.wire.extract import Extracted, extract
from tokenmeter.wire.stream_reader import StreamReader

__all__ = ["read_answer", "read_stream"]

Output = dict[str, Any]


def read_answer(body: Mapping[str, Any], provider: str | None, api: str | None) -> tuple[Extracted, Output]:
    """Usage and output of a whole answer."""
    found = extract(dict(body), provider=provider, api=api)
    return found, _output(_turns(body), found)


def read_stream(events: Sequence[Any], provider: str | None, api: str | None) -> tuple[Extracted, Output]:
    """Usage and output of the events of a stream, decoded."""
    said: dict[str, list[str]] = {}
    reader = StreamReader(provider=provider, api=api, on_text=lambda kind, text: said.setdefault(kind, []).append(text))
    for event in events:
        reader.feed(event)
    found = reader.result()
    whole = next((one["response"] for one in reversed(events) if _ended(one)), None)
    if whole is not None:  # OpenAI's Responses end with the whole answer
        return found, _output(_turns(whole), found)
    output = _output([], found)
    output["text"], output["reasoning"] = "".join(said.get("text", ())), "".join(said.get("reasoning", ()))
    output["tool_calls"] = _streamed_calls(events)
    output["incomplete"] = "tool_calls" in said and not output["tool_calls"]
    return found, output


def _ended(event: Any) -> bool:
    return (
        isinstance(event, Mapping)
        and isinstance(event.get("response"), Mapping)
        and bool(event["response"].get("output"))
        and event.get("type") in ("response.completed", "response.incomplete")
    )


def _turns(body: Mapping[str, Any]) -> list[Any]:
    """The messages of an answer, as a request would replay them."""
    inner = body.get("output") if isinstance(body.get("output"), Mapping) else body.get("Response")
    body = inner if isinstance(inner, Mapping) and not isinstance(body.get("choices"), list) else body
    for name in ("choices", "Choices", "candidates"):
        found = body.get(name)
        if isinstance(found, list) and found and isinstance(found[0], Mapping):
            one = found[0]
            turn = next(
                (one[key] for key in ("message", "Message", "content") if isinstance(one.get(key), Mapping)), None
            )
            return [turn] if turn is not None else [{"role": "assistant", "content": one.get("text") or ""}]
    if isinstance(body.get("output"), list):
        return list(body["output"])
    if isinstance(body.get("message"), Mapping):
        return [body["message"]]
    content = next((body[name] for name in ("content", "response", "text", "result") if body.get(name)), None)
    return [{"role": "assistant", "content": content}] if content is not None else []


def _output(turns: Sequence[Any], found: Extracted) -> Output:
    key = "contents" if any(isinstance(turn, Mapping) and "parts" in turn for turn in turns) else "messages"
    turns = [
        turn if not isinstance(turn, Mapping) or "type" in turn else {"role": "assistant", **turn} for turn in turns
    ]
    items = any(isinstance(turn, Mapping) and "type" in turn for turn in turns)
    thoughts = [turn for turn in turns if isinstance(turn, Mapping) and turn.get("type") == "reasoning"]
    turns = [turn for turn in turns if turn not in thoughts]
    prompt = read({"input" if items else key: turns}, "openai.responses" if items else None)
    messages = prompt.messages
    shown = [turn["thinking"] for turn in turns if isinstance(turn, Mapping) and isinstance(turn.get("thinking"), str)]
    for item in thoughts:
        shown += [part.get("text") or "" for name in ("summary", "content") for part in _each(item, name)]
    return {
        "text": "".join(text for message in messages for text in message.texts),
        "reasoning": "".join([*shown, *(text for message in messages for text in message.reasoning)]),
        "tool_calls": [
            {"id": call.id, "name": call.name, "arguments": call.arguments}
            for message in messages
            for call in message.calls
        ],
        "finish_reason": found.finish_reasons[0] if found.finish_reasons else None,
    }


def _streamed_calls(events: Sequence[Any]) -> list[dict[str, Any]]:
    """Tool calls of a stream, joined by their index; in the forms of OpenAI, Anthropic, Bedrock and Gemini."""
    calls: dict[Any, dict[str, Any]] = {}
    for event in events:
        if not isinstance(event, Mapping):
            continue
        if "event" in event:  # its name beside its payload, as decoders of Amazon's frames give it
            event = next((event[key] for key in ("payload", "data") if isinstance(event.get(key), Mapping)), event)
        for choice in _each(event, "choices"):
            for part in _each(choice.get("delta"), "tool_calls"):
                function = part.get("function")
                if isinstance(function, Mapping):
                    _join(calls, part.get("index", 0), part.get("id"), function.get("name"), function.get("arguments"))
        for candidate in _each(event, "candidates"):
            for part in _each(candidate.get("content"), "parts"):
                if isinstance(part.get("functionCall"), Mapping):
                    call = part["functionCall"]
                    calls[len(calls)] = {"id": "", "name": call.get("name") or "", "arguments": call.get("args") or {}}
        block = event.get("content_block")
        if isinstance(block, Mapping) and block.get("type") == "tool_use":
            _join(calls, event.get("index"), block.get("id"), block.get("name"), None)
        start = event.get("contentBlockStart", event)
        tool = start.get("start", {}).get("toolUse") if isinstance(start, Mapping) and "start" in start else None
        if isinstance(tool, Mapping):
            _join(calls, start.get("contentBlockIndex"), tool.get("toolUseId"), tool.get("name"), None)
        more = event.get("contentBlockDelta", event)
        delta = more.get("delta") if isinstance(more, Mapping) else None
        if isinstance(delta, Mapping):
            if delta.get("type") == "input_json_delta":
                _join(calls, event.get("index"), None, None, delta.get("partial_json"))
            elif isinstance(delta.get("toolUse"), Mapping):
                _join(calls, more.get("contentBlockIndex"), None, None, delta["toolUse"].get("input"))
    return list(calls.values())


def _each(value: Any, name: str) -> list[Mapping[str, Any]]:
    found = value.get(name) if isinstance(value, Mapping) else None
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def _join(calls: dict[Any, dict[str, Any]], index: Any, id_: Any, name: Any, arguments: Any) -> None:
    call = calls.setdefault(index, {"id": "", "name": "", "arguments": ""})
    call["id"] = call["id"] or id_ or ""
    call["name"] = call["name"] or name or ""
    call["arguments"] += arguments if isinstance(arguments, str) else ""
