"""Checks a price file and reports every problem in it at once.

A line names file, entry, key and remedy. `check_data` says whether a file may be used at all; what is sound but
looks odd (a jump of ten times, a rate past its review date) is for `audit`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from tokenmeter._support.data_files import data_names
from tokenmeter.prices.components import PriceSchema, load_schema
from tokenmeter.prices.model_names import form_pattern
from tokenmeter.prices.time_windows import read_days, read_hours, zone_of
from tokenmeter.prices.upkeep.card_rules import RULES
from tokenmeter.prices.upkeep.check_rate import RateCheck
from tokenmeter.prices.upkeep.check_values import (
    shaped,
    table,
    unknown_keys,
    wrong_days,
    wrong_instant,
    wrong_number,
    wrong_stand_ins,
    wrong_thousands,
)
from tokenmeter.prices.upkeep.sibling_rules import SIBLING_RULES

__all__ = ["check_data"]

_HEAD: Final = (
    "provider", "currency", "timezone", "read", "sources", "stale_after", "k", "stand_in", "assume", "bill_decimals",
    "match", "contract", "windows", "note", "source", "rate", "alias", "form", "plan", "discount", "exception",
)  # fmt: skip
_WINDOW: Final = ("zone", "days", "hours", "calendar", "holidays", "makeup", "note")
_ALIAS: Final = ("model", "of", "from", "until", "source", "note", "confidence")
_FORM: Final = ("name", "of", "params", "note")
_EXCEPTION: Final = ("models", "rule", "reason", "source")
_DISCOUNT: Final = ("models", "multiply", "from", "until", "note")


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
        self.windows = {**below.get("windows", {}), **table(data.get("windows"))}

    def problems(self) -> Iterator[str]:
        self.data, misshapen = shaped(self.data)
        for message in (*misshapen, *self._head()):
            yield f"{self.place}: {message}"
        if self.zone is None:
            return
        readers: tuple[tuple[str, Callable[[Mapping[str, Any]], Iterator[str]]], ...] = (
            ("rate", RateCheck(self.schema, self.windows, self.zone).problems),
            ("alias", self._alias), ("form", self._form), ("plan", self._plan),
            ("discount", self._discount), ("exception", self._exception),
        )  # fmt: skip
        for kind, check in readers:
            for index, entry in enumerate(self.data.get(kind, ()), 1):
                name = table(entry).get("model") or table(entry).get("name") or table(entry).get("id")
                where = f"{self.place}: {kind} {index}" + (f" ({name})" if name else "")
                if not isinstance(entry, Mapping):
                    yield f"{where}: must be a [[{kind}]] table"
                    continue
                # A plan's keys are free: it is shown and never computed with.
                sound, found = (entry, []) if kind == "plan" else shaped(entry)
                for message in (*found, *check(sound)):
                    yield f"{where}: {message}"

    def _head(self) -> Iterator[str]:
        yield from unknown_keys(self.data, _HEAD)
        head = {**self.below, **self.data}
        for key, example in (("provider", "deepseek"), ("currency", "CNY"), ("timezone", "Asia/Shanghai")):
            if not isinstance(head.get(key), str) or not head[key]:
                yield f'"{key}" is missing: write {key} = "{example}"'
        try:
            self.zone = zone_of(head["timezone"]) if isinstance(head.get("timezone"), str) else None
        except ValueError as error:
            yield f"timezone: {error}"
        yield from wrong_stand_ins(self.data, self.schema)
        yield from wrong_days(table(self.data.get("sources")), "sources.")
        after = self.data.get("stale_after", 1)
        if type(after) is not int or after < 1:
            yield f"stale_after: {after!r} must be a number of days, such as 180"
        for name in self.data.get("match", ()):
            if name not in ("case", "dots", "spaces"):
                yield f'match: {name!r} is not a rule (rules are "case", "dots" and "spaces")'
        if "k" in self.data:
            yield from wrong_thousands(self.data["k"])
        for name, window in table(self.data.get("windows")).items():
            sound, found = shaped(window) if isinstance(window, Mapping) else ({}, ["must be a table"])
            for message in (*found, *self._window(sound)):
                yield f"windows.{name}: {message}"

    def _window(self, window: Mapping[str, Any]) -> Iterator[str]:
        yield from unknown_keys(window, _WINDOW)
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

    def _alias(self, entry: Mapping[str, Any]) -> Iterator[str]:
        yield from unknown_keys(entry, _ALIAS)
        for key in ("model", "of"):
            if not isinstance(entry.get(key), str):
                yield f'"{key}" is missing'
        if entry.get("model") == entry.get("of"):
            yield "it names itself"
        for key in ("from", "until"):
            if key in entry:
                yield from wrong_instant(key, entry[key], self.zone)

    def _form(self, entry: Mapping[str, Any]) -> Iterator[str]:
        yield from unknown_keys(entry, _FORM)
        try:
            form_pattern(str(entry.get("name")))
        except ValueError as error:
            yield str(error)

    def _plan(self, entry: Mapping[str, Any]) -> Iterator[str]:
        if not isinstance(entry.get("id"), str):
            yield '"id" is missing'

    def _exception(self, entry: Mapping[str, Any]) -> Iterator[str]:
        yield from unknown_keys(entry, _EXCEPTION)
        if entry.get("rule") not in (*RULES, *SIBLING_RULES):
            yield f"rule: {entry.get('rule')!r} is not a rule of a card ({', '.join((*RULES, *SIBLING_RULES))})"
        for key in ("models", "reason", "source"):
            if not entry.get(key):
                yield f"{key} is missing: an exception says which models, why, and where that is written"

    def _discount(self, entry: Mapping[str, Any]) -> Iterator[str]:
        yield from unknown_keys(entry, _DISCOUNT)
        if not isinstance(entry.get("models"), list):
            yield 'models is missing: a list of ids, or ["*"]'
        multiply = entry.get("multiply")
        for name, factor in (multiply if isinstance(multiply, Mapping) else {"multiply": multiply}).items():
            yield from wrong_number(name, factor)
        for key in ("from", "until"):
            if key in entry:
                yield from wrong_instant(key, entry[key], self.zone)
