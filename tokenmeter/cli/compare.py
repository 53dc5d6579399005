"""`tokenmeter compare spend.db --models alibaba/qwen-plus,openai/gpt-4o`: the same calls as calls of other models."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from tokenmeter.cli import COMMANDS, _terminal
from tokenmeter.cli._flags import Paragraphs
from tokenmeter.cli._output import print_json
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from tokenmeter.ledger.valuation.model_comparison import ModelComparison

_EPILOG = """\
each call is priced at its own instant, or all at --at, in the currency of the model's price list. tokens are scaled by
 measured ranges between tokenizers: low, likely and high. the length of outputs is kept, and so are the inputs that
 follow from them.
calls that used tools or media, and models of a tokenizer that was not measured, are left out; "rests on" is the share
 of the spend that the figures cover. a call that had tools and called none cannot be told from one without.
--requests counts calls anew by each model's own tokenizer and rendering of tools. a line of FILE is
 {"id": of the call or of the vendor's answer, "request": {body as sent}, "api"?, "output"?: {"text", "reasoning",
 "tool_calls"}}, as in `tokenmeter count --jsonl`. exit status 1 says that lines of it could not be used.
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "compare",
        help=COMMANDS["compare"],
        description="What the calls of a ledger would cost as calls of other models.",
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    parser.add_argument("ledger", help="the ledger file, or the URL of a fleet's database")
    parser.add_argument("--models", required=True, metavar="NAMES", help="PROVIDER/MODEL, or a model that one sells")
    parser.add_argument("--at", metavar="DATE", help="price all calls at this instant: 2026-11-01 or RFC 3339")
    parser.add_argument("--since", metavar="TIME", help="only calls since: 7d, 2026-11, 2026-11-01 or RFC 3339")
    parser.add_argument("--until", metavar="TIME", help="the same forms; not included")
    parser.add_argument("--requests", metavar="FILE", help="recorded requests, JSON Lines: count them for each model")
    parser.add_argument(
        "--cache",
        choices=("keep", "none", "measured"),
        default="keep",
        help="read as much from caches as was, nothing, or as much as the model's own calls in the ledger",
    )
    parser.add_argument("--language", choices=("zh", "en"), help="of the texts (default: either, a wider range)")
    parser.add_argument("--tz", metavar="ZONE", help="the clock of dates without a time (default: this machine's)")
    parser.add_argument("--json", action="store_true", help="exact JSON")


def run(args: argparse.Namespace) -> int:
    """Price, and show. Raises ConfigurationError or LedgerError with the remedy."""
    from tokenmeter.ledger.opening import named
    from tokenmeter.ledger.report.periods import Zone, parse_instant
    from tokenmeter.ledger.valuation.recorded_requests import RecordedRequests
    from tokenmeter.ledger.valuation.what_if import compare_models
    from tokenmeter.prices.arguments import seller_of
    from tokenmeter.prices.book import load_book

    zone, now = Zone.named(args.tz), datetime.now(UTC)
    at, since, until = (
        None if text is None else parse_instant(text, zone, now, flag=flag)
        for text, flag in ((args.at, "--at"), (args.since, "--since"), (args.until, "--until"))
    )
    names = [name.strip() for name in args.models.split(",") if name.strip()]
    if not names:
        raise ConfigurationError("--models: name at least one, such as alibaba/qwen-plus")
    book = load_book()
    models = [seller_of(book, None, name, at) for name in dict.fromkeys(names)]
    with ExitStack() as stack:
        requests = None if args.requests is None else stack.enter_context(RecordedRequests(args.requests))
        with _terminal.progress(f"comparing {named(args.ledger)}"):
            answer = compare_models(
                args.ledger,
                book,
                models,
                at=at,
                since_us=_microseconds(since),
                until_us=_microseconds(until),
                cache=args.cache,
                language=args.language,
                requests=requests,
            )
    if args.json:
        print_json(answer.to_dict())
    else:
        _terminal.show(_text(answer), {r"^(model) .*$": "bold"})
    problems = [] if requests is None else requests.problems
    for one in problems:
        place = f"{args.requests}:{one.line}"
        print(
            f"tokenmeter: {place}: {one.message if one.field is None else f'{one.field}: {one.message}'}",
            file=sys.stderr,
        )
    return 1 if problems else 0


def _microseconds(at: datetime | None) -> int | None:
    return None if at is None else (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _text(answer: ModelComparison) -> str:
    from tokenmeter._support.logs import printable
    from tokenmeter._support.text_tables import table, wrapped

    said = answer.to_dict()
    spend = ", ".join(f"{one['amount']} {one['currency']}" for one in said["spend"]) or "nothing priced"
    rows = []
    notes: list[str] = []
    for one in said["models"]:
        name = f"{one['provider']}/{one['model']}"
        shares = ", ".join(f"{_percent(part['share'])} of {part['currency']}" for part in one["rests_on"]) or "nothing"
        rows.append((name, *(one[key] or "?" for key in ("low", "likely", "high", "same_tokens", "currency")), shares))
        if one["drivers"] is not None:
            notes.append(f"{name}: {_drivers(one)}")
        if one["recounted"]:
            notes.append(f"{name}: {one['recounted']} calls were counted anew from their requests")
        if one["unpriced"]:
            notes.append(
                f"{name}: the ledger does not know the cost of {one['unpriced']} calls that are in its figures"
            )
        if one["cache_rate"] is not None:
            notes.append(f"{name}: its own calls read {_percent(one['cache_rate'])} of input from the cache")
        if one["break_even_cache_rate"] is not None:
            notes.append(f"{name}: costs the same when {_percent(one['break_even_cache_rate'])} of input is cached")
        if one["cache_as_input"]:
            notes.append(f"{name}: cached tokens of {one['cache_as_input']} calls are priced as plain input")
        notes += [f"{name}: {calls} calls left out: {reason}" for reason, calls in one["unknown"].items()]
    numbers = ("low", "likely", "high", "same tokens")
    lines = [
        f"calls: {said['calls']}, cost: {spend}; the length of outputs is kept",
        "",
        table(("model", *numbers, "currency", "rests on"), rows, right=numbers),
    ]
    return "\n".join(
        [*lines, *(line for note in notes for line in wrapped(printable(note), _terminal.columns(), "  "))]
    )


def _drivers(one: dict[str, Any]) -> str:
    """What leads from the spend to `likely`, largest first; steps that change nothing are left out."""
    from decimal import Decimal

    drivers = {name: amount for name, amount in one["drivers"].items() if amount != "0"}
    known = sorted(
        (name for name in drivers if drivers[name] is not None), key=lambda name: -abs(Decimal(drivers[name]))
    )
    said = [f"{name} {'' if drivers[name].startswith('-') else '+'}{drivers[name]}" for name in known]
    if "prices" in drivers and drivers["prices"] is None:
        said.append("prices not compared (the spend is in another currency, or not known for all calls)")
    return f"what drives the difference ({one['currency']}): {', '.join(said) or 'nothing'}"


def _percent(share: str) -> str:
    from decimal import Decimal

    return f"{Decimal(share):.1%}"
