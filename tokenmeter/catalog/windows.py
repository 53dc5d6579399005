"""Parts of the week at which a price differs, and the calendars of public holidays they follow.

A window is asked with an instant and answers whether it lies inside, together with the span of time over which that
answer stays the same, so that a lookup can be cached. Time zones are the vendor's; a boundary that falls into a
repeated or skipped hour of a zone with summer time counts at both of its instants.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any, Final

from tokenmeter.catalog.files import read_data

__all__ = ["DAYS", "Calendar", "Window", "as_date", "load_calendar", "read_days", "read_hours", "zone_of"]

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES: Final = 24 * 60


@functools.cache
def zone_of(name: str) -> tzinfo:
    """The IANA zone of this name. Raises ValueError if this machine has none."""
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone this machine knows (is the tzdata package missing?)") from None


def as_date(value: date | str) -> date:
    """A day as TOML or compiled JSON holds it."""
    if isinstance(value, str):
        return date.fromisoformat(value)
    return value.date() if isinstance(value, datetime) else value


@dataclass(frozen=True, slots=True)
class Calendar:
    """Public holidays and make-up working days, known from `first` to `last`."""

    name: str
    first: date
    last: date
    holidays: frozenset[date]
    makeup: frozenset[date]

    @classmethod
    def read(cls, name: str, data: Mapping[str, Any]) -> Calendar:
        holidays: set[date] = set()
        makeup: set[date] = set()
        for entry in data["holiday"]:
            first, last = map(as_date, entry["days"])
            holidays.update(first + timedelta(n) for n in range((last - first).days + 1))
            makeup.update(map(as_date, entry.get("makeup", ())))
        return cls(name, as_date(data["first"]), as_date(data["last"]), frozenset(holidays), frozenset(makeup))


@functools.cache
def load_calendar(name: str) -> Calendar:
    """The calendar of this name in `catalog/calendars`."""
    return Calendar.read(name, read_data(f"calendars/{name}"))


def read_days(text: str | Sequence[str]) -> frozenset[int]:
    """Weekdays of `"mon-fri"`, `"sat"`, `"all"` or a list of them; Monday is 0. Raises ValueError."""
    if not isinstance(text, str):
        return frozenset().union(*map(read_days, text))
    word = text.strip().lower()
    if word == "all":
        return frozenset(range(7))
    ends = [part.strip() for part in word.split("-")]
    if len(ends) > 2 or any(end not in DAYS for end in ends):
        raise ValueError(f'{text!r} is not a span of days such as "mon-fri" (days are {", ".join(DAYS)}, or "all")')
    first, last = DAYS.index(ends[0]), DAYS.index(ends[-1])
    return frozenset((first + n) % 7 for n in range((last - first) % 7 + 1))


def read_hours(spans: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Half-open minutes of the day of `["09:00-12:00", "22:00-08:00"]`. Raises ValueError."""
    answer = []
    for span in spans:
        try:
            ends = [0 if end == "24:00" else _minutes(time.fromisoformat(end)) for end in span.split("-")]
            first, last = ends
        except (ValueError, AttributeError):
            raise ValueError(f'{span!r} is not a span of hours such as "09:00-12:00"') from None
        last = last or _DAY_MINUTES
        answer.extend([(first, last)] if first < last else [(first, _DAY_MINUTES), (0, last)])
    return tuple(answer)


def _minutes(clock: time) -> int:
    if clock.second or clock.microsecond or clock.tzinfo:
        raise ValueError("hours are whole minutes")
    return clock.hour * 60 + clock.minute


@dataclass(frozen=True, slots=True)
class Window:
    """A part of the week in one zone; see docs/price-format.md, rule 16."""

    name: str
    zone: tzinfo
    days: frozenset[int]
    hours: tuple[tuple[int, int], ...]
    calendar: Calendar | None = None
    on_holidays: bool | None = None
    on_makeup: bool | None = None

    @classmethod
    def read(cls, name: str, data: Mapping[str, Any], default_zone: str) -> Window:
        """From a `[windows.NAME]` table that `check` has found sound."""
        calendar = data.get("calendar")
        side = {"in": True, "out": False}
        return cls(
            name,
            zone_of(data.get("zone", default_zone)),
            read_days(data.get("days", "all")),
            read_hours(data.get("hours", ["00:00-24:00"])),
            None if calendar is None else load_calendar(calendar),
            side.get(data.get("holidays", "")),
            side.get(data.get("makeup", "")),
        )

    def _is_day(self, day: date) -> bool:
        if self.calendar is not None:
            if self.on_holidays is not None and day in self.calendar.holidays:
                return self.on_holidays
            if self.on_makeup is not None and day in self.calendar.makeup:
                return self.on_makeup
        return day.weekday() in self.days

    def state(self, instant: float) -> tuple[bool, float, float, bool]:
        """Whether the instant (seconds since 1970, UTC) lies inside; from when to when that holds; whether the
        calendar knows the day."""
        local = datetime.fromtimestamp(instant, self.zone)
        day = local.date()
        minute = local.hour * 60 + local.minute
        inside = self._is_day(day) and any(first <= minute < last for first, last in self.hours)
        known = self.calendar is None or self.calendar.first <= day <= self.calendar.last
        marks = sorted({0, _DAY_MINUTES, *(edge for span in self.hours for edge in span)})
        midnight = datetime.combine(day, time())
        edges = [
            (midnight + timedelta(minutes=mark)).replace(tzinfo=self.zone, fold=fold).timestamp()
            for mark in marks
            for fold in (0, 1)
        ]
        since = max((edge for edge in edges if edge <= instant), default=instant)
        until = min((edge for edge in edges if edge > instant), default=instant + 60)
        return inside, since, until, known
