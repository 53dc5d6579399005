"""Checks a price file and reports every problem in it at once.

A line names file, entry, key and remedy. `check_data` says whether a file may be used at all; what is sound but
looks odd (a jump of ten times, a rate past its review date) is for `audit`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from tokenmeter._support.data_files import data_names
from tokenmeter.money import EXACT
from tokenmeter.prices.components import PriceSchema, load_schema
from tokenmeter.prices.conditions import BOTH, number, read_range
from tokenmeter.prices.model_names import form_pattern
from tokenmeter.prices.price_file import instant_of
from tokenmeter.prices.time_windows import as_date, read_days, read_hours, zone_of
from tokenmeter.prices.upkeep.card_rules import RULES
from tokenmeter.prices.upkeep.sibling_rules import SIBLING_RULES
from tokenmeter.usage import TOKEN_FIELDS

__all__ = ["check_data"]

_HEAD: Final = (
    "provider", "currency", "timezone", "read", "sources", "stale_after", "k", "stand_in", "assume", "bill_decimals",
    "match", "contract", "windows", "note", "source", "rate", "alias", "form", "plan", "discount", "exception",
)  # fmt: skip
_RATE: Final = (
    "model", "effective", "observed", "until", "currency", "free", "withdrawn", "per", "minimum", "step", "stand_in",
    "assume", "k", "case", "source", "confidence", "review_by", "promotion", "announced", "seen", "seen_by", "note",
    BOTH,
)  # fmt: skip
_CASE: Final = ("when", "multiply", "stack", "drop", "seen", "note", BOTH)
_WINDOW: Final = ("zone", "days", "hours", "calendar", "holidays", "makeup", "note")
_ALIAS: Final = ("model", "of", "from", "until", "source", "note", "confidence")
_FORM: Final = ("name", "of", "params", "note")
_EXCEPTION: Final = ("models", "rule", "reason", "source")
_DISCOUNT: Final = ("models", "multiply", "from", "until", "note")
# What each key holds, wherever it stands.
_SHAPES: Final[Mapping[str, type | tuple[type, ...]]] = {
    **dict.fromkeys(("provider", "currency", "timezone", "zone", "calendar", "holidays", "makeup", "of", "name"), str),
    **dict.fromkeys(
        ("rate", "alias", "form", "plan", "discount", "exception", "case", "match", "k", "hours", "models", "drop"),
        list,
    ),
    **dict.fromkeys(
        ("stand_in", "assume", "windows", "per", "step", "minimum", "params", "when", "seen_by", "sources"), Mapping
    ),
    **dict.fromkeys(("free", "withdrawn", "promotion", "contract", "stack"), bool),
    **dict.fromkeys(("effective", "until", "review_by", "announced", "from", "seen"), (str, date)),
    "model": str,
    "observed": list,
    "days": (str, list),
}
_NAMES: Final = {str: "a string", list: "a list", Mapping: "a table", bool: "true or false", date: "a day"}
_CONFIDENCE: Final = ("official", "corroborated", "single-source")


def check_data(data: Mapping[str, Any], place: str, below: Mapping[str, Any] | None = None) -> list[str]:
    """Every problem of one price file, a line each; empty if it is sound.

    `below` is the head of the file this one is laid over, which it inherits.
    """
    return list(_Check(data, place, below or {}).problems())


class _Check:
    def __init__(self, data: Mapping[str, Any], place: str, below: Mapping[str, Any]) -> None:
        self.data, self.place, self.below = data, place, below
        self.schema: PriceSchema = load_schema()
        self.zone: Any = None
        self.windows = {**below.get("windows", {}), **_table(data.get("windows"))}

    def problems(self) -> Iterator[str]:
        self.data, misshapen = _shaped(self.data)
        for message in (*misshapen, *self._head()):
            yield f"{self.place}: {message}"
        if self.zone is None:
            return
        readers: tuple[tuple[str, Callable[[Mapping[str, Any]], Iterator[str]]], ...] = (
            ("rate", self._rate), ("alias", self._alias), ("form", self._form),
            ("plan", self._plan), ("discount", self._discount), ("exception", self._exception),
        )  # fmt: skip
        for kind, check in readers:
            for index, entry in enumerate(self.data.get(kind, ()), 1):
                name = _table(entry).get("model") or _table(entry).get("name") or _table(entry).get("id")
                where = f"{self.place}: {kind} {index}" + (f" ({name})" if name else "")
                if not isinstance(entry, Mapping):
                    yield f"{where}: must be a [[{kind}]] table"
                    continue
                # A plan's keys are free: it is shown and never computed with.
                sound, found = (entry, []) if kind == "plan" else _shaped(entry)
                for message in (*found, *check(sound)):
                    yield f"{where}: {message}"

    def _head(self) -> Iterator[str]:
        yield from _unknown(self.data, _HEAD)
        head = {**self.below, **self.data}
        for key, example in (("provider", "deepseek"), ("currency", "CNY"), ("timezone", "Asia/Shanghai")):
            if not isinstance(head.get(key), str) or not head[key]:
                yield f'"{key}" is missing: write {key} = "{example}"'
        try:
            self.zone = zone_of(head["timezone"]) if isinstance(head.get("timezone"), str) else None
        except ValueError as error:
            yield f"timezone: {error}"
        yield from self._stand_ins(self.data)
        yield from _days(_table(self.data.get("sources")), "sources.")
        after = self.data.get("stale_after", 1)
        if type(after) is not int or after < 1:
            yield f"stale_after: {after!r} must be a number of days, such as 180"
        for name in self.data.get("match", ()):
            if name not in ("case", "dots", "spaces"):
                yield f'match: {name!r} is not a rule (rules are "case", "dots" and "spaces")'
        if "k" in self.data:
            yield from _thousands(self.data["k"])
        for name, window in _table(self.data.get("windows")).items():
            sound, found = _shaped(window) if isinstance(window, Mapping) else ({}, ["must be a table"])
            for message in (*found, *self._window(sound)):
                yield f"windows.{name}: {message}"

    def _window(self, window: Mapping[str, Any]) -> Iterator[str]:
        yield from _unknown(window, _WINDOW)
        for key, read in (("zone", zone_of), ("days", read_days), ("hours", read_hours)):
            try:
                if key in window:
                    read(window[key])
            except ValueError as error:
                yield f"{key}: {error}"
        calendars = data_names("calendars")
        if "calendar" in window and window["calendar"] not in calendars:
            yield f"calendar: there is no {window['calendar']!r} (calendars: {', '.join(calendars)})"
        for key in ("holidays", "makeup"):
            if window.get(key, "in") not in ("in", "out"):
                yield f'{key}: {window[key]!r} must be "in" or "out"'
            elif key in window and "calendar" not in window:
                yield f'{key}: needs a calendar, such as calendar = "cn"'

    def _rate(self, entry: Mapping[str, Any]) -> Iterator[str]:
        if not all(isinstance(case, Mapping) for case in entry.get("case", ())):
            yield "case: write [[rate.case]] with two brackets, once for each case"
            entry = {**entry, "case": []}
        if "k" in entry:
            yield from _thousands(entry["k"])
        currency = entry.get("currency", "CNY")
        if not isinstance(currency, str) or not currency.isupper():
            yield f'currency: {currency!r} must be a code such as "CNY"'
        yield from self._keys(entry, _RATE)
        if not isinstance(entry.get("model"), str) or not entry["model"]:
            yield '"model" is missing'
        yield from self._dates(entry)
        yield from self._prices(entry)
        yield from self._stand_ins(entry)
        if "confidence" in entry and entry["confidence"] not in _CONFIDENCE:
            yield f"confidence: {entry['confidence']!r} is none of {', '.join(_CONFIDENCE)}"
        yield from self._per(entry)
        for key in ("step", "minimum"):
            for name, value in _table(entry.get(key)).items():
                yield from self._number(f"{key}.{name}", value, at_least_zero=True)
        for index, case in enumerate(entry.get("case", ()), 1):
            sound, found = _shaped(case)
            for message in (*found, *self._case(sound)):
                yield f"case {index}: {message}"
        yield from self._free(entry)

    def _per(self, entry: Mapping[str, Any]) -> Iterator[str]:
        for name, per in _table(entry.get("per")).items():
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
                key for key in entry if self._is_price(key) and self.schema.whole(key) in ("input", "output", BOTH)
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
        yield from _days({key: case[key] for key in ("seen",) if key in case})
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
            yield from self._number(f"multiply{'.' if name else ''}{name}", factor, at_least_zero=True)
            if name and self.schema.component(name) is None:
                yield f'multiply: "{name}" is not a component{self._mean(name, self.schema.components)}'
        if not factors and "drop" not in case and not any(self._is_price(key) for key in case):
            yield "it changes nothing: set a price, multiply or drop"

    def _condition(self, key: str, value: Any) -> Iterator[str]:
        condition = self.schema.conditions.get(key)
        values = value if isinstance(value, list) else [value]
        if key in ("window", "not_window"):
            for name in values:
                if not isinstance(name, str) or name not in self.windows:
                    yield f"there is no [windows.{name}] in the head"
        elif condition is not None:
            if condition.yes_no and type(value) is not bool:
                yield f"{value!r} must be true or false"
            if not condition.yes_no and not all(isinstance(name, str) for name in values):
                yield f"{value!r} must be a name or a list of names"
        elif key in TOKEN_FIELDS or key in self.schema.of_usage:
            try:
                read_range(key, value)
            except ValueError as error:
                yield str(error)
        else:
            known = [*self.schema.conditions, "window", *self.schema.of_usage]
            yield f"not a condition{self._mean(key, known)}"

    def _keys(self, entry: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[str]:
        for key in entry:
            if key not in known and self.schema.component(key) is None:
                yield f'"{key}" is not a component or key{self._mean(key, [*self.schema.components, *known])}'

    def _is_price(self, key: str) -> bool:
        return key == BOTH or self.schema.component(key) is not None

    def _prices(self, entry: Mapping[str, Any]) -> Iterator[str]:
        for key, value in entry.items():
            if self._is_price(key):
                yield from self._number(key, value, at_least_zero=True)

    def _number(self, key: str, value: Any, *, at_least_zero: bool) -> Iterator[str]:
        try:
            if at_least_zero and number(value) < 0:
                yield f"{key}: {value} is negative"
        except ValueError as error:
            yield f"{key}: {error}"

    def _stand_ins(self, entry: Mapping[str, Any]) -> Iterator[str]:
        for name, other in _table(entry.get("stand_in")).items():
            for component in (name, other):
                if not isinstance(component, str) or self.schema.component(component) is None:
                    yield f'stand_in: "{component}" is not a component{self._mean(component, self.schema.components)}'
        for name in _table(entry.get("assume")):
            if name not in self.schema.conditions:
                yield f'assume: "{name}" is not a condition{self._mean(name, self.schema.conditions)}'

    def _dates(self, entry: Mapping[str, Any]) -> Iterator[str]:
        starts: list[float] = []
        for key in ("effective", "until"):
            if key in entry:
                yield from self._instant(key, entry[key], starts)
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
        yield from _days({key: entry[key] for key in ("review_by", "seen") if key in entry})
        for name, value in _table(entry.get("seen_by")).items():
            if self.schema.component(name) is None:
                yield f'seen_by: "{name}" is not a component{self._mean(name, self.schema.components)}'
            yield from _days({name: value}, "seen_by.")
        if entry.get("promotion") and not {"until", "review_by"} & entry.keys():
            yield "a promotion needs until or review_by"

    def _instant(self, key: str, value: Any, found: list[float] | None = None) -> Iterator[str]:
        try:
            if not isinstance(value, str | date | datetime):
                raise TypeError
            instant = instant_of(value, self.zone)
            if found is not None:
                found.append(instant)
        except (TypeError, ValueError) as error:
            yield f"{key}: {str(error) or f'{value!r} is not a day or an instant'}"

    def _alias(self, entry: Mapping[str, Any]) -> Iterator[str]:
        yield from _unknown(entry, _ALIAS)
        for key in ("model", "of"):
            if not isinstance(entry.get(key), str):
                yield f'"{key}" is missing'
        if entry.get("model") == entry.get("of"):
            yield "it names itself"
        for key in ("from", "until"):
            if key in entry:
                yield from self._instant(key, entry[key])

    def _form(self, entry: Mapping[str, Any]) -> Iterator[str]:
        yield from _unknown(entry, _FORM)
        try:
            form_pattern(str(entry.get("name")))
        except ValueError as error:
            yield str(error)

    def _plan(self, entry: Mapping[str, Any]) -> Iterator[str]:
        if not isinstance(entry.get("id"), str):
            yield '"id" is missing'

    def _exception(self, entry: Mapping[str, Any]) -> Iterator[str]:
        yield from _unknown(entry, _EXCEPTION)
        if entry.get("rule") not in (*RULES, *SIBLING_RULES):
            yield f"rule: {entry.get('rule')!r} is not a rule of a card ({', '.join((*RULES, *SIBLING_RULES))})"
        for key in ("models", "reason", "source"):
            if not entry.get(key):
                yield f"{key} is missing: an exception says which models, why, and where that is written"

    def _discount(self, entry: Mapping[str, Any]) -> Iterator[str]:
        yield from _unknown(entry, _DISCOUNT)
        if not isinstance(entry.get("models"), list):
            yield 'models is missing: a list of ids, or ["*"]'
        multiply = entry.get("multiply")
        for name, factor in (multiply if isinstance(multiply, Mapping) else {"multiply": multiply}).items():
            yield from self._number(name, factor, at_least_zero=True)
        for key in ("from", "until"):
            if key in entry:
                yield from self._instant(key, entry[key])

    @staticmethod
    def _mean(word: object, known: Iterable[str]) -> str:
        return _hint(str(word), known)


def _shaped(entry: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """An entry without the keys that hold another kind of thing than they must, and a line for each of these."""
    sound, found = {}, []
    for key, value in entry.items():
        kinds = _SHAPES.get(key)
        if kinds is None or isinstance(value, kinds):
            sound[key] = value
        elif key == "case":
            found.append("case: write [[rate.case]] with two brackets, once for each case")
        else:
            wanted = " or ".join(_NAMES[kind] for kind in (kinds if isinstance(kinds, tuple) else (kinds,)))
            found.append(f"{key}: {value!r} must be {wanted}")
    return sound, found


def _thousands(k: list[Any]) -> Iterator[str]:
    if len(k) != 2 or not all(type(size) is int and size > 0 for size in k):
        yield f"k: {k!r} must be the two sizes K is read as, [1000, 1024]"


def _days(values: Mapping[str, Any], place: str = "") -> Iterator[str]:
    for key, value in values.items():
        try:
            as_date(value)
        except (ValueError, TypeError, AttributeError):
            yield f"{place}{key}: {value!r} is not a day"


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _hint(word: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(word, list(known), n=1)
    return f' (did you mean "{near[0]}"?)' if near else ""


def _unknown(entry: Mapping[str, Any], known: tuple[str, ...]) -> Iterator[str]:
    for key in entry:
        if key not in known:
            yield f'"{key}" is not a key here{_hint(key, known)}'
