"""How far the clock of a question is off UTC, and since when, for engines that name periods in SQL.

It is worked out here and becomes part of the SQL: names of zones, and what is known of them, differ between servers
and machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from tokenmeter.ledger.report.periods import Zone

__all__ = ["by_change", "iso_offset", "offsets"]

_QUARTER: Final = timedelta(minutes=15)
_DAY: Final = timedelta(days=1)


def offsets(zone: Zone, first: datetime, last: datetime) -> Iterator[tuple[datetime, timedelta]]:
    """How far a clock is off UTC: each instant from which another offset holds, the first one before `first`."""

    def off(at: datetime) -> timedelta:
        return zone.local(at).utcoffset() or timedelta()

    at = first.replace(minute=0, second=0, microsecond=0)
    yield at, off(at)
    while at <= last:
        then = at + _DAY
        if off(then) != off(at):
            low, high = 0, _DAY // _QUARTER  # every clock changes at a quarter of an hour
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if off(at + middle * _QUARTER) != off(at) else (middle, high)
            yield at + high * _QUARTER, off(then)
        at = then


def by_change(
    changes: list[tuple[datetime, timedelta]], shown: Callable[[timedelta], str], before: Callable[[datetime], str]
) -> str:
    """SQL for what holds at the instant of a call, of what is `shown` of an offset; `before` is true before one."""
    whens = [f"WHEN {before(until)} THEN {shown(offset)}" for (_, offset), (until, _) in pairwise(changes)]
    last = shown(changes[-1][1])
    return f"CASE {' '.join(whens)} ELSE {last} END" if whens else last


def iso_offset(offset: timedelta) -> str:
    """As ISO 8601 writes it: `+08:00`."""
    sign, rest = ("-", -offset) if offset < timedelta() else ("+", offset)
    minutes, seconds = divmod(int(rest.total_seconds()), 60)
    tail = f":{seconds:02d}" if seconds else ""
    return f"{sign}{minutes // 60:02d}:{minutes % 60:02d}{tail}"
