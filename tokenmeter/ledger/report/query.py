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
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.ledger.report.answer import LedgerReport, ReportRow, Tally, completed, in_order, totals_of
from tokenmeter.ledger.report.columns import KEYS, TOKENS
from tokenmeter.ledger.report.conversion import Conversion, ConvertedSum
from tokenmeter.ledger.report.dialect import Dialect
from tokenmeter.ledger.report.periods import OUTSIDE, Zone
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import (
    Snapshot,
    conditions,
    count_lost,
    known_tag,
    select,
    unpriced_reasons,
)
from tokenmeter.ledger.report.stats import measured
from tokenmeter.ledger.report.sum_sources import CHARGES, SumSource, source_of
from tokenmeter.ledger.sealed.manifest import is_sealed

if TYPE_CHECKING:
    import sqlite3

__all__ = ["KEYS", "TOKENS", "LedgerReport", "Question", "ReportRow", "Tally", "answered", "ask", "unpriced_reasons"]


def ask(ledger: str | Snapshot, question: Question) -> LedgerReport:
    """Answer a question from a ledger, as of one instant, also while it is being written.

    `ledger` is a file, a folder of sealed months or one of them, or a snapshot for several questions about one instant.
    (A fleet's database answers by itself: `ledger/fleet/reports.py`.)

    Raises ConfigurationError for an unknown key, LedgerError for a file that cannot be read.
    """
    path = ledger if isinstance(ledger, str) else ledger.path
    sealed = is_sealed(path)
    if sealed and path is ledger:
        from tokenmeter.ledger.sealed.in_duckdb import ask_duckdb

        if (answer := ask_duckdb(path, question)) is not None:
            return answer
    with select(ledger, question) as (connection, _, _):
        source = source_of(connection, question)
        whole = source_of(connection, replace(question, by=())) if source is CHARGES else None
        held = connection.execute("SELECT calls, first_us, last_us FROM whole").fetchone()
        report = answered(connection, path, question, source, held, whole)
        return replace(report, source="sealed") if sealed else report


def answered(
    connection: sqlite3.Connection, path: str, question: Question, source: SumSource, held: Sequence[Any],
    whole: SumSource | None = None,
) -> LedgerReport:  # fmt: skip
    """The answer from one source; `held` is how many calls there are in all, and the first and last end in µs.

    Totals are of `whole` where the source divides calls: a call of several components is one call there.
    """
    where, values = conditions(question, source)
    rows = _rows(connection, question, source)
    totals = totals_of(rows if whole is None else _rows(connection, replace(question, by=()), whole))
    if question.stats:
        _add_stats(connection, question, source, rows, totals)
    return LedgerReport(
        path=path,
        question=question,
        rows=in_order(rows, question),
        totals=totals,
        lost=count_lost(connection, question),
        reasons=tuple(unpriced_reasons(connection, where, values, source)),
        source=source.name,
        held=held[0],
        first=_shown(held[1], question.zone),
        last=_shown(held[2], question.zone),
    )


