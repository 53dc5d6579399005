"""Resolves a rate for one request: from its parameters and windows to the price table that bills a usage.

Three steps. `read_facts` reads the conditions that the request decides (thinking, batch, region ...). `open_cases`
keeps the cases that can still apply; what is left of them are ranges over quantities. `Cells` cuts each quantity at
the edges of those ranges; the table of a cell is made once, when a usage first falls into it, so a warm call costs a
bisection.

Cases are read from top to bottom. A set price replaces what was there; a multiplier replaces an earlier multiplier
of that component unless it says that it stacks. That is the whole rule: vendors that stack say so in data.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from itertools import combinations, product
from typing import Any, Final, NamedTuple

from tokenmeter.money import EXACT, plain
from tokenmeter.offers import Price
from tokenmeter.prices.charges import Table
from tokenmeter.prices.components import YES_NO, PriceSchema
from tokenmeter.prices.conditions import Case, Edge, Prices, Range
from tokenmeter.usage import TOKEN_FIELDS, Usage

__all__ = ["ResolvedRate", "TokenRange"]

_ONE: Final = Decimal(1)
_TOTALS: Final = ("input_tokens", "output_tokens")
Discount = Mapping[str, Decimal] | Decimal | None
TokenRange = tuple[int | None, int | None]  # from the first number, below the second
AmbiguousEdge = tuple[int, int, str]  # above the first number and up to the second: this flag


class RequestFacts(NamedTuple):
    """The conditions that a request decides before any usage is seen."""

    values: Mapping[str, str | bool]
    flags: tuple[str, ...]
    cache_ttl: str | None


class OpenCase(NamedTuple):
    """A case whose other conditions are met, with the ranges that still decide."""

    case: Case
    ranges: tuple[Range, ...]


class ResolvedRate:
    """A rate with parameters, windows and discount decided; `table` gives what bills a usage."""

    def __init__(
        self,
        prices: Prices,
        params: Mapping[str, Any],
        windows: Collection[str],
        schema: PriceSchema,
        *,
        discount: Discount = None,
    ) -> None:
        """Raises ValueError if a parameter has a value no switch has."""
        self._prices, self._schema, self._discount = prices, schema, discount
        self._facts = read_facts(params, prices, schema)
        self._cases = tuple(open_cases(prices, self._facts, windows, schema))
        ranges = [one for case in self._cases for one in case.ranges]
        self._cells = Cells(ranges)
        self._tables: dict[tuple[int, ...], Table | str] = {}
        self._only = None if ranges else self._make(())
        self.steady = self._only is not None
        """Whether one table bills every usage."""
        self.flags = self._facts.flags
        self.edges = tuple(_ambiguous_edges(ranges, prices.k))

    @property
    def only_table(self) -> Table | None:
        """The table that bills every usage; None where that depends on the usage, or there is none."""
        return self._only if isinstance(self._only, Table) else None

    @property
    def tiers(self) -> tuple[tuple[str, list[Edge]], ...]:
        """The quantities that the price depends on, each with the edges at which it changes."""
        return self._cells.edges

    def table(self, usage: Usage) -> Table | str:
        """The table that bills this usage, or why there is none."""
        if self._only is not None:
            return self._only
        cell = self._cells.find(usage)
        if isinstance(cell, str):
            return cell
        found = self._tables.get(cell)
        if found is None:
            found = self._tables[cell] = self._make(cell)
        return found

    def cells(self) -> Iterator[tuple[dict[str, TokenRange], Table]]:
        """Every table with the ranges of tokens that it is for; other quantities are taken to be absent."""
        for cell, ranges in self._cells.all():
            table = self._make(cell)
            if isinstance(table, Table):
                yield ranges, table

    def _make(self, cell: tuple[int, ...]) -> Table | str:
        values = self._cells.sample(cell)
        cases = [case for case, ranges in self._cases if all(one.contains(values[one.quantity]) for one in ranges)]
        if reason := _why_unlisted(self._facts, cases, self._schema):
            return reason
        rates = _discounted(_apply(self._prices.base, cases), self._discount)
        seen = _last_seen(self._prices.seen_by, cases)
        return _price_table(rates, seen, self._prices, self._schema, self._facts.cache_ttl)


class Cells:
    """The cells between the edges of some ranges: inside one, every usage meets the same conditions."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        edges: dict[str, set[Edge]] = {}
        for one in ranges:
            edges.setdefault(one.quantity, set()).update(edge for edge in (one.low, one.high) if edge is not None)
        self.edges = tuple((name, sorted(found)) for name, found in edges.items())

    def find(self, usage: Usage) -> tuple[int, ...] | str:
        """The cell a usage falls into, or why that is not known."""
        cell = []
        for name, edges in self.edges:
            value = getattr(usage, name) if name in TOKEN_FIELDS else usage.quantities.get(name)
            if value is None:
                if name in _TOTALS:
                    return f"the price depends on {name}, which is not known"
                value = 0
            cell.append(bisect_right(edges, value))
        return tuple(cell)

    def all(self) -> Iterator[tuple[tuple[int, ...], dict[str, TokenRange]]]:
        """Every cell with its ranges of tokens, of those in which quantities other than tokens are 0."""
        choices = [
            range(len(edges) + 1) if name in TOKEN_FIELDS else (bisect_right(edges, 0),) for name, edges in self.edges
        ]
        for cell in product(*choices):
            yield (
                cell,
                {
                    name: (int(edges[index - 1]) if index else None, int(edges[index]) if index < len(edges) else None)
                    for (name, edges), index in zip(self.edges, cell, strict=True)
                    if name in TOKEN_FIELDS
                },
            )

    def sample(self, cell: tuple[int, ...]) -> Mapping[str, Edge]:
        """A value of each quantity inside a cell; it stands for all of them."""
        return {
            name: edges[index - 1] if index else edges[0] - 1
            for (name, edges), index in zip(self.edges, cell, strict=True)
        }


