"""Makes a case of a recorded call: who answered, what was asked, what was said, and what was billed.

A case is plain JSON. `usage` is the vendor's own, as recorded; `flags` name what a counter cannot see.

    id, kind, vendor, host, api, model_requested, model_returned, date, stream, request, output, usage, stream_events,
    place, lang, has_tools, has_media, flags
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from tokenmeter.calls.routing import Routing
from tokenmeter.cli.recordings.answers import read_answer, read_stream
from tokenmeter.cli.recordings.exchanges import Exchange, Span
from tokenmeter.tokens.ratio import script_of
from tokenmeter.tokens.requests.bodies import guess_api, read
from tokenmeter.wire.events import iter_events
from tokenmeter.wire.extract import Extracted
from tokenmeter.wire.request_body import model_of

__all__ = ["Case", "case_of"]

Case = dict[str, Any]
_STORED: Final = ("previous_response_id", "conversation", "prompt_id", "cachedContent", "cached_content", "container")


def case_of(found: Exchange | Span) -> Case | None:
    """The case of a recorded call to a model; None where it is another request, failed, or reports no usage."""
    return _case_of_span(found) if isinstance(found, Span) else _case_of_exchange(found)


def _case_of_exchange(exchange: Exchange) -> Case | None:
    request = _json(exchange.request)
    if not isinstance(request, Mapping) or exchange.status >= 400:
        return None
    address = urlsplit(exchange.url)
    query = f"?{address.query}" if address.query else ""
    route = Routing({}).route(address.hostname or "", None, "", address.path, None, query=query, any_host=True)
    if address.hostname and route is None:
        return None
    provider = route.provider if route is not None else None
    api = route.api if route is not None else guess_api(request)
    response = _json(exchange.response)
    events = None
    if isinstance(response, Mapping):
        read_, output = read_answer(response, provider, api)
    else:
        events = _events(exchange.response, response, exchange.content_type)
        if not events:
            return None
        read_, output = read_stream(events, provider, api)
    if read_.usage is None:
        return None
    asked = model_of(request) or (route.model if route is not None else None) or _model_in(address.path)
    return _case(
        kind="recording" if address.hostname else "fixture",
        vendor=provider,
        host=address.hostname,
        api=read_.api or api,
        asked=asked,
        found=read_,
        date=_day(exchange.at) or _created(response) or (_created(events[0]) if events else None),
        request=request,
        output=output,
        events=events,
        place=exchange.place,
    )


def _model_in(path: str) -> str | None:
    """The model of a path such as Google's, Bedrock's or Azure's."""
    found = re.search(r"/(?:models?|deployments)/([^/:]+)", path)
    return unquote(found[1]) if found else None


def _case(
    *,
    kind: str,
    vendor: str | None,
    host: str | None,
    api: str | None,
    asked: str | None,
    found: Extracted | None,
    date: str | None,
    request: Mapping[str, Any],
    output: dict[str, Any],
    events: list[Any] | None,
    place: str,
    usage: Mapping[str, Any] | None = None,
    flags: tuple[str, ...] = (),
) -> Case:
    raw = usage if usage is not None else found.raw if found is not None else {}
    prompt = read(request, api)
    texts = "".join(text for message in prompt.messages for text in message.texts) + (output.get("text") or "")
    seen = json.dumps([request, raw], sort_keys=True, ensure_ascii=False, default=str)
    case: Case = {
        "id": hashlib.sha256(seen.encode("utf-8", "replace")).hexdigest()[:16],
        "kind": kind,
        "vendor": vendor,
        "host": host,
        "api": api,
        "model_requested": asked,
        "model_returned": found.model if found is not None else None,
        "date": date,
        "stream": events is not None,
        "request": request,
        "output": output,
        "usage": raw,
        "reported": _totals(found, usage),
        "place": place,
        "lang": script_of(texts),
        "has_tools": bool(prompt.tools or output.get("tool_calls")),
        "has_media": any(message.media for message in prompt.messages),
        "flags": sorted({*flags, *_unseen(request, prompt, found, output)}),
    }
    return case | {"stream_events": events} if events is not None else case


def _totals(found: Extracted | None, usage: Mapping[str, Any] | None) -> dict[str, int | None]:
    """Input and output tokens as billed, caches and thoughts included."""
    if found is not None and found.usage is not None:
        known = found.usage
        return {
            "input": known.input_tokens,
            "output": known.output_tokens,
            "reasoning": known.reasoning_output_tokens,
        }
    usage = usage or {}
    return {name: usage.get(f"{name}_tokens") for name in ("input", "output", "reasoning")}


def _unseen(request: Mapping[str, Any], prompt: Any, found: Extracted | None, output: dict[str, Any]) -> list[str]:
    flags = []
    if prompt.builtins:
        flags.append("builtin_tools")
    if any(request.get(name) for name in _STORED):
        flags.append("server_context")
    if prompt.schema:
        flags.append("json_schema")
    if request.get("n") not in (None, 1):
        flags.append("multi_choice")
    reasoned = found.usage.reasoning_output_tokens if found is not None and found.usage is not None else None
    if reasoned and not output.get("reasoning"):
        flags.append("hidden_reasoning")
    if output.pop("incomplete", False):
        flags.append("output_incomplete")
    return flags


