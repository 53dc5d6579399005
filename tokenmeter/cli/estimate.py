"""`tokenmeter estimate`: the cost range of a request before it is sent, on one or several models.

Costs of different currencies are not compared: the table has one part per currency, sorted by the highest cost (by the
lowest, where the request sets no output limit). A model without a price is listed with the reason.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.cli import COMMANDS
from tokenmeter.cli._configured import configured_book
from tokenmeter.cli._flags import Paragraphs, whole
from tokenmeter.cli._output import print_json
from tokenmeter.errors import ConfigurationError
from tokenmeter.wire.request_body import model_of

if TYPE_CHECKING:
    import argparse

    from tokenmeter.calls.calibrator import Calibrator
    from tokenmeter.cost import Cost
    from tokenmeter.estimates import Estimate
    from tokenmeter.money import Money
    from tokenmeter.prices.book import Book
    from tokenmeter.token_count import TokenCount
    from tokenmeter.usage import Usage

_EPILOG: Final = """\
a model is NAME, sold by --provider or else by every provider whose price list has it, or PROVIDER/NAME.
the least is the input alone; the most adds all the output the request allows. Neither counts on a cache hit.
"""


class _Row(NamedTuple):
    """One model's estimate; `found` is None where no price list has the model."""

    provider: str | None
    model: str
    found: Estimate | None
    reason: str | None