def read_facts(params: Mapping[str, Any], prices: Prices, schema: PriceSchema) -> RequestFacts:
    """Read the conditions among a request's parameters; what a rate assumes in their absence is flagged.

    Raises ValueError for a switch that is neither true nor false.
    """
    values: dict[str, str | bool] = {}
    flags: tuple[str, ...] = ()
    for name, condition in schema.conditions.items():
        value = params.get(name)
        if value is None and name in prices.assume and prices.asks(name):
            value = prices.assume[name]
            flags += (f"assumed_{name}={str(value).lower()}",)
        if value is None:
            continue
        if condition.yes_no:
            switch = YES_NO.get(value.lower() if isinstance(value, str) else value)
            if switch is None:
                raise ValueError(f"params.{name}: {value!r} is neither true nor false")
            values[name] = switch
        else:
            word = str(value).lower()
            switched = condition.means.get(word)
            if switched is None:
                values[name] = word = condition.spelled.get(word, word)
                if condition.flags(word, any(word in case.names.get(name, ()) for case in prices.cases)):
                    flags += (f"unlisted_{name}={word[:40]}",)
            else:
                values[switched] = True
    ttl = params.get("cache_ttl")
    return RequestFacts(values, flags, ttl.lower() if isinstance(ttl, str) and ttl else None)


def open_cases(
    prices: Prices, facts: RequestFacts, windows: Collection[str], schema: PriceSchema
) -> Iterator[OpenCase]:
    """The cases that can still apply. A switch the request leaves open is decided by its source in the usage."""
    known = facts.values
    for case in prices.cases:
        ranges = list(case.ranges)
        applies = all((name in windows) == inside for name, inside in case.windows.items())
        applies &= all(known.get(name) in wanted for name, wanted in case.names.items())
        for name, wanted in case.switches.items():
            source = schema.conditions[name].source
            if name not in known and source is not None:
                ranges.append(Range(source, 1, None) if wanted else Range(source, None, 1))
            else:
                applies &= known.get(name, False) == wanted
        if applies:
            yield OpenCase(case, tuple(ranges))


