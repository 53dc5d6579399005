"""`tokenmeter price`: compute the cost of a usage at any instant; of one call by flags, of many by `--jsonl`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.cli import COMMANDS
from tokenmeter.cli._configured import configured_book
from tokenmeter.cli._flags import Paragraphs, whole
from tokenmeter.cli._jsonl import LineError, answer_lines
from tokenmeter.cli._output import print_json
from tokenmeter.components import FIELDS, component_of
from tokenmeter.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    import argparse
    from datetime import datetime

    from tokenmeter.cost import Cost
    from tokenmeter.prices.book import Book
    from tokenmeter.usage import Usage

_LIFETIMES: Final = ("cache_write_5m", "cache_write_1h")
_TOKENS: Final = {part.short: part.usage for part in (*FIELDS, *filter(None, map(component_of, _LIFETIMES)))}
_PARAMS: Final = ("service_tier", "region", "deployment", "cache", "cache_ttl", "currency", "plan", "speed")
_EPILOG: Final = """\
a line of --jsonl: {"id", "provider", "model", "at"?, "response_model"?, "usage": {"input_tokens", ...}, "params"?}
an instant is RFC 3339 with offset; a bare day is midnight where the provider is; without one it is now.
"""


def add_parser(subparsers: Any) -> None:
    """Describe the command."""
    import argparse

    parser: argparse.ArgumentParser = subparsers.add_parser(
        "price",
        help=COMMANDS["price"],
        description="What a usage costs by the price book, in the provider's currency.",
        epilog=_EPILOG,
        formatter_class=Paragraphs,
    )
    parser.add_argument("--jsonl", metavar="FILE", help="answer each line of FILE (- is standard input)")
    parser.add_argument("--provider", metavar="ID", help="who bills: an id or alias, such as deepseek or dashscope")
    parser.add_argument("--model", metavar="NAME", help="the model as the provider names it")
    parser.add_argument("--at", metavar="TIME", help="the instant of the call (default: now)")
    for name in _TOKENS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=whole, metavar="N", help="tokens")
    parser.add_argument("--quantity", action="append", default=[], metavar="NAME=N", help="such as web_search_calls=2")
    parser.add_argument("--thinking", action=argparse.BooleanOptionalAction, help="whether the model was told to think")
    parser.add_argument("--batch", action="store_true", default=None, help="a call of a batch job")
    for name in _PARAMS:
        parser.add_argument(f"--{name.replace('_', '-')}", metavar="NAME", help=f"params.{name}")
    parser.add_argument("--convert", metavar="CURRENCY", help="show the cost in this currency too; needs --rates")
    parser.add_argument("--rates", metavar="FILE", help="your dated exchange rates (TOML); none is ever assumed")
    parser.add_argument("--json", action="store_true", help="the contract's JSON instead of a table")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where something is unpriced")


def run(args: argparse.Namespace) -> int:
    """Price one call, or each line of a file. Raises ConfigurationError for flags that cannot be understood."""
    book, own_names = configured_book()
    if args.jsonl:
        handler = line_handler(book, own_names)
        if not args.strict:
            return answer_lines(args.jsonl, handler)
        strict = _Strict(handler)
        return answer_lines(args.jsonl, strict) or (1 if strict.unpriced else 0)
    return _one(args, book, own_names)


class _Strict:
    """Answers lines, and remembers whether one of them was unpriced."""

    def __init__(self, handler: Callable[[dict[str, Any]], str]) -> None:
        self._handler = handler
        self.unpriced = False

    def __call__(self, line: dict[str, Any]) -> str:
        answer = self._handler(line)
        self.unpriced = self.unpriced or json.loads(f"{{{answer}}}")["status"] == "unpriced"
        return answer


def line_handler(book: Book, own_names: Mapping[str, str] = MappingProxyType({})) -> Callable[[dict[str, Any]], str]:
    """The answer to one line; raises LineError naming the field that cannot be understood."""
    from datetime import datetime

    from tokenmeter.prices.components import known_params
    from tokenmeter.usage import Usage

    read_usage, parse, price, known = Usage.from_dict, datetime.fromisoformat, book.price, known_params()

    def answer(line: dict[str, Any]) -> str:
        provider, model, usage, params = line.get("provider"), line.get("model"), line.get("usage"), line.get("params")
        at = line.get("at")
        if type(provider) is not str or not provider:
            raise LineError("provider must be a name such as 'deepseek'", "provider")
        if type(model) is not str or not model:
            raise LineError("model must be a name such as 'deepseek-chat'", "model")
        if usage is None:  # what `extract` answers where nothing was reported
            usage = {}
        elif type(usage) is not dict:
            raise LineError('usage must be an object such as {"input_tokens": 1000, "output_tokens": 50}', "usage")
        if params is not None and type(params) is not dict:
            raise LineError('params must be an object such as {"thinking": true}', "params")
        try:
            quantities = read_usage(usage)
        except UsageError as error:
            message = str(error)
            raise LineError(message, message.partition(":")[0]) from None
        moment = None if at is None else _moment(at, book, provider, parse)
        response_model = line.get("response_model")
        if type(response_model) is not str:
            response_model = None
        if own_names:
            model, response_model = own_names.get(model, model), own_names.get(response_model or "", response_model)
        cost = price(
            quantities,
            provider=provider,
            model=model,
            response_model=response_model,
            at=moment,
            params=params,
        )
        # An instant is given back as it came, in the caller's own spelling.
        shown = cost.to_json(at if at is not None and len(at) > 10 else None)
        return shown if params is None or params.keys() <= known else _flagged(shown, params.keys() - known)

    return answer


def _flagged(shown: str, ignored: set[str]) -> str:
    """An answer that says which parameters no price depends on: one of them may be misspelt."""
    answer = json.loads(f"{{{shown}}}")
    answer["flags"] += [f"param_unknown={name}" for name in sorted(ignored)]
    return json.dumps(answer, ensure_ascii=False)[1:-1]


def _moment(at: Any, book: Book, provider: str, parse: Callable[[str], datetime]) -> datetime:
    if type(at) is not str:
        raise LineError('at must be a time such as "2026-11-21T10:00:00+08:00" or a day', "at")
    try:
        if len(at) > 10:
            moment = parse(at)
            if moment.tzinfo is not None:
                return moment
        from datetime import UTC

        from tokenmeter.prices.provider_prices import read_moment

        prices = book.provider_prices(provider)
        return read_moment(at, UTC if isinstance(prices, str) else prices.zone)
    except (ValueError, OverflowError) as error:
        raise LineError(f"at: {error}", "at") from None


def _one(args: argparse.Namespace, book: Book, own_names: Mapping[str, str]) -> int:
    for flag in ("provider", "model"):
        if not getattr(args, flag):
            raise ConfigurationError(f"--{flag} is missing (or give --jsonl FILE)")
    try:
        moment = None if args.at is None else _moment(args.at, book, args.provider, _parse)
    except LineError as error:
        raise ConfigurationError(f"--{error}") from None
    params = {name: getattr(args, name) for name in (*_PARAMS, "thinking", "batch") if getattr(args, name) is not None}
    model = own_names.get(args.model, args.model)
    cost = book.price(_usage(args), provider=args.provider, model=model, at=moment, params=params)
    converted = _converted(args, cost)
    status = 1 if args.strict and cost.status == "unpriced" else 0
    if args.json:
        print_json({**cost.to_dict(), **({"converted": converted} if args.convert else {})})
        return status
    _show(cost)
    if converted is not None:
        old = " (stale)" if converted["stale"] else ""
        print(
            f"converted {converted['amount']} {converted['currency']} at {converted['pair']} {converted['rate']}"
            f" of {converted['rate_day']}{old}, {converted['rate_source']}"
        )
    return status


def _converted(args: argparse.Namespace, cost: Cost) -> dict[str, Any] | None:
    """The cost in the currency asked for, at the user's own rate of that day; None where it is not priced."""
    if not args.convert:
        return None
    if not args.rates:
        raise ConfigurationError("--convert needs --rates FILE: no exchange rate is assumed")
    from tokenmeter.exchange import ExchangeRates

    rates = ExchangeRates.read(args.rates)
    if cost.total is None:
        return None
    converted = rates.convert(cost.total, args.convert, cost.at)
    if converted is None:
        raise ConfigurationError(
            f"{args.rates}: no rate between {cost.total.currency} and {args.convert} on or before {cost.at.date()}"
        )
    return converted.to_dict()