def add_parser(subparsers: Any) -> None:
    """Describe the command."""

    parser: argparse.ArgumentParser = subparsers.add_parser(
        "estimate",
        help=COMMANDS["estimate"],
        description="The range in which a request's cost will lie, in each provider's currency.",
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    parser.add_argument("--model", action="append", default=[], metavar="NAME", help="may be given several times")
    parser.add_argument("--provider", metavar="ID", help="who sells the models named without a provider")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--request", metavar="FILE", help="a request body, a JSON file (- is standard input)")
    given.add_argument("--text", metavar="TEXT", help="a plain text, sent as one message of a user")
    parser.add_argument("--api", metavar="NAME", help="the wire format of --request; guessed from the body")
    parser.add_argument("--max-output", type=whole, metavar="N", help="tokens of output; else the limit in the request")
    parser.add_argument("--at", metavar="TIME", help="the instant of the call (default: now)")
    parser.add_argument("--calibration", metavar="FILE", help="correct counts by what was learnt in this file")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")


def run(args: argparse.Namespace) -> int:
    """Estimate one request on each model. Raises ConfigurationError for invalid flags."""
    body = _body(args)
    named = model_of(body)
    models = args.model or ([named] if named is not None else [])
    if not models:
        raise ConfigurationError("--model is missing, and the request names none")
    if args.max_output is not None and args.max_output < 0:
        raise ConfigurationError(f"--max-output {args.max_output}: tokens of output cannot be negative")
    _check_time(args.at)
    book, own_names = configured_book()
    models = [own_names.get(name, name) for name in models]
    calibrator = _calibrator(args.calibration)
    pairs = dict.fromkeys(pair for name in models for pair in _sellers(name, args, book))
    rows = sorted((_estimate(provider, model, body, args, book, calibrator) for provider, model in pairs), key=_order)
    if args.json:
        print_json([_plain(row) for row in rows])
    else:
        _show(rows)
    return 0


def _calibrator(path: str | None) -> Calibrator | None:
    if path is None:
        return None
    from tokenmeter.calls.calibrator import Calibrator
    from tokenmeter.tokens.calibration.calibration import Calibration
    from tokenmeter.tokens.calibration.store import FileStore

    return Calibrator(Calibration(FileStore(path, create=False)), learns=False)


def _estimate(
    provider: str | None,
    model: str,
    body: dict[str, Any],
    args: argparse.Namespace,
    book: Book,
    calibrator: Calibrator | None,
) -> _Row:
    from tokenmeter.estimates import estimate

    if provider is None:
        hint = f"no provider's price list has {model!r}; name who sells it: --model PROVIDER/{model}"
        return _Row(None, model, None, hint)

    def price(usage: Usage, said: Mapping[str, Any]) -> Cost:
        return book.price(usage, provider=provider, model=model, at=args.at, params=said)

    def corrected(count: TokenCount, request: Mapping[str, Any]) -> TokenCount:
        if calibrator is None:
            return count
        return calibrator.corrected_input(count, provider=provider, model=model, api=args.api, body=request)

    request = {**body, "model": model} if "model" in body else body
    found = estimate(
        request, provider=provider, model=model, api=args.api, price=price, output_limit=args.max_output, at=args.at,
        corrected=corrected,
    )  # fmt: skip
    return _Row(provider, model, found, found.low.reason)


def _body(args: argparse.Namespace) -> dict[str, Any]:
    if args.text is not None:
        return {"messages": [{"role": "user", "content": args.text}]}
    try:
        with sys.stdin if args.request == "-" else open(args.request, encoding="utf-8") as file:
            body = json.load(file)
    except OSError as error:
        raise ConfigurationError(f"--request {args.request}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"--request {args.request}: not JSON ({error})") from None
    if not isinstance(body, dict):
        raise ConfigurationError(f"--request {args.request}: the body must be an object")
    return body


def _check_time(at: str | None) -> None:
    """Raise ConfigurationError unless `at` is a day (midnight in the provider's zone) or a time with an offset."""
    try:
        if at is not None and datetime.fromisoformat(at).tzinfo is None and len(at) > 10:
            raise ConfigurationError(f"--at {at}: has no offset; write it as {at}+08:00")
    except ValueError as error:
        raise ConfigurationError(f"--at {at}: {error}") from None


def _sellers(name: str, args: argparse.Namespace, book: Book) -> Iterable[tuple[str | None, str]]:
    """Providers of a model: the one in the name or the flag, else every provider whose price list has the name."""
    from tokenmeter.providers.registry import load_providers

    providers = load_providers()
    head, slash, rest = name.partition("/")
    known = providers.get(head) if slash and rest else None
    if known is not None:
        return [(known.id, rest)]
    if args.provider is not None:
        chosen = providers.get(args.provider)
        if chosen is None:
            raise ConfigurationError(
                f"--provider {args.provider}: not in the catalog; {_near(args.provider, providers.by_id)}"
            )
        return [(chosen.id, name)]
    sold = [(provider, name) for provider in book.sellers(name, args.at)]
    return sold or [(None, name)]


def _near(word: str, names: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word, sorted(names), n=1)
    return f"did you mean {near[0]!r}?" if near else "tokenmeter prices list shows the providers"


def _order(row: _Row) -> tuple[int, str, int, Decimal, str, str]:
    """Sort key: currency, then highest (or lowest) cost; unpriced models come last."""
    least, most = row.found.range if row.found is not None else (None, None)
    shown = most if most is not None else least
    if shown is None:
        return 1, "", 0, Decimal(0), row.provider or "", row.model
    return 0, shown.currency, 0 if most is not None else 1, shown.amount, row.provider or "", row.model


def _plain(row: _Row) -> dict[str, Any]:
    from tokenmeter.cli.count import shown

    found = row.found
    answer: dict[str, Any] = {"provider": row.provider, "model": row.model}
    if found is None:
        return {**answer, "status": "unpriced", "input": None, "output_limit": None, "low": None, "high": None,
                "reason": row.reason}  # fmt: skip
    counted = shown(found.input)
    if found.input.calibrated:
        counted["calibrated"] = found.input.calibrated
    return {
        **answer,
        "status": found.low.status,
        "input": counted,
        "output_limit": found.output_limit,
        "low": _money(found.low.total),
        "high": None if found.high is None else _money(found.high.total),
        "rate_id": found.low.rate_id,
        "at": found.low.at.isoformat(),
        "book": found.low.book,
        "flags": _flags(found),
        "reason": row.reason,
    }


def _money(amount: Money | None) -> Mapping[str, Any] | None:
    return None if amount is None else {"amount": amount.amount, "currency": amount.currency}


def _flags(found: Estimate) -> list[str]:
    costs: list[Cost] = [found.low] if found.high is None else [found.low, found.high]
    return list(dict.fromkeys(flag for cost in costs for flag in cost.flags))


def _show(rows: list[_Row]) -> None:
    from tokenmeter._support.text_tables import table
    from tokenmeter.money import plain

    headers = ["", "provider", "model", "input tokens", "method", "least", "most", "note"]
    lines: list[list[str]] = []
    rules: list[int] = []
    for number, row in enumerate(rows):
        least, most = row.found.range if row.found is not None else (None, None)
        currency = least.currency if least is not None else ""
        if number and currency != lines[-1][0]:
            rules.append(number)
        cells = [plain(money.amount) if money is not None else "" for money in (least, most)]
        lines.append([currency, row.provider or "", row.model, *_tokens(row), *cells, "; ".join(_notes(row))])
    print(table(headers, lines, right=["input tokens", "least", "most"], rules=rules))
    limits = {row.found.output_limit for row in rows if row.found is not None}
    if None in limits:
        print("the request sets no limit on its output, so the most is open: give --max-output N")
    else:
        print("".join(f"output: up to {limit} tokens" for limit in limits))


def _tokens(row: _Row) -> list[str]:
    if row.found is None or row.found.input.tokens is None:
        return ["", ""]
    counted = row.found.input
    spread = "" if counted.low == counted.high else f" ({counted.low}–{counted.high})"
    return [f"{counted.tokens}{spread}", str(counted.method)]


def _notes(row: _Row) -> list[str]:
    notes = [row.reason] if row.reason else []
    if row.found is not None:
        counted = row.found.input
        notes += [f"calibrated {counted.calibrated}"] if counted.calibrated else []
        notes += [*counted.skipped, *([counted.reason] if counted.reason else []), *_flags(row.found)]
        notes += ["free"] if row.found.low.status == "free" and not row.reason else []
    return list(dict.fromkeys(notes))
