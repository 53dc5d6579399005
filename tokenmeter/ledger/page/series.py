"""Spend over time by a key: rows of a report by period and group, summed by the report's own code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Final

from tokenmeter.ledger.page.groups import MOST_SHOWN, Group, leading, narrowed
from tokenmeter.ledger.report.answer import ReportRow, totals_of
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import ask
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import Snapshot, select

__all__ = ["OTHERS", "PagePeriods", "Series", "series", "timeline"]

OTHERS: Final[Group] = ()
"""The group of all that a chart does not tell apart."""
_HOUR_US: Final = 3_600_000_000
_STEPS: Final = (("hour", 72, 0.25), ("day", 100 * 24, 1), ("week", 700 * 24, 6), ("month", 120 * 31 * 24, 6))
"""A period, the hours for which it is used at most, and the hours in which its names are looked for."""


@dataclass(frozen=True)
class PagePeriods:
    """The periods that a page draws, in order: all between the first call and the last."""

    period: str
    buckets: tuple[str, ...]
    first: datetime
    last: datetime


def timeline(snapshot: Snapshot, question: Question) -> PagePeriods | None:
    """The periods between the first call and the last; None where no call matches."""
    with select(snapshot, question) as (connection, where, values):
        query = f"SELECT min(ended_us), max(ended_us) FROM calls WHERE {where}"  # noqa: S608
        first, last = connection.execute(query, values).fetchone()
        if first is None:
            return None
        start, end = (_instant(at, question.zone) for at in (first, last))
        hours = (last - first) / _HOUR_US
        for period, most, step in _STEPS:
            if hours <= most:
                names = question.zone.buckets(period)
                count = int(hours / step) + 1
                at = (first + int(number * step * _HOUR_US) for number in range(count))
                found = dict.fromkeys([*map(names, at), names(last)])
                return PagePeriods(period, tuple(found), start, end)
        # A clock that jumped decades: only the months in which there are calls.
        months = f"SELECT month_of(ended_us), min(ended_us) FROM calls WHERE {where} GROUP BY 1 ORDER BY 2"  # noqa: S608
        return PagePeriods("month", tuple(row[0] for row in connection.execute(months, values)), start, end)


def _instant(us: int, zone: Zone) -> datetime:
    return zone.local(datetime.fromtimestamp(us // 1_000_000, UTC))


@dataclass(frozen=True)
class Series:
    """The rows of a report by period and `keys`. `groups` counts the groups of the whole period."""

    keys: tuple[str, ...]
    timeline: PagePeriods
    rows: tuple[ReportRow, ...]
    groups: int

    @cached_property
    def currencies(self) -> tuple[str, ...]:
        return tuple(sorted({row.currency for row in self.rows if row.currency is not None}))

    @cached_property
    def sums(self) -> dict[tuple[str | None, Group], ReportRow]:
        """The sum of each group over all periods."""
        return _summed(self.rows, lambda row: row.group[1:])

    def shown(self, currency: str) -> list[Group]:
        """The groups that are told apart in a currency, the dearest first."""
        found = [(row.cost or Decimal(0), group) for (one, group), row in self.sums.items() if one == currency]
        named = [one for one in found if one[1] != OTHERS]
        named.sort(key=lambda one: (-one[0], [value or "" for value in one[1]]))
        return [group for _, group in named[:MOST_SHOWN]]

    def table(self, currency: str) -> dict[tuple[str, Group], ReportRow]:
        """The sums by period and shown group of a currency; others are `OTHERS`."""
        shown = set(self.shown(currency))
        rows = [row for row in self.rows if row.currency == currency]
        keyed = [replace(row, group=(row.group[0], *(row.group[1:] if row.group[1:] in shown else ()))) for row in rows]
        found = _summed(keyed, lambda row: row.group)
        return {(str(group[0]), group[1:]): row for (_, group), row in found.items()}

    def others(self, currency: str) -> ReportRow | None:
        """The sum of all that is not shown in a currency."""
        shown = set(self.shown(currency))
        rest = [row for row in self.rows if row.currency == currency and row.group[1:] not in shown]
        return totals_of(rest)[0] if rest else None

    def total(self, currency: str) -> ReportRow:
        """The sum of a currency over all periods."""
        return totals_of([row for row in self.rows if row.currency == currency])[0]

    def totals(self, currency: str) -> dict[str, ReportRow]:
        """The sum of each period in a currency."""
        rows = [row for row in self.rows if row.currency == currency]
        return {str(group[0]): row for (_, group), row in _summed(rows, lambda row: row.group[:1]).items()}


def _summed(rows: Iterable[ReportRow], key: Callable[[ReportRow], Group]) -> dict[tuple[str | None, Group], ReportRow]:
    parts: dict[tuple[str | None, Group], list[ReportRow]] = defaultdict(list)
    for row in rows:
        parts[row.currency, key(row)].append(row)
    return {name: totals_of(some)[0] for name, some in parts.items()}


def series(snapshot: Snapshot, question: Question, keys: Sequence[str], line: PagePeriods) -> Series:
    """Ask a snapshot for spend over time by `keys`."""
    found = leading(snapshot, question, keys)
    by = replace(question, by=(line.period, *keys), stats=())
    if found.all_:
        return Series(tuple(keys), line, ask(snapshot, by).rows, found.count)
    rows = ask(snapshot, narrowed(by, keys, found.groups)).rows
    rest = ask(snapshot, narrowed(replace(by, by=(line.period,)), keys, found.groups, others=True)).rows
    return Series(tuple(keys), line, (*rows, *rest), found.count)
