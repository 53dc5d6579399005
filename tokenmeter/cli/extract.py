"""`tokenmeter extract --jsonl FILE`: read the usage out of vendors' responses.

In:  `{"id", "provider"?, "host"?, "api"?, "model"?, "response": {…} | "stream_events": […]}`
Out: `{"id", "line", "usage", "source", "model", "service_tier", "vendor_cost", "unknown_fields", "flags", "reason"}`,
and, beside the contract, `sources` (components whose source differs), `provider`, `api`, `params` (what the vendor
says that chooses a price) and `error` (the vendor's code, where the answer is an error under whatever HTTP status).

Missing or unreadable usage is an answer with a reason; only a line that asks for nothing readable is an error.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, Final

from tokenmeter.cli import COMMANDS
from tokenmeter.cli._jsonl import LineError, answer_lines
from tokenmeter.money import plain
from tokenmeter.providers.registry import load_providers
from tokenmeter.wire.extract import Extracted, extract
from tokenmeter.wire.formats import load_apis
from tokenmeter.wire.stream_reader import StreamReader

__all__ = ["add_parser", "answer", "run"]

_FIELDS: Final = ("id", "provider", "host", "api", "model", "response", "stream_events")


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "extract",
        help=COMMANDS["extract"],
        description=(__doc__ or "").partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--jsonl", metavar="FILE", required=True, help="JSON Lines to answer; - is standard input")


def run(args: argparse.Namespace) -> int:
    """Answer every line; returns the exit status of `answer_lines`."""
    return answer_lines(args.jsonl, answer)


def answer(line: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to one line. Raises LineError for a line without a readable response."""
    provider, host, api, model = (_name(line, field) for field in ("provider", "host", "api", "model"))
    flags: tuple[str, ...] = ()
    if api is not None and load_apis().get(api) is None:
        flags = (f"unknown_api: there is no api {api!r}; the answer's own shape was read",)
        api = None
    providers = load_providers()
    if provider is None and host is not None:
        endpoint = providers.for_host(host, "")
        provider = endpoint.provider_id if endpoint is not None else None
    given = "response" in line, "stream_events" in line
    if given == (True, True):
        raise LineError("give response or stream_events, not both", "stream_events")
    if given == (False, False):
        near = _near(line)
        raise LineError(f"neither response nor stream_events is there{near}: nothing to read", "response")
    if given[0]:
        found = extract(_response(line["response"]), provider=provider, api=api)
    else:
        found = _streamed(line["stream_events"], provider, api)
    known = providers.get(provider)
    return _answer_of(found, known.id if known is not None else provider, model, flags)


def _name(line: Mapping[str, Any], field: str) -> str | None:
    value = line.get(field)
    if value is not None and not isinstance(value, str):
        raise LineError(f"{field} is a name, not {value!r}"[:200], field)
    return value


def _near(line: Mapping[str, Any]) -> str:
    import difflib

    for field in line:
        if field not in _FIELDS and (near := difflib.get_close_matches(field, _FIELDS, n=1)):
            return f" (did you mean {near[0]!r} by {field!r}?)"
    return ""


def _response(response: object) -> dict[str, Any]:
    if not isinstance(response, dict):
        raise LineError("response is the answer's JSON object", "response")
    return response


def _streamed(events: object, provider: str | None, api: str | None) -> Extracted:
    if not isinstance(events, list):
        raise LineError("stream_events is a list of data payloads, as strings or objects", "stream_events")
    # With the text, so that a zero output beside text is seen.
    reader = StreamReader(provider=provider, api=api, on_text=lambda kind, text: None)
    for event in events:
        reader.feed(event)
    return reader.result()


def _answer_of(found: Extracted, provider: str | None, model: str | None, flags: tuple[str, ...]) -> dict[str, Any]:
    cost = found.vendor_cost
    usage = found.usage
    return {
        "usage": usage.to_dict() if usage is not None else None,
        "source": str(found.source),
        "sources": {name: str(usage.source_of(name)) for name, _ in usage.items() if name in usage.sources}
        if usage is not None
        else {},
        "provider": provider,
        "api": found.api,
        "model": found.model or model,
        "service_tier": found.service_tier,
        "vendor_cost": {"amount": plain(cost.amount), "currency": cost.currency} if cost is not None else None,
        "params": dict(found.params),
        "unknown_fields": list(found.unknown_fields),
        "flags": [*flags, *found.flags],
        "reason": found.reason,
        "error": found.error,
    }
