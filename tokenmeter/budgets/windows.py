"""Windows: the span of time over which a budget's limit holds, and which one an instant belongs to.

A calendar window (hour, day, week from Monday, month) begins and ends by the clock of the budget's zone, so a day has
23 or 25 hours where the clock is changed. A rolling window is counted in 60 buckets of equal length and looks back one
bucket more than it has to, so it errs to the strict side by at most one bucket. `total` and `scope` never end.

A series of windows computes a window once and returns it until it ends: zone arithmetic costs 50 µs.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, NamedTuple, Protocol

__all__ = [
    "BUCKETS",
    "CALENDAR",
    "ENDLESS",
    "BudgetWindow",
    "CalendarWindows",
    "EndlessWindow",
    "RollingWindows",
    "Windows",
]

BUCKETS: Final = 60
CALENDAR: Final = ("hour", "day", "week", "month")
ENDLESS: Final = ("total", "scope")
_NEVER: Final = 1 << 62


class BudgetWindow(NamedTuple):
    """One window. Instants are milliseconds since the epoch; the window holds for `start <= now < end`.

    Spend is counted by `bucket`; the window's spend is that of its last `span` buckets. What is counted in this bucket
    is part of a window until `until`. `label` names the window for people and in records.
    """

    bucket: int
    span: int
    start: int
    end: int
    until: int
    label: str


class Windows(Protocol):
    """The windows of one budget, one after another."""

    def at(self, now: int) -> BudgetWindow:
        """The window that an instant belongs to."""

    def resets(self, window: BudgetWindow, oldest: int | None) -> int | None:
        """When spend leaves the window, in ms; None where it never does. `oldest`: its first bucket with spend."""


class EndlessWindow:
    """The one window of `total` and `scope`."""

    def __init__(self, label: str) -> None:
        self._window = BudgetWindow(0, 1, 0, _NEVER, _NEVER, label)

    def at(self, now: int) -> BudgetWindow:
        return self._window

    def resets(self, window: BudgetWindow, oldest: int | None) -> int | None:
        return None


class RollingWindows:
    """The last `length` up to now."""

    def __init__(self, length: timedelta) -> None:
        self._width = max(1, round(length.total_seconds() * 1000) // BUCKETS)
        self._label = f"last {length}"
        self._latest = BudgetWindow(0, 1, 0, 0, 0, "")

    def at(self, now: int) -> BudgetWindow:
        latest = self._latest
        if latest.start <= now < latest.end:
            return latest
        bucket = now // self._width
        start, end = bucket * self._width, (bucket + 1) * self._width
        latest = BudgetWindow(bucket, BUCKETS + 1, start, end, end + BUCKETS * self._width, self._label)
        self._latest = latest
        return latest

    def resets(self, window: BudgetWindow, oldest: int | None) -> int | None:
        return ((window.bucket if oldest is None else oldest) + window.span) * self._width


class CalendarWindows:
    """Hours, days, weeks or months of one zone."""

    def __init__(self, per: str, zone: tzinfo) -> None:
        self._begin, self._next, self._form = _KINDS[per]
        self._zone = zone
        self._latest = BudgetWindow(0, 1, 0, 0, 0, "")

    def at(self, now: int) -> BudgetWindow:
        latest = self._latest
        if latest.start <= now < latest.end:
            return latest
        begin = self._begin(datetime.fromtimestamp(now / 1000, self._zone))
        while True:
            after = self._next(begin)
            start, end = _ms(begin), _ms(after)
            # Where the clock is set back across midnight, the date before comes again for an hour: its window is over.
            if now < end:
                break
            begin = after
        self._latest = BudgetWindow(start, 1, start, end, end, begin.strftime(self._form))
        return self._latest

    def resets(self, window: BudgetWindow, oldest: int | None) -> int | None:
        return window.end


def _ms(wall: datetime) -> int:
    return round(wall.timestamp() * 1000)


def _hour(now: datetime) -> datetime:
    # In UTC, since an hour of the wall clock that comes twice is two windows.
    whole = now.astimezone(UTC) - timedelta(minutes=now.minute, seconds=now.second, microseconds=now.microsecond)
    return whole.astimezone(now.tzinfo)


def _next_hour(begin: datetime) -> datetime:
    return (begin.astimezone(UTC) + timedelta(hours=1)).astimezone(begin.tzinfo)


def _day(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)


def _month(now: datetime) -> datetime:
    return _day(now).replace(day=1)


_Step = Callable[[datetime], datetime]
# Adding to a datetime with a zone moves its wall clock, which is what days and weeks are.
_KINDS: Final[dict[str, tuple[_Step, _Step, str]]] = {
    "hour": (_hour, _next_hour, "%Y-%m-%dT%H%z"),
    "day": (_day, lambda begin: begin + timedelta(days=1), "%Y-%m-%d"),
    "week": (lambda now: _day(now) - timedelta(days=now.weekday()), lambda begin: begin + timedelta(days=7), "%G-W%V"),
    "month": (_month, lambda begin: (begin + timedelta(days=32)).replace(day=1), "%Y-%m"),
}
