"""Compares a report with an earlier period: each group's row gets the earlier row, each currency the causes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import partial
from typing import Any, Final

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.causes import Comparison, Spent, decompose
from tokenmeter.ledger.report.periods import PERIODS, Zone, parse_instant
from tokenmeter.ledger.report.query import LedgerReport, Question, ReportRow, ask
from tokenmeter.ledger.report.selection import Snapshot, select
from tokenmeter.ledger.report.sum_sources import COMPONENT

__all__ = ["beside", "compare", "earlier", "spent_of"]

_MONTH: Final = re.compile(r"[0-9]{4}-[0-9]{2}")


def earlier(text: str, question: Question, now: datetime) -> tuple[datetime, datetime]:
    """The period of `--compare`: `previous`, `2026-10` or `TIME..TIME`. Raises ConfigurationError.

    `previous` is the period of the same length before `--since`; of whole months, as many months.
    """
    zone = question.zone
    if text == "previous":
        if question.since is None:
            raise ConfigurationError("--compare previous: say with --since which period it comes before")
        return _before(question.since, question.until or now, zone)
    if _MONTH.fullmatch(text):
        since = parse_instant(text, zone, now, flag="--compare")
        local = zone.local(since) + timedelta(days=32)
        return since, zone.midnight(local.year, local.month, 1)
    first, dots, last = text.partition("..")
    if not dots:
        raise ConfigurationError(f"--compare: {text!r} is not previous, a month (2026-10) or TIME..TIME")
    since, until = (parse_instant(part, zone, now, flag="--compare") for part in (first, last))
    if since >= until:
        raise ConfigurationError(f"--compare: {last} is not after {first}")
    return since, until


def _before(since: datetime, until: datetime, zone: Zone) -> tuple[datetime, datetime]:
    first, last = zone.local(since), zone.local(until)
    months = (last.year - first.year) * 12 + last.month - first.month
    if months and all(at == zone.midnight(at.year, at.month, 1) for at in (first, last)):
        year, month = divmod(first.year * 12 + first.month - 1 - months, 12)
        return zone.midnight(year, month + 1, 1), since
    return since - (until - since), since


def compare(report: LedgerReport, since: datetime, until: datetime, ledger: Snapshot | None = None) -> LedgerReport:
    """The report beside the earlier period, with the groups that only that one has.

    `ledger` is the snapshot that the report is of, where it is of one. Raises ConfigurationError where the groups are
    periods, LedgerError for a file that cannot be read.
    """
    of = ledger or report.path
    return beside(report, since, until, partial(ask, of), partial(_spent, of))


def beside(
    report: LedgerReport, since: datetime, until: datetime, asked: Callable[[Question], LedgerReport],
    spent: Callable[[Question], dict[str, Spent]],
) -> LedgerReport:  # fmt: skip
    """The same of a ledger of any kind: `asked` answers a question, `spent` gives the charges of each currency."""
    question = report.question
    if COMPONENT in question.by:
        raise ConfigurationError(f"--compare: it is of calls, which {COMPONENT} divides; leave it out of --by")
    if periods := [key for key in question.by if key in PERIODS]:
        raise ConfigurationError(f"--compare: a group by {periods[0]} has no earlier period; leave it out of --by")
    then = replace(question, since=since, until=until)
    old = asked(then)
    before = {(row.group, row.currency): row for row in old.rows}
    totals = {row.currency: row for row in old.totals}
    here = {(row.group, row.currency) for row in report.rows}
    rows = [*report.rows, *(_gone(row) for key, row in before.items() if key not in here)]
    here_in_total = {row.currency for row in report.totals}
    all_totals = [*report.totals, *(_gone(row) for key, row in totals.items() if key not in here_in_total)]
    for row in rows:
        row.previous = before.get((row.group, row.currency))
    for row in all_totals:
        row.previous = totals.get(row.currency)
    causes = tuple(decompose(spent(then), spent(question)))
    return replace(report, rows=tuple(rows), totals=tuple(all_totals), comparison=Comparison(since, until, causes))


def _gone(row: ReportRow) -> ReportRow:
    """A group without calls in the later period: it cost nothing then."""
    shares = dict.fromkeys(row.shares, Decimal(0))
    return ReportRow(row.group, row.currency, None if row.currency is None else Decimal(0), shares=shares)


def _spent(ledger: str | Snapshot, question: Question) -> dict[str, Spent]:
    with select(ledger, question) as (connection, where, values):
        total = f"SELECT currency, exact_sum(amount), count(*) FROM calls WHERE {where} AND amount NOT NULL GROUP BY 1"  # noqa: S608
        charge = "json_extract(charge.value, '$.{}')".format
        skus = (
            f"SELECT currency, coalesce(provider, ''), coalesce(model, ''), {charge('component')}, "  # noqa: S608
            f"exact_sum({charge('quantity')}), exact_sum({charge('amount')}) "
            f"FROM calls, json_each(calls.charges) AS charge WHERE {where} AND amount NOT NULL GROUP BY 1, 2, 3, 4"
        )
        return spent_of(connection.execute(total, values), connection.execute(skus, values))


def spent_of(totals: Iterable[Sequence[Any]], skus: Iterable[Sequence[Any]]) -> dict[str, Spent]:
    """What was spent in each currency, of its total and calls, and of quantity and amount by what was charged."""
    found: dict[str, Spent] = defaultdict(Spent)
    for currency, amount, calls in totals:
        found[currency] = Spent(Decimal(amount), calls)
    for currency, provider, model, component, quantity, amount in skus:
        found[currency].skus[provider, model, component] = Fraction(quantity), Fraction(amount)
    return found
