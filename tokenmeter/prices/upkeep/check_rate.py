"""Checks one rate of a price file: its keys, dates, prices and cases.

Yields a line for each problem, without the place of the rate, which `check` puts in front.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from datetime import datetime, tzinfo
from decimal import Decimal
from typing import Any, Final

from tokenmeter.money import EXACT
from tokenmeter.prices.components import PriceSchema
from tokenmeter.prices.conditions import BOTH, number, read_range
from tokenmeter.prices.time_windows import as_date
from tokenmeter.prices.upkeep.check_values import (
    hint,
    shaped,
    table,
    wrong_days,
    wrong_instant,
    wrong_number,
    wrong_stand_ins,
    wrong_thousands,
)
from tokenmeter.usage import TOKEN_FIELDS

__all__ = ["RateCheck"]

_RATE: Final = (
    "model", "effective", "observed", "until", "currency", "free", "withdrawn", "per", "minimum", "step", "stand_in",
    "assume", "k", "case", "source", "confidence", "review_by", "promotion", "announced", "seen", "seen_by", "note",
    BOTH,
)  # fmt: skip
_CASE: Final = ("when", "multiply", "stack", "drop", "seen", "note", BOTH)
_CONFIDENCE: Final = ("official", "corroborated", "single-source")


class RateCheck:
    """Checks rates of one file, of which `windows` are the named hours and `zone` is the clock."""

    def __init__(self, schema: PriceSchema, windows: Container[str], zone: tzinfo) -> None:
        self._schema, self._windows, self._zone = schema, windows, zone

    def problems(self, entry: Mapping[str, Any]) -> Iterator[str]:
        """A line for each problem of a rate."""
        if not all(isinstance(case, Mapping) for case in entry.get("case", ())):
            yield "case: write [[rate.case]] with two brackets, once for each case"
            entry = {**entry, "case": []}
        if "k" in entry:
            yield from wrong_thousands(entry["k"])
        currency = entry.get("currency", "CNY")
        if not isinstance(currency, str) or not currency.isupper():
            yield f'currency: {currency!r} must be a code such as "CNY"'
        yield from self._keys(entry, _RATE)
        if not isinstance(entry.get("model"), str) or not entry["model"]:
            yield '"model" is missing'
        yield from self._dates(entry)
        yield from self._prices(entry)
        yield from wrong_stand_ins(entry, self._schema)
        if "confidence" in entry and entry["confidence"] not in _CONFIDENCE:
            yield f"confidence: {entry['confidence']!r} is none of {', '.join(_CONFIDENCE)}"
        yield from self._per(entry)
        for key in ("step", "minimum"):
            for name, value in table(entry.get(key)).items():
                yield from wrong_number(f"{key}.{name}", value)
        for index, case in enumerate(entry.get("case", ()), 1):
            sound, found = shaped(case)
            for message in (*found, *self._case(sound)):
                yield f"case {index}: {message}"
        yield from self._free(entry)

    def _per(self, entry: Mapping[str, Any]) -> Iterator[str]:
        for name, per in table(entry.get("per")).items():
            if type(per) is not int or per <= 0:
                yield f"per.{name}: {per!r} must be a whole number above zero, such as 1000"
                continue
            for price in (part[name] for part in (entry, *entry.get("case", ())) if name in part):
                try:
                    EXACT.divide(number(price), Decimal(per))
                except (ArithmeticError, ValueError):
                    yield f"per.{name}: {price} / {per} is not a finite decimal: state the price for another quantity"

    def _free(self, entry: Mapping[str, Any]) -> Iterator[str]:
        base = [entry[key] for key in entry if self._is_price(key)]
        cases = [case[key] for case in entry.get("case", ()) for key in case if self._is_price(key)]
        priced = [price for price in (*base, *cases) if not isinstance(price, str | Mapping)]
        if entry.get("free"):
            tokens = [
                key for key in entry if self._is_price(key) and self._schema.whole(key) in ("input", "output", BOTH)
            ]
            if any(entry[key] for key in tokens):
                yield "free = true beside a token price above zero: leave one out"
        elif entry.get("withdrawn"):
            if priced:
                yield "withdrawn = true beside prices: leave one out"
        elif not priced:
            yield "no price: give one, or free = true, or withdrawn = true"
        elif not any(priced):
            yield "every price is 0: write free = true if the vendor says so; a placeholder must be left out"

    def _case(self, case: Mapping[str, Any]) -> Iterator[str]:
        yield from self._keys(case, _CASE)
        yield from wrong_days({key: case[key] for key in ("seen",) if key in case})
        yield from self._prices(case)
        when = case.get("when")
        if not isinstance(when, Mapping) or not when:
            yield 'when is missing: write when = { input_tokens = "> 128000" }'
        else:
            for key, value in when.items():
                yield from (f"when.{key}: {message}" for message in self._condition(key, value))
        multiply = case.get("multiply")
        factors = multiply if isinstance(multiply, Mapping) else {} if multiply is None else {"": multiply}
        for name, factor in factors.items():
            yield from wrong_number(f"multiply{'.' if name else ''}{name}", factor)
            if name and self._schema.component(name) is None:
                yield f'multiply: "{name}" is not a component{hint(name, self._schema.components)}'
        if not factors and "drop" not in case and not any(self._is_price(key) for key in case):
            yield "it changes nothing: set a price, multiply or drop"

    def _condition(self, key: str, value: Any) -> Iterator[str]:
        condition = self._schema.conditions.get(key)
        values = value if isinstance(value, list) else [value]
        if key in ("window", "not_window"):
            for name in values:
                if not isinstance(name, str) or name not in self._windows:
                    yield f"there is no [windows.{name}] in the head"
        elif condition is not None:
            if condition.yes_no and type(value) is not bool:
                yield f"{value!r} must be true or false"
            if not condition.yes_no and not all(isinstance(name, str) for name in values):
                yield f"{value!r} must be a name or a list of names"
        elif key in TOKEN_FIELDS or key in self._schema.of_usage:
            try:
                read_range(key, value)
            except ValueError as error:
                yield str(error)
        else:
            known = [*self._schema.conditions, "window", *self._schema.of_usage]
            yield f"not a condition{hint(key, known)}"

    def _keys(self, entry: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[str]:
        for key in entry:
            if key not in known and self._schema.component(key) is None:
                yield f'"{key}" is not a component or key{hint(key, [*self._schema.components, *known])}'

    def _is_price(self, key: str) -> bool:
        return key == BOTH or self._schema.component(key) is not None

    def _prices(self, entry: Mapping[str, Any]) -> Iterator[str]:
        for key, value in entry.items():
            if self._is_price(key):
                yield from wrong_number(key, value)

    def _dates(self, entry: Mapping[str, Any]) -> Iterator[str]:
        starts: list[float] = []
        for key in ("effective", "until"):
            if key in entry:
                yield from wrong_instant(key, entry[key], self._zone, starts)
        observed = entry.get("observed")
        if observed is not None:
            try:
                first, last = map(as_date, observed)
                if any(isinstance(day, datetime) for day in observed):
                    raise TypeError
                if first > last:
                    yield f"observed: {first} is after {last}"
            except (TypeError, ValueError, AttributeError):
                yield f"observed: {observed!r} must be two days, such as [2024-05-01, 2024-06-30]"
        if not {"effective", "observed", "until"} & entry.keys():
            yield "no date: give effective, observed or until"
        if "effective" in entry and "until" in entry and len(starts) == 2 and starts[0] >= starts[1]:
            yield "until is not after effective"
        yield from wrong_days({key: entry[key] for key in ("review_by", "seen") if key in entry})
        for name, value in table(entry.get("seen_by")).items():
            if self._schema.component(name) is None:
                yield f'seen_by: "{name}" is not a component{hint(name, self._schema.components)}'
            yield from wrong_days({name: value}, "seen_by.")
        if entry.get("promotion") and not {"until", "review_by"} & entry.keys():
            yield "a promotion needs until or review_by"