def _parse(text: str) -> datetime:
    from datetime import datetime

    return datetime.fromisoformat(text)


def _usage(args: argparse.Namespace) -> Usage:
    from tokenmeter.usage import Usage

    data: dict[str, Any] = {
        field: getattr(args, name) for name, field in _TOKENS.items() if getattr(args, name) is not None
    }
    quantities = {}
    for text in args.quantity:
        name, equals, number = text.partition("=")
        if not equals:
            raise ConfigurationError(f"--quantity: {text!r} is not NAME=N")
        quantities[name] = number
    try:
        return Usage.from_dict({**data, "quantities": quantities} if quantities else data)
    except UsageError as error:
        raise ConfigurationError(str(error)) from None


def _show(cost: Cost) -> None:
    """A table for people: each charge, the sum, and what it rests on."""
    from tokenmeter.money import plain

    for charge in cost.charges:
        quantity = plain(charge.quantity)
        print(
            f"{charge.component:<20} {quantity:>14} x {plain(charge.rate):>10} / {charge.per:<9} {plain(charge.amount)}"
        )
    if cost.total is not None:
        print(f"{cost.status:<20} {cost.total}")
    else:
        print(f"unpriced: {cost.reason}")
    if cost.list_total is not None:
        print(f"{'list price':<20} {cost.list_total}")
    if cost.rate_id is not None:
        since = "" if cost.effective_from is None else f" since {cost.effective_from.isoformat()}"
        seen = "" if cost.last_seen is None else f", last seen {cost.last_seen}"
        print(f"rate {cost.rate_id} ({cost.dating}{since}, {cost.confidence}{seen}; book {cost.book})")
    for flag in cost.flags:
        print(f"note: {flag}")
    if cost.covered_by is not None:
        print(f"covered by {cost.covered_by}: the fee of the plan is not in this figure")
    sys.stdout.flush()
