"""`tokenmeter count`: count the tokens of a text or of whole requests, with their range and method."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.cli import COMMANDS
from tokenmeter.cli._flags import Paragraphs
from tokenmeter.cli._jsonl import LineError, answer_lines
from tokenmeter.cli._output import print_json
from tokenmeter.errors import ConfigurationError
from tokenmeter.wire.request_body import model_of

if TYPE_CHECKING:
    import argparse

    from tokenmeter.token_count import TokenCount
    from tokenmeter.tokens.requests.count import Explained

_EPILOG: Final = """\
a line of --jsonl: {"id", "provider"?, "model", "at"?, "text"}
or: {"id", "provider"?, "model", "at"?, "api"?, "headers"?, "request": {body as sent},
 "output"?: {"text", "reasoning", "tool_calls"}}
at is the time of the call: RFC 3339 with offset, or a day; without one it is now
method is that of the worst part: ratio (by script), stand-in (another vocabulary), template (overhead by rule), exact
"""
_BLOCK: Final = 1 << 20


def add_parser(subparsers: Any) -> None:
    """Describe the command."""

    parser: argparse.ArgumentParser = subparsers.add_parser(
        "count",
        help=COMMANDS["count"],
        description="Tokens as the vendor bills them, counted offline, with the range they lie in.",
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the text to count")
    parser.add_argument("--file", metavar="PATH", help="count a file's text (- is standard input)")
    parser.add_argument("--request", metavar="PATH", help="count a request body, a JSON file (- is standard input)")
    parser.add_argument("--jsonl", metavar="FILE", help="answer each line of FILE (- is standard input)")
    parser.add_argument(
        "--check",
        metavar="FILE",
        help="compare counts with the usage in recorded calls (VCR, HAR, fixtures, OTLP JSON)",
    )
    parser.add_argument("--model", metavar="NAME", help="the model as the provider names it")
    parser.add_argument("--provider", metavar="ID", help="who serves it, where that matters")
    parser.add_argument("--api", metavar="NAME", help="the wire format of --request; guessed from the body")
    parser.add_argument(
        "--at", metavar="TIME", help="the time of the call (default: now); vendors change what they add"
    )
    parser.add_argument("--explain", action="store_true", help="itemise a request's tokens")
    parser.add_argument("--strict", action="store_true", help="refuse a model no family names")
    parser.add_argument("--json", action="store_true", help="the contract's JSON instead of text")


def run(args: argparse.Namespace) -> int:
    """Count one text or request, or each line of a file. Raises ConfigurationError for invalid flags."""
    given = [name for name in ("text", "file", "request", "jsonl", "check") if getattr(args, name) is not None]
    if len(given) != 1:
        raise ConfigurationError("give one of TEXT, --file PATH, --request PATH, --jsonl FILE and --check FILE")
    if args.jsonl is not None:
        return answer_lines(args.jsonl, lambda line: answer(line, explain=args.explain))
    args.at = _flag_day(args.at)
    if args.check is not None:
        from tokenmeter.cli._check import run_check

        return run_check(args)
    if args.request is not None:
        return _request(args)
    if not args.model:
        raise ConfigurationError("--model is missing; give the model as its provider names it, such as qwen-plus")
    if args.strict:
        from tokenmeter.tokens import count_text

        count_text("", model=args.model, provider=args.provider, strict=True)
    if args.file is not None:
        return _show(_count_file(args.file, args.model, args.provider, args.at), as_json=args.json)
    from tokenmeter.tokens import count_text

    return _show(count_text(args.text, model=args.model, provider=args.provider, at=args.at), as_json=args.json)


def answer(line: Mapping[str, Any], *, explain: bool = False) -> dict[str, Any]:
    """The contract's answer to one line. Raises LineError naming the invalid field."""
    provider, api = _name(line, "provider"), _name(line, "api")
    model = _name(line, "model")
    day = _day(line.get("at"))
    text, request, output = line.get("text"), line.get("request"), line.get("output")
    if text is not None and request is not None:
        raise LineError("a line has text or request, not both", "request")
    found: dict[str, Any]
    if text is not None:
        if not isinstance(text, str):
            raise LineError("text must be a string", "text")
        if not model:
            raise LineError("model must be a name such as 'qwen-plus'", "model")
        from tokenmeter.tokens import count_text

        found = {"input": shown(count_text(text, model=model, provider=provider, at=day))}
    elif isinstance(request, Mapping):
        model = model or model_of(request)
        if not model:
            raise LineError("model must be a name such as 'qwen-plus', in the line or in the request", "model")
        from tokenmeter.tokens.requests.count import explain_request

        headers = line.get("headers")
        if headers is not None and not isinstance(headers, Mapping):
            raise LineError("headers must be an object of names and values", "headers")
        explained = explain_request(request, provider=provider, model=model, api=api, at=day, headers=headers)
        found = {"input": shown(explained.count)}
        if explain:
            found["parts"] = _parts(explained)
    else:
        raise LineError('give "text", or "request" with the body as it was sent', "request" if request else "text")
    found["output"] = None if output is None else _output(output, model, provider, api, request, day)
    return found if day is None else found | {"at": line["at"]}


