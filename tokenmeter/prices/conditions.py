"""The price side of a rate as its file states it: base prices, cases, and the conditions of each case.

`read_case` reads a `[[rate.case]]`, `read_range` a range over a quantity ("more than 128,000 input tokens").
`resolved_rate` decides which cases apply to a request.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from tokenmeter._support.value import Value
from tokenmeter.money import EXACT, exact_decimal
from tokenmeter.prices.components import PriceSchema
from tokenmeter.prices.time_windows import as_date
from tokenmeter.usage import TOKEN_FIELDS

__all__ = ["Case", "Edge", "Prices", "Range", "read_case", "read_range"]

Edge = int | Decimal
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_RANGE: Final = r"\s*(>=|<=|>|<|=)\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*"  # compiled when a range is first read
BOTH: Final = "input_and_output"


class Range(NamedTuple):
    """A half-open range of a quantity: `low` <= quantity < `high`."""

    quantity: str
    low: Edge | None
    high: Edge | None

    def contains(self, value: Edge) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value < self.high)


def read_range(quantity: str, text: object) -> Range:
    """Read `"> 128000, <= 256000"`. Raises ValueError saying what a range looks like."""
    low: Edge | None = None
    high: Edge | None = None
    parts = str(text).split(",")
    for part in parts:
        match = re.fullmatch(_RANGE, part)
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


def _edge(quantity: str, digits: str) -> Edge:
    whole = "." not in digits and quantity in TOKEN_FIELDS
    return int(digits) if whole else exact_decimal(digits.replace("_", ""))


def _after(edge: Edge) -> Edge:
    """The least number above an edge: the next token, or the next number there is."""
    return edge + 1 if isinstance(edge, int) else edge.next_plus(EXACT)


class Case(Value):
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
    seen: date | None = None


def number(value: object) -> Decimal:
    """A price as it stands in the file. Raises ValueError for what is not an exact number."""
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
        seen=as_date(entry["seen"]) if "seen" in entry else None,
    )


class Prices(Value):
    """The price side of a rate: base prices, cases, and how quantities are billed.

    `seen_by` has the last day of the components, and a case's `seen` its own, that were last seen before the rate.
    """

    base: Mapping[str, Decimal]
    cases: tuple[Case, ...] = ()
    stand_in: Mapping[str, str] = _NOTHING
    assume: Mapping[str, Any] = _NOTHING
    per: Mapping[str, int] = _NOTHING
    step: Mapping[str, Decimal] = _NOTHING
    minimum: Mapping[str, Decimal] = _NOTHING
    free: bool = False
    k: tuple[int, ...] = ()
    seen_by: Mapping[str, date] = _NOTHING

    def asks(self, condition: str) -> bool:
        """Whether any case depends on this condition."""
        return any(condition in case.names or condition in case.switches for case in self.cases)
