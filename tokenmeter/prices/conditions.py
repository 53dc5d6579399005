"""From a rate and the facts of a request to the one price table that bills it.

A `Plan` is a rate with everything decided that does not depend on the usage: parameters, windows, discounts. What
is left are ranges over quantities ("more than 128,000 input tokens"). They cut each quantity's line at a few points;
the table of every cell between cuts is made once, when a call first falls into it, so a warm call costs a bisection.

Cases are read from top to bottom. A set price replaces what was there; a multiplier replaces an earlier multiplier
of that component unless it says that it stacks. That is the whole rule: vendors that stack say so in data.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tokenmeter.cost import Price
from tokenmeter.money import EXACT, exact_decimal, plain
from tokenmeter.prices.charges import Table
from tokenmeter.prices.components import YES_NO, PriceSchema
from tokenmeter.usage import TOKEN_FIELDS, Usage

__all__ = ["Case", "Plan", "Prices", "Range", "read_case", "read_range"]

Cut = int | Decimal
_ONE: Final = Decimal(1)
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_RANGE: Final = re.compile(r"\s*(>=|<=|>|<|=)\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*")
BOTH: Final = "input_and_output"


class Range(NamedTuple):
    """A half-open span of a quantity: `low` <= quantity < `high`."""

    quantity: str
    low: Cut | None
    high: Cut | None

    def holds(self, value: Cut) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value < self.high)


def read_range(quantity: str, text: object) -> Range:
    """Read `"> 128000, <= 256000"`. Raises ValueError saying what a range looks like."""
    low: Cut | None = None
    high: Cut | None = None
    parts = str(text).split(",")
    for part in parts:
        match = _RANGE.fullmatch(part)
        if match is None or not isinstance(text, str):
            raise ValueError(f'{text!r} is not a range such as "> 128000" or "> 128000, <= 256000"')
        operator, edge = match[1], _edge(quantity, match[2])
        if operator in (">", ">=", "="):
            low = _after(edge) if operator == ">" else edge
        if operator in ("<", "<=", "="):
            high = edge if operator == "<" else _after(edge)
    if low is not None and high is not None and low >= high:
        raise ValueError(f"{text!r} is a range nothing lies in")
    return Range(quantity, low, high)


def _edge(quantity: str, digits: str) -> Cut:
    whole = "." not in digits and quantity in TOKEN_FIELDS
    return int(digits) if whole else exact_decimal(digits.replace("_", ""))


def _after(edge: Cut) -> Cut:
    """The least number above an edge: the next token, or the next number there is."""
    return edge + 1 if isinstance(edge, int) else edge.next_plus(EXACT)


class Case(NamedTuple):
    """Prices that differ while all its conditions hold."""

    ranges: tuple[Range, ...] = ()
    names: Mapping[str, frozenset[str]] = _NOTHING
    switches: Mapping[str, bool] = _NOTHING
    windows: Mapping[str, bool] = _NOTHING
    sets: Mapping[str, Decimal] = _NOTHING
    factors: Mapping[str, Decimal] = _NOTHING
    factor: Decimal | None = None
    stack: bool = False
    drop: frozenset[str] = frozenset()


def number(value: object) -> Decimal:
    """A price as the file holds it. Raises ValueError for what is not an exact number."""
    if isinstance(value, str | float):
        raise ValueError(f"{value!r} is a {'string' if isinstance(value, str) else 'float'}: write a bare number")
    try:
        return exact_decimal(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{value!r} is not a number") from None


def prices_of(entry: Mapping[str, Any], schema: PriceSchema) -> dict[str, Decimal]:
    """The component prices among an entry's keys."""
    prices: dict[str, Decimal] = {}
    for key, value in entry.items():
        if key == BOTH:
            prices["input"] = prices["output"] = number(value)
        elif schema.component(key) is not None:
            prices[key] = number(value)
    return prices


