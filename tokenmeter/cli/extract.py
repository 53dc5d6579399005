"""`tokenmeter extract`: read the usage out of vendors' responses; of one by a file, of many by `--jsonl`.

In:  `{"id", "provider"?, "host"?, "api"?, "model"?, "response": {…} | "stream_events": […]}`
Out: `{"id", "line", "usage", "source", "model", "service_tier", "vendor_cost", "unknown_fields", "flags", "reason"}`,
and, beside the contract, `sources` (components whose source differs), `provider`, `api`, `params` (what the vendor
says that chooses a price) and `error` (the vendor's code, where the answer is an error under whatever HTTP status).

Missing or unreadable usage is an answer with a reason; only a line that asks for nothing readable is an error.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tokenmeter._support.logs import printable
from tokenmeter.cli import COMMANDS
from tokenmeter.cli._flags import Paragraphs
from tokenmeter.cli._jsonl import LineError, answer_lines
from tokenmeter.cli._output import print_json
from tokenmeter.errors import ConfigurationError
from tokenmeter.money import plain
from tokenmeter.providers.registry import load_providers
from tokenmeter.wire.extract import Extracted, extract
from tokenmeter.wire.formats import load_apis
from tokenmeter.wire.stream_reader import StreamReader

__all__ = ["add_parser", "answer", "run"]

_DESCRIPTION: Final = """\
FILE holds one response, as the vendor sent it: a JSON object, or the lines of a stream.
a line of --jsonl: {"id", "provider"?, "host"?, "api"?, "model"?, "response": {...} or "stream_events": [...]}
its answer: {"id", "line", "usage", "source", "model", "service_tier", "vendor_cost", "unknown_fields", "flags",
 "reason"} and sources (components whose source differs), provider, api, params (what of the answer chooses a price)
 and error (the vendor's code, where the answer is an error under whatever HTTP status).
missing or unreadable usage is an answer with a reason; only a line that asks for nothing readable is an error.
"""
_FIELDS: Final = ("id", "provider", "host", "api", "model", "response", "stream_events")


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "extract",
        help=COMMANDS["extract"],
        description=_DESCRIPTION,
        formatter_class=Paragraphs,
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="one response to read; - is standard input")
    parser.add_argument("--jsonl", metavar="FILE", help="JSON Lines to answer; - is standard input")
    for name, what in (("provider", "who sent it"), ("api", "its format"), ("model", "the model that was asked")):
        parser.add_argument(f"--{name}", metavar="NAME", help=f"{what}, where the response does not say")
    parser.add_argument("--json", action="store_true", help="the contract's JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Read one response, or answer every line. Raises ConfigurationError for what is no response."""
    if (args.file is None) == (args.jsonl is None):
        raise ConfigurationError("extract reads one response (FILE) or JSON Lines (--jsonl FILE): give one of them")
    if args.jsonl is not None:
        return answer_lines(args.jsonl, answer)
    given = {name: value for name in ("provider", "api", "model") if (value := getattr(args, name)) is not None}
    try:
        found = answer({**given, **_one(args.file)})
    except LineError as error:
        raise ConfigurationError(f"{args.file}: {error}") from None
    if args.json:
        print_json(found)
    else:
        _show(found)
    return 0


def _one(path: str) -> dict[str, Any]:
    """One response in a file, as `answer` takes it. Raises ConfigurationError."""
    try:
        raw = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror or error}") from None
    text = raw.decode("utf-8", "replace").strip()
    try:
        return {"response": json.loads(text)}
    except (ValueError, RecursionError) as error:
        events = [line[5:].strip() for line in text.splitlines() if line.startswith("data:")]
        if events:
            return {"stream_events": events}
        raise ConfigurationError(f"{path} is no response: neither JSON ({error}) nor a stream of data: lines") from None


def _show(found: Mapping[str, Any]) -> None:
    """A table for people: who answered, the tokens, and what is odd."""
    usage = found["usage"]
    rows = {name: found[name] for name in ("provider", "api", "model", "service_tier", "source")}
    for name, value in rows.items():
        if value is not None:
            print(f"{name:<28} {printable(str(value))}")
    if usage is None:
        print(f"no usage: {found['reason']}")
    for name, value in (usage or {}).items():
        for part, number in value.items() if isinstance(value, Mapping) else ((name, value),):
            print(f"{part:<28} {number:>14}" if isinstance(number, str) else f"{part:<28} {number:>14,}")
    if found["vendor_cost"] is not None:
        print(f"{'vendor_cost':<28} {found['vendor_cost']['amount']} {found['vendor_cost']['currency']}")
    for note in found["flags"]:
        print(f"note: {note}")


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
