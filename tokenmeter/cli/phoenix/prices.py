"""Selects the prices of the book that Phoenix's table can represent, with a reason for each that it cannot.

A row of Phoenix is one price per token in USD for a model's name, at any time and for any call. So the book prices one
token of each type, with discounts and stand-ins applied. A price that depends on the clock or on the call's usage is
left out: Phoenix then uses its own table or shows no cost, which is better than a price that is right on some days.

Phoenix matches a row by the model's name, and by the provider only among several matches. So a name is written for
every provider that sells it or for none; otherwise one vendor's calls would get another vendor's price.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.cli.phoenix.client import ModelRow, TokenPrice
from tokenmeter.money import EXACT, plain
from tokenmeter.prices.components import load_schema
from tokenmeter.prices.price_file import Validity
from tokenmeter.prices.upkeep.price_history import in_force
from tokenmeter.usage import Usage

if TYPE_CHECKING:
    from tokenmeter.cost import Cost
    from tokenmeter.exchange import ExchangeRate, ExchangeRates
    from tokenmeter.prices.book import Book
    from tokenmeter.prices.price_file import Rate
    from tokenmeter.prices.provider_prices import ProviderPrices

__all__ = ["NAMED", "LeftOut", "SyncPlan", "WrittenModel", "plan"]

Kind = tuple[str, bool]
_INPUT: Final[Kind] = ("input", True)
_WRITE: Final[Kind] = ("cache_write", True)
_OUTPUT: Final[Kind] = ("output", False)
_ONE: Final[Mapping[Kind, Usage]] = {
    _INPUT: Usage(input_tokens=1, output_tokens=0),
    ("cache_read", True): Usage(input_tokens=1, output_tokens=0, cache_read_input_tokens=1),
    _WRITE: Usage(input_tokens=1, output_tokens=0, cache_write_input_tokens=1),
    ("audio", True): Usage(input_tokens=1, output_tokens=0, audio_input_tokens=1),
    _OUTPUT: Usage(input_tokens=0, output_tokens=1),
    ("reasoning", False): Usage(input_tokens=0, output_tokens=1, reasoning_output_tokens=1),
    ("audio", False): Usage(input_tokens=0, output_tokens=1, audio_output_tokens=1),
}
"""One token of each of Phoenix's types: its name there, and whether it is on the prompt's side."""
_LIFETIME: Final = "5m"
_SHORT_WRITE: Final = Usage(input_tokens=1, output_tokens=0, cache_write_input_tokens=1, cache_writes={_LIFETIME: 1})
"""A cache write where its price depends on the lifetime: the shortest, which is the default of a request."""
_CLOCK: Final = frozenset({"window", "not_window"})
_FEES: Final = ("code_interpreter", "file_search", "request", "web_search")
_MILLION: Final = Decimal(10**6)
DOLLARS: Final = "USD"
NAMED: Final = re.compile(r"(?P<model>.+) \((?P<provider>[a-z0-9-]+) by tokenmeter(?:, [^()]+)?\)")
"""Name of a synced row, by which a later sync recognises it."""


class LeftOut(NamedTuple):
    """A model, or one name of it, that is not written: the reason, and the remedy where there is one."""

    provider: str
    model: str
    why: str
    remedy: str = ""
    also_sold_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class WrittenModel:
    """A model that is written, with its names. `unlike` describes calls whose cost differs from the row."""

    provider: str
    model: str
    names: tuple[str, ...]
    row: ModelRow
    unlike: tuple[str, ...] = ()
    next_change: datetime | None = None


class SyncPlan(NamedTuple):
    """The rows that a sync writes, and the models that it leaves out."""

    written: tuple[WrittenModel, ...]
    left_out: tuple[LeftOut, ...]


def plan(
    book: Book,
    providers: Collection[str],
    at: datetime,
    *,
    exchange: ExchangeRates | None = None,
    base_prices: bool = False,
    provider_names: Mapping[str, str] | None = None,
    own_names: Mapping[str, str] | None = None,
) -> SyncPlan:
    """Plan the rows for the prices of these providers at an instant.

    `exchange`: the user's dated rates, for lists in other currencies. `base_prices`: also write the base of prices
    that depend on the call's usage. `provider_names`: names of providers on spans where they differ from the id.
    `own_names`: the user's model names, such as endpoint ids, and the model of each.
    """
    pricing = _Pricing(book, at, exchange, base_prices, provider_names or {})
    held: list[WrittenModel] = []
    left_out: list[LeftOut] = []
    sellers: dict[str, set[str]] = defaultdict(set)
    for provider in providers:
        prices = book.provider_prices(provider)
        if isinstance(prices, str):
            continue
        for model, names in _models(book, prices, at, own_names or {}).items():
            for name in names:
                sellers[name].add(provider)
            found = pricing.row_of(prices, model, tuple(names))
            if isinstance(found, WrittenModel):
                held.append(found)
            else:
                left_out.append(found)
    kept, confused = _split_shared_names(held, sellers)
    return SyncPlan(tuple(kept), (*left_out, *confused))


def _models(book: Book, prices: ProviderPrices, at: datetime, own_names: Mapping[str, str]) -> dict[str, list[str]]:
    """Models of a provider at an instant, with every name that implies no further parameter."""
    instant = at.timestamp()
    names: dict[str, list[str]] = {rate.model: [] for rate in in_force(book, prices.provider, instant)}
    known = {name: name for name in prices.names.all()}
    for name, meant in {**known, **own_names}.items():
        match = prices.names.find(meant, instant, Validity())
        if match is not None and not match.params and match.model in names:
            names[match.model].append(name)
    return {model: found for model, found in names.items() if found}


def _split_shared_names(
    held: Iterable[WrittenModel], sellers: Mapping[str, set[str]]
) -> tuple[list[WrittenModel], list[LeftOut]]:
    """Split off the names that another provider sells too and that are not written for that provider."""
    writers: dict[str, set[str]] = defaultdict(set)
    for one in held:
        for name in one.names:
            writers[name].add(one.provider)
    kept, left_out = [], []
    for one in held:
        alone = tuple(name for name in one.names if writers[name] == sellers[name])
        if alone:
            kept.append(replace(one, names=alone, row=one.row._replace(pattern=_pattern(alone))))
        for name in one.names:
            if name not in alone:
                others = tuple(sorted(sellers[name] - writers[name]))
                why = "sold by somebody else under the same name, whose price is left out"
                left_out.append(LeftOut(one.provider, name, why, "say whose models you use with --provider", others))
    return kept, left_out


def _pattern(names: Iterable[str]) -> str:
    words = sorted(map(re.escape, names))
    return f"^{words[0]}$" if len(words) == 1 else f"^(?:{'|'.join(words)})$"


class _Pricing(NamedTuple):
    """The book with the options of the plan."""

    book: Book
    at: datetime
    exchange: ExchangeRates | None
    base_prices: bool
    provider_names: Mapping[str, str]

    def row_of(self, prices: ProviderPrices, model: str, names: tuple[str, ...]) -> WrittenModel | LeftOut:
        """One model's row, or the reason why it has none."""
        provider = prices.provider

        def no(why: str, remedy: str = "") -> LeftOut:
            return LeftOut(provider, model, why, remedy)

        def cost(usage: Usage) -> Cost:
            return self.book.price(usage, provider=provider, model=model, at=self.at)

        costs = {kind: cost(usage) for kind, usage in _ONE.items()}
        if costs[_WRITE].amount is None:
            costs[_WRITE] = cost(_SHORT_WRITE)
        for kind in (_INPUT, _OUTPUT):
            if costs[kind].amount is None:
                return no(f"no price per token of {kind[0]}")
        if any(charge.quantity != 1 for cost in costs.values() for charge in cost.charges):
            return no("billed in steps")
        currency = costs[_INPUT].currency or ""
        rate = _in_force(prices, model, currency, self.at)
        asked = set() if rate is None else {name for case in rate.entry.get("case", ()) for name in case["when"]}
        if asked & _CLOCK:
            return no("its price depends on the time of day")
        of_usage = {name for name in asked if _depends_on_usage(name)}
        if of_usage and not self.base_prices:
            return no(f"its price depends on {' and '.join(sorted(of_usage))}", "--base-prices writes the base price")
        exchange = None
        if currency != DOLLARS and (costs[_INPUT].amount or costs[_OUTPUT].amount):  # zero needs no exchange rate
            exchange = None if self.exchange is None else self.exchange.rate(currency, DOLLARS, self.at.date())
            if exchange is None:
                remedy = f"give your own rate and its day: --rates {currency}=0.1400@{self.at.date()}"
                return no(f"billed in {currency}, and Phoenix shows dollars", remedy)
        row = ModelRow(
            name=f"{model} ({provider} by tokenmeter{'' if exchange is None else f', {_rate_text(exchange)}'})",
            provider=self.provider_names.get(provider, provider),
            pattern=_pattern(names),
            start=_start(costs[_INPUT], exchange),
            prices=frozenset(_prices(costs, exchange)),
        )
        unlike = _unlike(rate, of_usage, asked - of_usage)
        return WrittenModel(provider, model, names, row, tuple(unlike), _next_change(rate))