def _json(value: Any) -> Any:
    """A JSON value; None where the bytes hold none."""
    if not isinstance(value, bytes):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def _events(body: Any, decoded: Any, content_type: str | None) -> list[Any]:
    """The decoded events of a streamed body, or of a list that a recording holds."""
    if isinstance(decoded, list):
        return [_json(one.encode()) if isinstance(one, str) else one for one in decoded]
    if not isinstance(body, bytes):
        return []
    found = []
    for name, data in iter_events(body, content_type):
        event = _json(data.encode("utf-8", "replace"))
        if isinstance(event, Mapping):
            # Amazon's frames say in their head what the payload is; all others say it in the payload.
            inside = name is None or name == "chunk" or "type" in event
            found.append(event if inside else {"event": name, "data": event})
    return found


def _day(at: str | None) -> str | None:
    """The day, in UTC, of an HTTP date, an RFC 3339 instant or a day."""
    if not at:
        return None
    try:
        return parsedate_to_datetime(at).date().isoformat()
    except (TypeError, ValueError):
        pass
    try:
        return datetime.fromisoformat(at).date().isoformat()
    except ValueError:
        return None


def _created(response: Any) -> str | None:
    for name in ("created", "created_at"):
        value = response.get(name) if isinstance(response, Mapping) else None
        if isinstance(value, int) and 1_500_000_000 < value < 4_000_000_000:
            return datetime.fromtimestamp(value, UTC).date().isoformat()
        if isinstance(value, str) and (day := _day(value)):
            return day
    return None


def _case_of_span(span: Span) -> Case | None:
    """A case of a span with GenAI attributes; its request is made again of the messages, so it may lack parts."""
    given = span.attributes
    asked = given.get("gen_ai.request.model")
    messages = [_turn(one) for one in _listed(given.get("gen_ai.input.messages"))]
    system = _listed(given.get("gen_ai.system_instructions"))
    if system:
        messages.insert(0, _turn({"role": "system", "parts": system}))
    if not messages or not isinstance(asked, str):
        return None
    request: dict[str, Any] = {"model": asked, "messages": messages}
    tools = _listed(given.get("gen_ai.tool.definitions"))
    if tools:
        request["tools"] = tools
    output: dict[str, Any] = {"text": "", "reasoning": "", "tool_calls": [], "finish_reason": None}
    for one in _listed(given.get("gen_ai.output.messages"))[:1]:
        turn = _turn(one)
        output["text"] = turn["content"]
        output["tool_calls"] = [call["function"] for call in turn.get("tool_calls", ())]
        output["finish_reason"] = one.get("finish_reason") if isinstance(one, Mapping) else None
    usage = {
        name.removeprefix("gen_ai.usage."): value for name, value in given.items() if name.startswith("gen_ai.usage.")
    }
    provider = given.get("gen_ai.provider.name") or given.get("gen_ai.system")
    known = Routing({}).providers.get(provider) if isinstance(provider, str) else None
    day = datetime.fromtimestamp(span.at / 1e9, UTC).date().isoformat() if span.at else None
    return _case(
        kind="trace",
        vendor=known.id if known is not None else provider,
        host=given.get("server.address"),
        api="openai.chat",
        asked=asked,
        found=None,
        date=day,
        request=request,
        output=output,
        events=None,
        place=span.place,
        usage=usage,
        flags=("request_reconstructed",),
    ) | {"model_returned": given.get("gen_ai.response.model")}


def _listed(value: Any) -> list[Any]:
    if isinstance(value, str):
        value = _json(value.encode("utf-8", "replace"))
    return value if isinstance(value, list) else []


def _turn(given: Any) -> dict[str, Any]:
    """A chat message of one in OpenTelemetry's parts."""
    one = given if isinstance(given, Mapping) else {}
    parts = [part for part in one.get("parts") or () if isinstance(part, Mapping)]
    text = "".join(str(part.get("content") or "") for part in parts if part.get("type") == "text")
    turn: dict[str, Any] = {"role": one.get("role") or "user", "content": text or str(one.get("content") or "")}
    calls = [part for part in parts if part.get("type") == "tool_call"]
    if calls:
        turn["tool_calls"] = [
            {
                "id": call.get("id") or "",
                "type": "function",
                "function": {"name": call.get("name") or "", "arguments": call.get("arguments") or {}},
            }
            for call in calls
        ]
    answers = [part for part in parts if part.get("type") == "tool_call_response"]
    if answers:
        turn["content"] = text or str(answers[0].get("response") or answers[0].get("result") or "")
        turn["tool_call_id"] = answers[0].get("id") or ""
    return turn
