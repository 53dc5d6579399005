"""Time-of-day windows: parts of the week at which a price differs, and the holiday calendars they follow.

A window is asked with an instant and answers whether it lies inside. The edges of each day are worked out once, in
the vendor's zone, so that asking again costs a bisection.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any, Final

from tokenmeter._support.data_files import read_data
from tokenmeter._support.value import Value

__all__ = [
    "DAYS",
    "INSIDE",
    "UNKNOWN",
    "Calendar",
    "Window",
    "as_date",
    "load_calendar",
    "read_days",
    "read_hours",
    "zone_of",
]

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES: Final = 24 * 60
_DAY_SECONDS: Final = 24 * 60 * 60
_DAYS_MOST: Final = 2000
OUTSIDE: Final = 0
INSIDE: Final = 1
UNKNOWN: Final = 2


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


class Calendar(Value):
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
    """The calendar of this name in `prices/calendars`."""
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


class Window:
    """A part of the week in one zone; see docs/price-format.md, rule 16."""

    __slots__ = ("_days_seen", "calendar", "days", "hours", "name", "on_holidays", "on_makeup", "zone")

    def __init__(
        self,
        name: str,
        zone: tzinfo,
        days: frozenset[int],
        hours: tuple[tuple[int, int], ...],
        calendar: Calendar | None = None,
        on_holidays: bool | None = None,
        on_makeup: bool | None = None,
    ) -> None:
        self.name, self.zone, self.days, self.hours = name, zone, days, hours
        self.calendar, self.on_holidays, self.on_makeup = calendar, on_holidays, on_makeup
        self._days_seen: dict[int, tuple[list[float], list[int]]] = {}

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

    def state(self, instant: float) -> int:
        """`OUTSIDE` or `INSIDE` at an instant (seconds since 1970, UTC), plus `UNKNOWN` beyond the calendar's days."""
        day = int(instant // _DAY_SECONDS)
        found = self._days_seen.get(day)
        if found is None:
            if len(self._days_seen) >= _DAYS_MOST:
                self._days_seen.clear()
            found = self._days_seen[day] = self._edges(day)
        edges, states = found
        return states[bisect_right(edges, instant) - 1]

    def edges(self, since: float, until: float) -> Iterator[float]:
        """The instants of some days of UTC at which the state can change, in order."""
        for day in range(int(since // _DAY_SECONDS), int(until // _DAY_SECONDS) + 1):
            yield from self._edges(day)[0]

    def _edges(self, day: int) -> tuple[list[float], list[int]]:
        """Where the state can change during one day of UTC, and the state from each of these instants on."""
        start = day * _DAY_SECONDS
        edges: set[float] = {start}
        local = datetime.fromtimestamp(start, self.zone).date()
        marks = {0, *(edge for span in self.hours for edge in span)}
        for midnight in (datetime.combine(local + timedelta(n), time()) for n in (0, 1)):
            for mark in marks:
                clock = midnight + timedelta(minutes=mark)
                # A clock time in a repeated hour of summer time comes twice.
                edges.update(clock.replace(tzinfo=self.zone, fold=fold).timestamp() for fold in (0, 1))
        if self._offset(start) != self._offset(start + _DAY_SECONDS):
            # Summer time begins or ends this day, at some quarter of an hour of UTC.
            edges.update(start + quarter * 900 for quarter in range(96))
        inside_day = sorted(edge for edge in edges if start <= edge < start + _DAY_SECONDS)
        return inside_day, [self._state(edge) for edge in inside_day]

    def _offset(self, instant: float) -> timedelta | None:
        return datetime.fromtimestamp(instant, self.zone).utcoffset()

    def _state(self, instant: float) -> int:
        local = datetime.fromtimestamp(instant, self.zone)
        day = local.date()
        minute = local.hour * 60 + local.minute
        inside = self._is_day(day) and any(first <= minute < last for first, last in self.hours)
        known = self.calendar is None or self.calendar.first <= day <= self.calendar.last
        return (INSIDE if inside else OUTSIDE) | (0 if known else UNKNOWN)