def _why_unlisted(facts: RequestFacts, cases: list[Case], schema: PriceSchema) -> str | None:
    """Why the rate has no price for this request: it asks for something that no case in force lists.

    Two such conditions have a price together only if a case names both, or one of them multiplies: of two set prices
    neither is the price of both.
    """
    asked: dict[str, str] = {}
    for name, value in facts.values.items():
        condition = schema.conditions[name]
        if condition.refuse_unlisted and value is not False and value not in condition.neutral:
            if not any(_names(case, name) for case in cases):
                return f"no rate for {name} = {str(value).lower()}"
            asked[name] = str(value).lower()
    for one, two in combinations(asked, 2):
        apart = [
            [c for c in cases if c.sets and _names(c, a) and not _names(c, b)] for a, b in ((one, two), (two, one))
        ]
        if all(apart) and not any(_names(case, one) and _names(case, two) for case in cases):
            return f"no rate for {one} = {asked[one]} together with {two} = {asked[two]}"
    return None


def _names(case: Case, condition: str) -> bool:
    return condition in case.switches or condition in case.names


def _apply(base: Mapping[str, Decimal], cases: list[Case]) -> dict[str, Decimal]:
    prices = dict(base)
    factors: dict[str, Decimal] = {}
    for case in cases:
        changed = dict.fromkeys(prices, case.factor) if case.factor is not None else case.factors
        for name, factor in changed.items():
            factors[name] = EXACT.multiply(factors.get(name, _ONE), factor) if case.stack else factor
        for name, price in case.sets.items():
            prices[name] = price
            factors.pop(name, None)
        for name in case.drop:
            prices.pop(name, None)
    return {name: EXACT.multiply(price, factors[name]) if name in factors else price for name, price in prices.items()}


def _last_seen(base: Mapping[str, date], cases: list[Case]) -> Mapping[str, date]:
    """The last day of the components that were seen before the rate was."""
    if not base and not any(case.seen for case in cases):
        return base
    days = dict(base)
    for case in cases:
        for name in case.sets:
            days.pop(name, None)
            if case.seen is not None:
                days[name] = case.seen
    return days


def _discounted(rates: dict[str, Decimal], discount: Discount) -> dict[str, Decimal]:
    if discount is None:
        return rates
    factors = dict.fromkeys(rates, discount) if isinstance(discount, Decimal) else discount
    return {name: EXACT.multiply(rate, factors.get(name, _ONE)) for name, rate in rates.items()}


def _price_table(
    rates: Mapping[str, Decimal], seen: Mapping[str, date], source: Prices, schema: PriceSchema, cache_ttl: str | None
) -> Table:
    """The rates as prices with their units, steps and minimums, and the stand-ins of what has none."""
    prices = {name: _price(name, rate, seen.get(name), source, schema) for name, rate in rates.items()}
    if source.free:
        for name in ("input", "output"):
            prices.setdefault(name, Price(name, Decimal(0), schema.components[name].per))
    stand_in = {**schema.stand_ins, **source.stand_in}

    def serves(name: str) -> Price | None:
        seen = set()
        while name not in prices and name in stand_in and name not in seen:
            seen.add(name)
            name = stand_in[name]
        return prices.get(schema.whole(name) if source.free and name not in prices else name)

    return Table(prices, serves, quantities=schema.of_usage, lifetime=cache_ttl)


def _price(name: str, rate: Decimal, seen: date | None, source: Prices, schema: PriceSchema) -> Price:
    component = schema.component(name)
    per = source.per.get(name) or (1 if component is None else component.per)
    return Price(name, rate, per, step=source.step.get(name), least=source.minimum.get(name), seen=seen)


def _ambiguous_edges(ranges: Iterable[Range], k: tuple[int, ...]) -> Iterator[AmbiguousEdge]:
    """Where an edge printed in K has two readings: above the first number, up to the second."""
    found: set[int] = set()
    for one in ranges:
        for edge in (one.low, one.high):
            if one.quantity == "input_tokens" and isinstance(edge, int):
                found.update(reading for reading in (edge, edge - 1) if reading > 0)
    for edge in sorted(found):
        # 32,000 and 32,768 are both "32K"; an edge that is whole in neither reading was printed in full.
        for size in k:
            if edge % size == 0:
                low, high = sorted((edge // size * min(k), edge // size * max(k)))
                yield low, high, f"tier_edge_{plain(low)}_or_{plain(high)}"
                break