def read_case(entry: Mapping[str, Any], schema: PriceSchema) -> Case:
    """Read a `[[rate.case]]`; `check` has the complete list of what can be wrong in one. Raises ValueError."""
    ranges = []
    names: dict[str, frozenset[str]] = {}
    switches: dict[str, bool] = {}
    windows: dict[str, bool] = {}
    for key, value in entry.get("when", {}).items():
        condition = schema.conditions.get(key)
        if key == "window":
            windows.update(dict.fromkeys([value] if isinstance(value, str) else value, True))
        elif key == "not_window":
            windows.update(dict.fromkeys([value] if isinstance(value, str) else value, False))
        elif condition is None:
            ranges.append(read_range(key, value))
        elif condition.yes_no:
            switches[key] = value
        else:
            names[key] = frozenset(str(name).lower() for name in ([value] if isinstance(value, str) else value))
    multiply = entry.get("multiply")
    table = multiply if isinstance(multiply, Mapping) else {}
    return Case(
        ranges=tuple(ranges),
        names=names,
        switches=switches,
        windows=windows,
        sets=prices_of(entry, schema),
        factors={name: number(factor) for name, factor in table.items()},
        factor=None if multiply is None or table else number(multiply),
        stack=entry.get("stack", False),
        drop=frozenset(entry.get("drop", ())),
    )


class Prices(NamedTuple):
    """The price side of a rate: base prices, cases, and how quantities are billed."""

    base: Mapping[str, Decimal]
    cases: tuple[Case, ...] = ()
    stand_in: Mapping[str, str] = _NOTHING
    assume: Mapping[str, Any] = _NOTHING
    per: Mapping[str, int] = _NOTHING
    step: Mapping[str, Decimal] = _NOTHING
    minimum: Mapping[str, Decimal] = _NOTHING
    free: bool = False
    k: tuple[int, ...] = ()

    def asks(self, condition: str) -> bool:
        """Whether any case depends on this condition."""
        return any(condition in case.names or condition in case.switches for case in self.cases)


