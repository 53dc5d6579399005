"""Instants, periods and the time zone of a report.

A day of spending is a day in a time zone: the zone is the machine's unless another is asked for, and every
report names it. Buckets are asked for millions of times with few different answers, so they are kept per quarter
of an hour, the finest step at which any zone's clock differs from UTC.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Final

from tokenmeter.errors import ConfigurationError

__all__ = ["OUTSIDE", "PERIODS", "Zone", "parse_instant"]

OUTSIDE: Final = "outside the calendar"
"""The period of an instant that a wrong clock gave, before the year 1 or after 9999."""
_QUARTER_US: Final = 15 * 60 * 1_000_000
_AGO: Final = re.compile(r"([0-9]{1,6})\s*([mhdw])")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_MONTH: Final = re.compile(r"[0-9]{4}-[0-9]{2}")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _week(at: datetime) -> str:
    year, week, _ = at.isocalendar()
    return f"{year}-W{week:02d}"


PERIODS: Final[dict[str, Callable[[datetime], str]]] = {
    # With the offset, so that the hour a clock repeats in autumn stays two hours.
    "hour": lambda at: at.replace(minute=0, second=0, microsecond=0).isoformat(timespec="minutes"),
    "day": lambda at: f"{at:%Y-%m-%d}",
    "week": _week,
    "month": lambda at: f"{at:%Y-%m}",
}
"""How the name of a period is read off a clock: ISO 8601 dates and weeks, hours with their offset."""


@dataclass(frozen=True)
class Zone:
    """A clock on the wall: `rules` is None for the machine's own."""

    name: str
    rules: tzinfo | None

    @classmethod
    def named(cls, name: str | None) -> Zone:
        """The zone of an IANA name, or the machine's own for None. Raises ConfigurationError for an unknown name."""
        if name is None:
            return cls(_local_name(), None)
        if name.upper() == "UTC":
            return cls("UTC", UTC)
        from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

        try:
            return cls(name, ZoneInfo(name))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ConfigurationError(
                f"--tz: {name!r} is not a time zone known here; use a name such as Asia/Shanghai or UTC "
                "(where the system has none: pip install tzdata)"
            ) from None

    def local(self, at: datetime) -> datetime:
        """An instant on this clock."""
        return at.astimezone(self.rules)

    def midnight(self, year: int, month: int, day: int) -> datetime:
        """The beginning of a day on this clock."""
        if self.rules is None:
            return datetime(year, month, day).astimezone()  # naive means the machine's clock
        return datetime(year, month, day, tzinfo=self.rules)

    def buckets(self, period: str) -> Callable[[int], str]:
        """The name of the period that holds an instant given in microseconds since the epoch."""
        name = PERIODS[period]

        @cache
        def quarter(number: int) -> str:
            try:
                return name(self.local(datetime.fromtimestamp(number * 900, UTC)))
            except (ValueError, OverflowError, OSError):
                return OUTSIDE

        return lambda us: quarter(us // _QUARTER_US)


def _local_name() -> str:
    """The machine's zone by its IANA name if it says so, else by its offset now."""
    import os

    named = os.environ.get("TZ", "").lstrip(":")
    if named and "/" in named and not named.startswith("/"):
        return named
    _, found, name = os.path.realpath("/etc/localtime").partition("zoneinfo/")
    if not named and found:
        return "UTC" if name in ("Etc/UTC", "UTC") else name
    return f"UTC{datetime.now(UTC).astimezone().isoformat()[-6:]}"


def parse_instant(text: str, zone: Zone, now: datetime, *, flag: str) -> datetime:
    """Read `7d` (ago), `2026-11`, `2026-11-01` (00:00 on the report's clock) or RFC 3339 with an offset.

    Raises ConfigurationError naming the flag and these forms.
    """
    text = text.strip()
    try:
        if ago := _AGO.fullmatch(text):
            return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        if _MONTH.fullmatch(text):
            return zone.midnight(int(text[:4]), int(text[5:]), 1)
        if _DATE.fullmatch(text):
            return zone.midnight(int(text[:4]), int(text[5:7]), int(text[8:]))
        at = datetime.fromisoformat(text)
        if at.tzinfo is not None:
            return at
        problem = "has no offset: write it with Z or +08:00"
    except (ValueError, OverflowError):
        problem = "is not a time: write 7d, 24h, 2026-11, 2026-11-01 or 2026-11-01T08:00:00+08:00"
    raise ConfigurationError(f"{flag}: {text!r} {problem}")
