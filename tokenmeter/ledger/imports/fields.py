"""Reads single values of an import's rows: by path, as text, as an instant, as an amount, or names the bad field."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

from tokenmeter._support.bounded import short_name
from tokenmeter.money import exact_decimal

__all__ = ["UNITS", "BadField", "StatedFloat", "find", "instant_ns", "items_of", "number_of", "text_of", "words_of"]

UNITS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Nanoseconds of one unit in which a format states instants as numbers."""

_INSTANT: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[T ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:[.,]([0-9]{1,12}))?"
    r"(?: ?UTC|([Zz])| ?([+-][0-9]{2}(?::?[0-9]{2})?))?"
)
_NUMBER: Final = re.compile(r"-?[0-9]{1,40}(\.[0-9]{0,60})?([eE][+-]?[0-9]{1,2})?")
_LATEST_NS: Final = 4_102_444_800 * 10**9  # the year 2100: later is another unit, not another century
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_STEP: Final = re.compile(r"([^\[\]]*)\[\]\.?")


class BadField(ValueError):
    """A field that is missing or cannot be read. `field` is its name in the file."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class StatedFloat(float):
    """A number of a JSON file with the digits that stand there, since money is exact."""

    text: str

    def __new__(cls, text: str) -> StatedFloat:
        made = super().__new__(cls, text)
        made.text = text
        return made


def find(row: Any, path: str) -> Any:
    """The value at a path such as `a.b.c`, where `a.b` may be one key; None if there is none. `.` is the row."""
    if path == ".":
        return row
    if not isinstance(row, Mapping):
        return None
    if path in row:
        return row[path]
    at = path.find(".")
    while at > 0:
        below = row.get(path[:at])
        if isinstance(below, Mapping) and (found := find(below, path[at + 1 :])) is not None:
            return found
        at = path.find(".", at + 1)
    return None


def items_of(document: Any, path: str) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """The rows at a path such as `resourceSpans[].scopeSpans[].spans[]`: place, row, and the items around it by list.

    `.` is the document. Nothing is yielded where the first list is not there.
    """
    yield from _items(document, path, "", {})


def _items(value: Any, path: str, place: str, around: dict[str, Any]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    if path in (".", ""):
        yield place, value, around
        return
    step = _STEP.match(path)
    if step is None:
        if isinstance(below := find(value, path), Mapping):
            yield f"{place}{path}.", below, around
        return
    items = find(value, step[1])
    for at, item in enumerate(items if isinstance(items, list) else ()):
        yield from _items(item, path[step.end() :], f"{place}{step[1]}[{at}].", {**around, step[1]: item})


def text_of(value: Any, field: str) -> str | None:
    """A short text; None where the field is empty. Raises BadField for what is no plain value."""
    if value is None or value == "":
        return None
    if isinstance(value, StatedFloat):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str | int | float):
        raise BadField(field, f"is {_kind(value)}, not text")
    text = str(value).strip()
    if not text.isascii() and _SURROGATE.search(text):
        raise BadField(field, "is not UTF-8 text")
    return short_name(text) or None


def words_of(value: Any, field: str) -> tuple[str, ...]:
    """Several texts: a list, its JSON, or one text. An empty object is an empty list, as some tools write it."""
    if value == {}:
        return ()
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            raise BadField(field, "begins as a JSON list and is none") from None
    values: Iterable[Any] = value if isinstance(value, list) else [value]
    return tuple(text for one in values if (text := text_of(one, field)) is not None)


def number_of(value: Any, field: str) -> Decimal | None:
    """An exact number; None where the field is empty. Raises BadField for what is no number."""
    text = text_of(value, field)
    if text is None or isinstance(value, bool):
        return None
    if not _NUMBER.fullmatch(text):
        raise BadField(field, f"{text[:40]!r} is not a number")
    return exact_decimal(text)


def instant_ns(value: Any, field: str, *, unit: str, zone: str | None) -> int | None:
    """Nanoseconds since the epoch; None where the field is empty.

    A number is in `unit`; a text without an offset is on the clock of `zone`. Raises BadField for what is no
    instant, has no offset without a zone, or lies before 1970 or after 2100.
    """
    text = text_of(value, field)
    if text is None:
        return None
    ns = int(exact_decimal(text) * UNITS[unit]) if _NUMBER.fullmatch(text) else _written_ns(text, field, zone)
    if not 0 <= ns < _LATEST_NS:
        raise BadField(field, f"{text[:40]!r} is no instant between 1970 and 2100: its unit is not {unit}")
    return ns


def _written_ns(text: str, field: str, zone: str | None) -> int:
    match = _INSTANT.fullmatch(text)
    if match is None:
        raise BadField(field, f"{text[:40]!r} is not an instant such as 2026-11-30T09:00:00Z")
    day, clock, fraction, utc, offset = match.groups()
    stated = (
        "+00:00" if utc or text.endswith("UTC") else offset if offset is None or len(offset) > 3 else f"{offset}:00"
    )
    if stated is None and zone is None:
        raise BadField(field, f"{text[:40]!r} has no offset: add one, or name the clock by zone in --map")
    try:
        at = datetime.fromisoformat(f"{day}T{clock}{stated or ''}")
        at = at if stated is not None else at.replace(tzinfo=ZoneInfo(zone or "UTC"))
        seconds = (at - _EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        raise BadField(field, f"{text[:40]!r} is not an instant of the calendar") from None
    return seconds * 10**9 + int((fraction or "").ljust(9, "0")[:9])


_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else "an object"