def _output(
    output: object,
    model: str,
    provider: str | None,
    api: str | None,
    request: Mapping[str, Any] | None,
    day: str | None,
) -> dict[str, Any]:
    from tokenmeter.tokens import count_output

    if not isinstance(output, Mapping):
        raise LineError('output must be an object such as {"text": "…"}', "output")
    text, reasoning = output.get("text") or "", output.get("reasoning") or ""
    for name, value in (("text", text), ("reasoning", reasoning)):
        if not isinstance(value, str):
            raise LineError(f"output.{name} must be a string", f"output.{name}")
    calls = [] if output.get("tool_calls") is None else output["tool_calls"]
    if not isinstance(calls, list) or not all(isinstance(call, Mapping) for call in calls):
        raise LineError(
            'output.tool_calls must be a list of objects such as {"name", "arguments"}', "output.tool_calls"
        )
    return shown(
        count_output(
            model=model,
            provider=provider,
            api=api,
            text=text,
            reasoning=reasoning,
            tool_calls=calls,
            request=request,
            at=day,
        )
    )


def _name(line: Mapping[str, Any], field: str) -> str | None:
    value = line.get(field)
    if value is not None and not isinstance(value, str):
        raise LineError(f"{field} must be a string", field)
    return value or None


def _day(at: object) -> str | None:
    """The day of a line's time. Raises LineError where it is none."""
    from tokenmeter.tokens.days import iso_day

    if at is not None and not isinstance(at, str):
        raise LineError('at must be a time such as "2026-11-21T10:00:00+08:00" or a day', "at")
    try:
        return iso_day(at)
    except ValueError as error:
        raise LineError(f"at: {error}", "at") from None


def _flag_day(at: str | None) -> str | None:
    from tokenmeter.tokens.days import iso_day

    try:
        return iso_day(at)
    except ValueError as error:
        raise ConfigurationError(f"--at: {error}") from None


def shown(count: TokenCount) -> dict[str, Any]:
    """A count in the contract's JSON, with its reason where it has one."""
    fields: dict[str, Any] = {
        "tokens": count.tokens,
        "low": count.low,
        "high": count.high,
        "method": count.method,
        "family": count.family,
        "skipped": list(count.skipped),
    }
    return fields | {"reason": count.reason} if count.reason else fields


def _parts(explained: Explained) -> list[dict[str, Any]]:
    return [{"part": item.part, "tokens": item.tokens, "note": item.note} for item in explained.items]


def _count_file(path: str, model: str, provider: str | None, day: str | None) -> TokenCount:
    """Count a file of any size in blocks; invalid UTF-8 counts as U+FFFD and is reported in `skipped`."""
    from dataclasses import replace

    from tokenmeter.tokens.counter import counter
    from tokenmeter.tokens.streams import TextCounter

    counts = TextCounter(counter(model, provider, day))
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    bad = 0
    try:
        with sys.stdin.buffer if path == "-" else open(path, "rb") as file:
            while block := file.read(_BLOCK):
                text = decoder.decode(block)
                bad += text.count("\ufffd")
                counts.feed(text)
            rest = decoder.decode(b"", final=True)
    except OSError as error:
        raise ConfigurationError(f"--file {path}: {error.strerror}") from None
    counts.feed(rest)
    bad += len(rest)
    found = counts.count()
    return replace(found, skipped=(f"{bad} places are not UTF-8 and count as U+FFFD",)) if bad else found


def _request(args: argparse.Namespace) -> int:
    from tokenmeter.tokens.requests.count import explain_request

    try:
        with sys.stdin if args.request == "-" else open(args.request, encoding="utf-8") as file:
            body = json.load(file)
    except OSError as error:
        raise ConfigurationError(f"--request {args.request}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigurationError(f"--request {args.request}: not JSON ({error})") from None
    if not isinstance(body, Mapping):
        raise ConfigurationError(f"--request {args.request}: the body must be an object")
    if not args.model and model_of(body) is None:
        raise ConfigurationError("--model is missing, and the body names none")
    explained = explain_request(body, provider=args.provider, model=args.model, api=args.api, at=args.at)
    return _show(explained.count, as_json=args.json, explained=explained if args.explain else None)


def _show(count: TokenCount, *, as_json: bool, explained: Explained | None = None) -> int:
    if as_json:
        print_json({"input": shown(count)} | ({"parts": _parts(explained)} if explained else {}))
        return 0
    if count.tokens is None:
        print(f"unknown: {count.reason}")
        return 0
    spread = "" if count.low == count.high == count.tokens else f", between {count.low} and {count.high}"
    print(f"{count.tokens} tokens ({count.method}, {count.family}{spread})")
    for note in (*count.skipped, *([count.reason] if count.reason else [])):
        print(f"  {note}")
    if explained is not None:
        from tokenmeter._support.text_tables import table

        rows = [[item.part, str(item.tokens), item.note] for item in explained.items]
        print(table(["part", "tokens", "note"], rows, right=["tokens"]))
        print(f"rule {explained.rule}: {explained.source}")
        if not explained.proved:
            print("its range was measured on fewer than two sources, and is wider for that")
    return 0