def _in_force(prices: ProviderPrices, model: str, currency: str, at: datetime) -> Rate | None:
    """The entry of the book behind a model's price."""
    for file in prices.files:
        timeline = file.timeline(model, currency)
        rate = None if timeline is None else timeline.in_force(at.timestamp(), Validity())
        if rate is not None:
            return rate
    return None


def _depends_on_usage(condition: str) -> bool:
    """Whether a condition depends on the usage of a call, not on an option of its request."""
    known = load_schema().conditions.get(condition)
    return known is None or known.source is not None


def _start(cost: Cost, exchange: ExchangeRate | None) -> datetime | None:
    """Start instant of a row: the later of the price's and the exchange rate's."""
    if exchange is None:
        return cost.effective_from
    day = datetime.combine(exchange.day, time(), UTC)
    return day if cost.effective_from is None else max(cost.effective_from, day)


def _prices(costs: Mapping[Kind, Cost], exchange: ExchangeRate | None) -> Iterator[TokenPrice]:
    """A price of each type with its own rate; Phoenix uses that of input or output for the others."""
    for kind, cost in costs.items():
        usual = _INPUT if kind[1] else _OUTPUT
        if cost.amount is None or (kind != usual and cost.amount == costs[usual].amount):
            continue
        million = EXACT.multiply(cost.amount, _MILLION)
        yield TokenPrice(*kind, float(million if exchange is None else exchange.convert(million, DOLLARS)))


def _unlike(rate: Rate | None, of_usage: Collection[str], asked: Collection[str]) -> Iterator[str]:
    if of_usage:
        yield f"by {', '.join(sorted(of_usage))}"
    if asked:
        yield f"with {', '.join(sorted(asked))}"
    longer = [name for name in (() if rate is None else rate.entry) if name.startswith("cache_write_")]
    if any(name != f"cache_write_{_LIFETIME}" for name in longer):
        yield "with cache writes kept longer"
    fees = [name for name in _FEES if rate is not None and name in rate.entry]
    if fees:
        yield f"fees of {', '.join(fees)}"


def _next_change(rate: Rate | None) -> datetime | None:
    """Start of the next price that the book already has; None where it has none."""
    timeline: Any = None if rate is None else rate.file.timeline(rate.model, rate.list)
    if rate is None or timeline is None:
        return None
    later = timeline.rates[timeline.rates.index(rate) + 1 :]
    return later[0].starts_at if later else None


def _rate_text(rate: ExchangeRate) -> str:
    return f"{rate.pair} {plain(rate.rate)} of {rate.day}"