def _shown(us: int | None, zone: Zone) -> str | None:
    if us is None:
        return None
    try:
        return zone.local(datetime.fromtimestamp(us // 1_000_000, UTC)).isoformat()
    except (ValueError, OverflowError, OSError):  # of a clock that was wrong
        return OUTSIDE


_FAILED: Final = "end_state = 'error'"
_SINGLE: Final = "confidence = 'single-source'"


@cache
def _sums(dialect: Dialect) -> str:
    """The sums of a group, as SQL over a source."""
    total, calls_if = dialect.total, "sum(CASE WHEN {} THEN calls ELSE 0 END)".format
    return ", ".join(
        (
            "sum(calls) AS calls",
            f"{calls_if(_FAILED)} AS errors",
            "sum(calls * attempt_count) AS attempts",
            f"{total('amount', None)} AS amount",
            f"{total('vendor', 'vendor_currency = currency')} AS vendor",
            "sum(calls * vendor_gap) AS gaps",
            f"{total('amount', 'stale = 1')} AS stale",
            f"{total('amount', _SINGLE)} AS single",
            *(f"sum({name}) AS {name}, {calls_if(f'{name} IS NOT NULL')} AS {name}_known" for name in TOKENS),
        )
    )


def _rows(connection: sqlite3.Connection, question: Question, source: SumSource) -> list[ReportRow]:
    keys, key_values = _keys(connection, question.by, source)
    where, where_values = conditions(question, source)
    count = len(question.by)
    places = ", ".join(str(number + 1) for number in range(count + 2))
    selected = ", ".join([*keys, "currency", "usage_source", _sums(source.dialect)])
    # Expressions are this module's own; everything a user gave is bound.
    query = f"SELECT {selected} FROM {source.table} WHERE {where} GROUP BY {places}"  # noqa: S608
    found: dict[tuple[Any, ...], ReportRow] = {}
    for part in connection.execute(query, [*key_values, *where_values]):
        group, currency, usage_source = _group(part[:count]), part[count], part[count + 1]
        row = found.setdefault((group, currency), ReportRow(group, currency))
        row.add(usage_source, part)
    if question.conversion is not None:
        sums = _converted(connection, question, source, question.conversion)
        for key, total in sums.items():
            found[key].converted, found[key].unconverted = total.amount, total.missing
    return completed(list(found.values()))


def _group(keys: Sequence[Any]) -> tuple[str | None, ...]:
    return tuple(None if key is None else str(key) for key in keys)


def _converted(
    connection: sqlite3.Connection, question: Question, source: SumSource, conversion: Conversion
) -> dict[tuple[Any, ...], ConvertedSum]:
    """The cost of each group and currency in another one: sums by day of UTC, free calls apart."""
    keys, key_values = _keys(connection, question.by, source)
    where, where_values = conditions(question, source)
    dialect, count = source.dialect, len(question.by)
    free = dialect.compared.format(column="amount", operator="=", value="'0'")
    selected = ", ".join([*keys, "currency", dialect.utc_day, free, "sum(calls)", dialect.total("amount", None)])
    priced = f"{where} AND amount IS NOT NULL AND currency IS NOT NULL"
    places = ", ".join(str(number + 1) for number in range(count + 3))
    query = f"SELECT {selected} FROM {source.table} WHERE {priced} GROUP BY {places}"  # noqa: S608
    found: dict[tuple[Any, ...], ConvertedSum] = {}
    for part in connection.execute(query, [*key_values, *where_values]):
        currency, day, nothing, calls, amount = part[count:]
        total = found.setdefault((_group(part[:count]), currency), ConvertedSum(conversion, currency))
        total.add(Decimal(amount), day, calls, nothing=bool(nothing))
    return found


def _add_stats(
    connection: sqlite3.Connection, question: Question, source: SumSource, rows: Sequence[ReportRow],
    totals: Sequence[ReportRow],
) -> None:  # fmt: skip
    where, values = conditions(question, source)
    keys, key_values = _keys(connection, question.by, source)
    stats, dialect = question.stats, source.dialect
    by_group = measured(connection, keys, where, [*key_values, *values], stats, dialect)
    together = by_group if not keys else measured(connection, (), where, values, stats, dialect)
    for some, answers in ((rows, by_group), (totals, together)):
        for row in some:
            found = answers.get((*row.group, row.currency), {})
            row.stats = {stat.label: found.get(stat.label) for stat in question.stats}


def _keys(connection: sqlite3.Connection, by: Sequence[str], source: SumSource) -> tuple[list[str], list[str]]:
    """The SQL of each group key, and the values bound in it. Raises ConfigurationError for an unknown key."""
    expressions: list[str] = []
    values: list[str] = []
    for name in by:
        if name in source.keys:
            expressions.append(source.keys[name])
            continue
        tag = name.removeprefix("tag:")
        known_tag(connection, tag, f"--by {name}", dialect=source.dialect)
        expressions.append(source.dialect.tag)
        values.append(tag)
    return expressions, values
