"""What `tokenmeter top` shows: spend of the last minute, hour and day, asked of one snapshot of the ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from tokenmeter.budgets.limits import BudgetLimit
from tokenmeter.ledger.page.budget_windows import BudgetUse, budget_uses
from tokenmeter.ledger.page.groups import check_keys, leading, narrowed, tags_of
from tokenmeter.ledger.report.answer import LedgerReport, ReportRow
from tokenmeter.ledger.report.query import ask
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import Snapshot, snapshot

__all__ = ["MODEL", "WINDOWS", "Ranking", "TopFigures", "look"]

MODEL: Final = ("provider", "model")
WINDOWS: Final = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "24 hours": timedelta(hours=24)}
_MONTH: Final = timedelta(days=32)
_FEW: Final = 40


@dataclass(frozen=True)
class Ranking:
    """Spend by some keys: the rows of 24 hours, the dearest of each currency first, and the costs of the last hour."""

    key: str
    rows: tuple[ReportRow, ...]
    hour: Mapping[tuple[tuple[str | None, ...], str | None], ReportRow]


@dataclass(frozen=True, kw_only=True)
class TopFigures:
    """One look: `windows` are totals by window, `hours` the costs of the last 24 hours by currency, oldest first."""

    path: str
    at: datetime
    last: str | None
    windows: Mapping[str, tuple[ReportRow, ...]]
    hours: Mapping[str, Sequence[Decimal]]
    rankings: Sequence[Ranking]
    reasons: Sequence[tuple[str | None, int]]
    budgets: Sequence[BudgetUse]
    lost: int


def look(
    path: str, question: Question, keys: Sequence[str] | None, limits: Mapping[str, BudgetLimit], now: datetime
) -> TopFigures:
    """Ask the ledger. `keys` are ranked each by itself; None stands for the model and the most used tag of few values.

    Raises ConfigurationError for an unknown key, LedgerError for a file that cannot be read.
    """
    with snapshot(path, now - _MONTH) as held:

        def since(name: str, by: tuple[str, ...]) -> LedgerReport:
            return ask(held, replace(question, by=by, since=now - WINDOWS[name]))

        day = replace(question, by=(), since=now - WINDOWS["24 hours"])
        check_keys(held, day, keys or ())
        if keys is None:
            few = [f"tag:{tag.name}" for tag in tags_of(held, day) if 1 < tag.values <= _FEW]
            ranked = [MODEL, *((key,) for key in few[:1])]
        else:
            ranked = [MODEL if key == "model" else (key,) for key in keys]
        hourly = since("24 hours", ("hour",))
        rankings = [_ranking(held, day, by, now) for by in ranked]
        return TopFigures(
            path=held.path,
            at=question.zone.local(now),
            last=hourly.last,
            windows={name: since(name, ()).totals for name in WINDOWS},
            hours=_hours(hourly, now),
            rankings=rankings,
            reasons=hourly.reasons,
            budgets=budget_uses(held, replace(question, by=(), since=now - _MONTH), limits),
            lost=hourly.lost,
        )


def _ranking(held: Snapshot, day: Question, by: tuple[str, ...], now: datetime) -> Ranking:
    """The groups of 24 hours, or of a key with very many values the dearest."""
    found = leading(held, day, by)
    asked = replace(day if found.all_ else narrowed(day, by, found.groups), by=by)
    hour = ask(held, replace(asked, since=now - WINDOWS["hour"])).rows
    name = by[-1].removeprefix("tag:")
    return Ranking(name, ask(held, asked).rows, {(row.group, row.currency): row for row in hour})


def _hours(report: LedgerReport, now: datetime) -> dict[str, list[Decimal]]:
    """The costs of 24 hours by currency; hours without calls are 0."""
    name = report.question.zone.buckets("hour")
    us = int(now.timestamp()) * 1_000_000
    names = list(dict.fromkeys(name(us - quarter * 900_000_000) for quarter in range(95, -1, -1)))[-24:]
    found = {row.currency: [Decimal(0)] * len(names) for row in report.rows if row.currency is not None}
    for row in report.rows:
        if row.currency is not None and row.group[0] in names and row.cost is not None:
            found[row.currency][names.index(str(row.group[0]))] = row.cost
    return found
