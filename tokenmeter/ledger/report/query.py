"""Sums over a ledger: a question by names, tags and periods becomes SQL, its answer rows.

Money is summed exactly, by an aggregate of our own over the exact text, never by SQLite's floating point. A row is
one group in one currency; the calls of a group whose cost is not known are a row of their own, with no currency
and no cost, and the group's other rows say that they are not complete. Delegated calls carry nothing themselves
and are left out. A call belongs to the period in which it ended.

Where the question names a currency and the user's own rates, each sum stands beside itself in that currency
(`ledger/report/conversion.py`); the original stays what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tokenmeter.cost import STALE
from tokenmeter.ledger.report.answer import LedgerReport, ReportRow, Tally, completed, in_order, totals_of
from tokenmeter.ledger.report.columns import KEYS, TAG, TOKENS
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.selection import Question, conditions, count_lost, known_tag, select, unpriced_reasons
from tokenmeter.ledger.report.stats import measured
from tokenmeter.record import VENDOR_GAP

if TYPE_CHECKING:
    import sqlite3

__all__ = ["KEYS", "TOKENS", "LedgerReport", "Question", "ReportRow", "Tally", "ask", "unpriced_reasons"]


def ask(path: str, question: Question) -> LedgerReport:
    """Answer a question from a ledger, as of one instant, also while it is being written.

    Raises ConfigurationError for an unknown key, LedgerError for a file that cannot be read.
    """
    with select(path, question) as (connection, where, values):
        rows = _rows(connection, question)
        totals = totals_of(rows)
        if question.stats:
            _add_stats(connection, question, rows, totals)
        held = connection.execute("SELECT count(*), min(ended_us), max(ended_us) FROM calls").fetchone()
        return LedgerReport(
            path=path,
            question=question,
            rows=in_order(rows, question),
            totals=totals,
            lost=count_lost(connection, question),
            reasons=tuple(unpriced_reasons(connection, where, values)),
            held=held[0],
            first=_shown(held[1], question.zone),
            last=_shown(held[2], question.zone),
        )


def _shown(us: int | None, zone: Zone) -> str | None:
    return None if us is None else zone.local(datetime.fromtimestamp(us // 1_000_000, UTC)).isoformat()


def _sums(connection: sqlite3.Connection) -> str:
    """The sums of a group, as SQL. A ledger that an older version wrote may lack a component's column: unknown."""
    columns = {row[1] for row in connection.execute("PRAGMA table_info(calls)")}
    return ", ".join(
        (
            "count(*) AS calls",
            "sum(end_state = 'error') AS errors",
            "sum(attempt_count) AS attempts",
            "exact_sum(amount) AS amount",
            "exact_sum(CASE WHEN vendor_currency = currency THEN vendor_amount END) AS vendor",
            f"sum(coalesce(instr(cost_flags, '{VENDOR_GAP}') > 0, 0)) AS gaps",
            f"exact_sum(CASE WHEN instr(cost_flags, '\"{STALE}\"') > 0 THEN amount END) AS stale",
            "exact_sum(CASE WHEN confidence = 'single-source' THEN amount END) AS single",
            *(
                f"sum({name}) AS {name}, count({name}) AS {name}_known"
                if name in columns
                else f"NULL AS {name}, 0 AS {name}_known"
                for name in TOKENS
            ),
        )
    )


def _rows(connection: sqlite3.Connection, question: Question) -> list[ReportRow]:
    keys, key_values = _keys(connection, question.by)
    where, where_values = conditions(question)
    count = len(question.by)
    places = ", ".join(str(number + 1) for number in range(count + 2))
    converted = "NULL" if question.conversion is None else "converted_sum(amount, currency, ended_us)"
    selected = ", ".join([*keys, "currency", "usage_source", _sums(connection), f"{converted} AS converted"])
    # Expressions are this module's own; everything a user gave is bound.
    query = f"SELECT {selected} FROM calls WHERE {where} GROUP BY {places}"  # noqa: S608
    found: dict[tuple[Any, ...], ReportRow] = {}
    for part in connection.execute(query, [*key_values, *where_values]):
        group = tuple(None if key is None else str(key) for key in part[:count])
        currency, source = part[count], part[count + 1]
        row = found.setdefault((group, currency), ReportRow(group, currency))
        row.add(source, part)
    return completed(list(found.values()))


def _add_stats(
    connection: sqlite3.Connection, question: Question, rows: Sequence[ReportRow], totals: Sequence[ReportRow]
) -> None:
    where, values = conditions(question)
    keys, key_values = _keys(connection, question.by)
    by_group = measured(connection, keys, where, [*key_values, *values], question.stats)
    together = by_group if not keys else measured(connection, (), where, values, question.stats)
    for some, stats in ((rows, by_group), (totals, together)):
        for row in some:
            found = stats.get((*row.group, row.currency), {})
            row.stats = {stat.label: found.get(stat.label) for stat in question.stats}


def _keys(connection: sqlite3.Connection, by: Sequence[str]) -> tuple[list[str], list[str]]:
    """The SQL of each group key, and the values bound in it. Raises ConfigurationError for an unknown key."""
    expressions: list[str] = []
    values: list[str] = []
    for name in by:
        if name in KEYS:
            expressions.append(KEYS[name])
            continue
        tag = name.removeprefix("tag:")
        known_tag(connection, tag, f"--by {name}")
        expressions.append(TAG)
        values.append(tag)
    return expressions, values