class Plan:
    """A rate with parameters, windows and discount decided; `table` gives what bills a usage."""

    def __init__(
        self,
        prices: Prices,
        params: Mapping[str, Any],
        windows: Collection[str],
        schema: PriceSchema,
        *,
        discount: Mapping[str, Decimal] | Decimal | None = None,
    ) -> None:
        """Raises ValueError if a parameter has a value no switch has."""
        self._prices, self._schema, self._discount = prices, schema, discount
        self.flags: tuple[str, ...] = ()
        ttl = params.get("cache_ttl")
        self._lifetime = ttl.lower() if isinstance(ttl, str) and ttl else None
        self._facts = dict(self._read(params))
        self._cases = tuple(self._left(windows))
        cuts: dict[str, set[Cut]] = {}
        for _, ranges in self._cases:
            for span in ranges:
                cuts.setdefault(span.quantity, set()).update(cut for cut in (span.low, span.high) if cut is not None)
        self._cuts = tuple((name, sorted(found)) for name, found in cuts.items())
        self._tables: dict[tuple[int, ...], Table | str] = {}
        self._only = None if self._cuts else self._make(())
        self.edges = tuple(_ambiguous_edges(self._cases, prices.k))

    def _read(self, params: Mapping[str, Any]) -> Iterator[tuple[str, str | bool]]:
        """The conditions that are settled before any usage is seen, with what was assumed flagged."""
        for name, condition in self._schema.conditions.items():
            value = params.get(name)
            if value is None and name in self._prices.assume and self._prices.asks(name):
                value = self._prices.assume[name]
                self.flags += (f"assumed_{name}={str(value).lower()}",)
            if value is None:
                continue
            if condition.yes_no:
                switch = YES_NO.get(value.lower() if isinstance(value, str) else value)
                if switch is None:
                    raise ValueError(f"params.{name}: {value!r} is neither true nor false")
                yield name, switch
            else:
                word = str(value).lower()
                other = condition.means.get(word)
                yield (name, condition.spelled.get(word, word)) if other is None else (other, True)

    def _left(self, windows: Collection[str]) -> Iterator[tuple[Case, tuple[Range, ...]]]:
        """The cases that can still apply, each with the ranges that will decide."""
        for case in self._prices.cases:
            ranges = list(case.ranges)
            applies = all((name in windows) == inside for name, inside in case.windows.items())
            applies &= all(self._facts.get(name) in wanted for name, wanted in case.names.items())
            for name, wanted in case.switches.items():
                source = self._schema.conditions[name].source
                if name not in self._facts and source is not None:
                    ranges.append(Range(source, 1, None) if wanted else Range(source, None, 1))
                else:
                    applies &= self._facts.get(name, False) == wanted
            if applies:
                yield case, tuple(ranges)

    def table(self, usage: Usage) -> Table | str:
        """The table that bills this usage, or why there is none."""
        if self._only is not None:
            return self._only
        cell = []
        for name, cuts in self._cuts:
            value = getattr(usage, name) if name in TOKEN_FIELDS else usage.quantities.get(name)
            if value is None:
                if name in ("input_tokens", "output_tokens"):
                    return f"the price depends on {name}, which is not known"
                value = 0
            cell.append(bisect_right(cuts, value))
        key = tuple(cell)
        found = self._tables.get(key)
        if found is None:
            found = self._tables[key] = self._make(key)
        return found

    def _make(self, cell: tuple[int, ...]) -> Table | str:
        """The table of one cell between cuts, any value of which stands for all."""
        values = {
            name: cuts[index - 1] if index else cuts[0] - 1
            for (name, cuts), index in zip(self._cuts, cell, strict=True)
        }
        cases = [case for case, ranges in self._cases if all(span.holds(values[span.quantity]) for span in ranges)]
        if unlisted := self._unlisted(cases):
            return unlisted
        rates = _apply(self._prices.base, cases)
        if self._discount is not None:
            for name in rates:
                cut = self._discount if isinstance(self._discount, Decimal) else self._discount.get(name, _ONE)
                rates[name] = EXACT.multiply(rates[name], cut)
        return self._table(rates)

    def _unlisted(self, cases: list[Case]) -> str | None:
        for name, value in self._facts.items():
            condition = self._schema.conditions[name]
            if condition.refuse_unlisted and value is not False and value not in condition.neutral:
                asked = (case.switches if condition.yes_no else case.names for case in cases)
                if not any(name in conditions for conditions in asked):
                    return f"no rate for {name} = {str(value).lower()}"
        return None

    def _table(self, rates: Mapping[str, Decimal]) -> Table:
        schema, source = self._schema, self._prices
        prices = {name: self._price(name, rate) for name, rate in rates.items()}
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

        return Table(prices, serves, quantities=schema.of_usage, lifetime=self._lifetime)

    def _price(self, name: str, rate: Decimal) -> Price:
        component = self._schema.component(name)
        per = self._prices.per.get(name) or (1 if component is None else component.per)
        return Price(name, rate, per, step=self._prices.step.get(name), least=self._prices.minimum.get(name))


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


def _ambiguous_edges(
    cases: tuple[tuple[Case, tuple[Range, ...]], ...], k: tuple[int, ...]
) -> Iterator[tuple[int, int, str]]:
    """Where an edge printed in K has two readings: above the first number, up to the second."""
    found: set[int] = set()
    for _, ranges in cases:
        for span in ranges:
            for cut in (span.low, span.high):
                if span.quantity == "input_tokens" and isinstance(cut, int):
                    found.update(edge for edge in (cut, cut - 1) if edge > 0)
    for edge in sorted(found):
        # 32,000 and 32,768 are both "32K"; an edge that is whole in neither reading was printed in full.
        for size in k:
            if edge % size == 0:
                low, high = sorted((edge // size * min(k), edge // size * max(k)))
                yield low, high, f"tier_edge_{plain(low)}_or_{plain(high)}"
                break
