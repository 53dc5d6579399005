"""Answers a report's question from the database of a fleet: the query of a file, in another dialect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, cast

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.fleet.database import shown
from tokenmeter.ledger.fleet.engines import engine_of
from tokenmeter.ledger.report import query
from tokenmeter.ledger.report.causes import Spent
from tokenmeter.ledger.report.columns import NUMBERS
from tokenmeter.ledger.report.compare import beside, spent_of
from tokenmeter.ledger.report.dialect import Dialect
from tokenmeter.ledger.report.query import LedgerReport, Question, answered
from tokenmeter.ledger.report.selection import conditions, known_tag, snapshot
from tokenmeter.ledger.report.sum_sources import COMPONENT, SumSource, is_of_days, microseconds
from tokenmeter.ledger.report.where import parse

if TYPE_CHECKING:
    import sqlite3

    from tokenmeter.ledger.fleet.engine import Connection, Engine

__all__ = ["ask", "compare"]

_HELD = "SELECT coalesce(sum(calls), 0), min(first_at), max(last_at) FROM days WHERE calls > 0"


def ask(url: str, question: Question) -> LedgerReport:
    """Answer a question from a fleet's database, as of one instant.

    Raises ConfigurationError for an unknown key, FleetError where the database cannot be read.
    """
    if any(stat.measure not in NUMBERS for stat in question.stats):  # Python's own arithmetic over charges
        with snapshot(url, question.since, question.until) as copy:
            return query.ask(copy, question)
    with _opened(url, question) as (connection, asked, spoken, held):
        home = connection.execute("SELECT value FROM settings WHERE name = 'zone'").fetchone()[0]
        on_rows = [name for (name,) in connection.execute("SELECT name FROM row_tags")]
        engine = engine_of(url)
        source = _source(engine, asked, home, on_rows, spoken)
        whole = _source(engine, replace(asked, by=()), home, on_rows, spoken) if source.name == "charges" else None
        return answered(cast("sqlite3.Connection", connection), shown(url), asked, source, held, whole)


def compare(url: str, report: LedgerReport, since: datetime, until: datetime) -> LedgerReport:
    """A report of a database beside the earlier period, as `report.compare` makes it of a file."""
    return beside(report, since, until, partial(ask, url), partial(_spent, url))


def _spent(url: str, question: Question) -> dict[str, Spent]:
    with _opened(url, question) as (connection, asked, spoken, _):
        where, values = conditions(asked, engine_of(url).rows(spoken))
        priced = f"{where} AND amount IS NOT NULL"
        return spent_of(*engine_of(url).spent(connection, priced, values))


@contextmanager
def _opened(url: str, question: Question) -> Iterator[tuple[Connection, Question, Dialect, list[int | None]]]:
    """A snapshot, the question in its dialect, and how many calls there are, with the first and the last end."""
    engine = engine_of(url)
    with engine.snapshot(url) as connection:
        held, first, last = connection.execute(_HELD).fetchone()
        start = datetime(1970, 1, 1, tzinfo=UTC)
        spoken = engine.dialect_of(question.zone, first or start, last or start)
        if question.where is not None:
            question = replace(question, where=parse(question.where.text, spoken))
        for tag in () if question.where is None else question.where.tags:
            known_tag(cast("sqlite3.Connection", connection), tag, "--where", (*spoken.keys, *NUMBERS), spoken)
        ends = [None if at is None else microseconds(at) for at in (first, last)]
        yield connection, question, spoken, [held, *ends]


def _source(engine: Engine, question: Question, home: str, on_rows: Sequence[str], dialect: Dialect) -> SumSource:
    """The roll-up if it answers the question, else the rows, or their charges for components."""
    if COMPONENT in question.by:
        if question.stats:
            raise ConfigurationError(f"--stat: it is of calls, which {COMPONENT} divides; leave one of them out")
        return engine.charges(dialect)
    return (engine.days if is_of_days(question, home, on_rows) else engine.rows)(dialect)
