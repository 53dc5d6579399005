"""Answers a report's question from the database of a fleet: the query of a file, in another dialect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.fleet import dialect as postgresql
from tokenmeter.ledger.fleet.database import open_for_reading, remedy, shown
from tokenmeter.ledger.report.causes import Spent
from tokenmeter.ledger.report.columns import NUMBERS
from tokenmeter.ledger.report.compare import beside, spent_of
from tokenmeter.ledger.report.dialect import Dialect
from tokenmeter.ledger.report.query import LedgerReport, Question, answered
from tokenmeter.ledger.report.selection import conditions, known_tag
from tokenmeter.ledger.report.sum_sources import COMPONENT, SumSource, is_of_days, microseconds
from tokenmeter.ledger.report.where import parse

if TYPE_CHECKING:
    import sqlite3

    import psycopg

__all__ = ["ask", "compare"]

_HELD = "SELECT coalesce(sum(calls), 0), min(first_at), max(last_at) FROM days WHERE calls > 0"


def ask(url: str, question: Question) -> LedgerReport:
    """Answer a question from a fleet's database, as of one instant.

    Raises ConfigurationError for an unknown key and for what only a file answers, FleetError where the database
    cannot be read.
    """
    saved = any(stat.measure == "cache_saved" for stat in question.stats)
    for refused, what in ((saved, "--stat: cache_saved"), (question.conversion, "--convert")):
        if refused:
            raise ConfigurationError(f"{what}: only a ledger file answers it yet, not {shown(url)}")
    with _opened(url, question) as (connection, asked, spoken, held):
        home = connection.execute("SELECT value FROM settings WHERE name = 'zone'").fetchone()[0]
        on_rows = [name for (name,) in connection.execute("SELECT name FROM row_tags")]
        source = _source(asked, home, on_rows, spoken)
        whole = _source(replace(asked, by=()), home, on_rows, spoken) if source.name == "charges" else None
        return answered(cast("sqlite3.Connection", connection), shown(url), asked, source, held, whole)


def compare(url: str, report: LedgerReport, since: datetime, until: datetime) -> LedgerReport:
    """A report of a database beside the earlier period, as `report.compare` makes it of a file."""
    return beside(report, since, until, partial(ask, url), partial(_spent, url))


def _spent(url: str, question: Question) -> dict[str, Spent]:
    with _opened(url, question) as (connection, asked, spoken, _):
        where, values = conditions(asked, postgresql.rows(spoken))
        priced = f"{where} AND amount IS NOT NULL"
        total = f"SELECT currency, sum(amount)::text, count(*) FROM calls WHERE {priced} GROUP BY 1"
        skus = (
            "SELECT currency, coalesce(provider, ''), coalesce(model, ''), charge ->> 'component', "
            "sum((charge ->> 'quantity')::numeric)::text, sum((charge ->> 'amount')::numeric)::text "
            f"FROM calls, json_array_elements(charges::json) AS charge WHERE {priced} GROUP BY 1, 2, 3, 4"
        )
        return spent_of(connection.execute(total, values), connection.execute(skus, values))


@contextmanager
def _opened(url: str, question: Question) -> Iterator[tuple[_Connection, Question, Dialect, list[int | None]]]:
    """A snapshot, the question in its dialect, and how many calls there are, with the first and the last end."""
    with _snapshot(url) as connection:
        held, first, last = connection.execute(_HELD).fetchone()
        start = datetime(1970, 1, 1, tzinfo=UTC)
        spoken = postgresql.dialect_of(question.zone, first or start, last or start)
        if question.where is not None:
            question = replace(question, where=parse(question.where.text, spoken))
        for tag in () if question.where is None else question.where.tags:
            known_tag(cast("sqlite3.Connection", connection), tag, "--where", (*spoken.keys, *NUMBERS), spoken)
        ends = [None if at is None else microseconds(at) for at in (first, last)]
        yield connection, question, spoken, [held, *ends]


def _source(question: Question, home: str, on_rows: Sequence[str], dialect: Dialect) -> SumSource:
    """The roll-up if it answers the question, else the rows, or their charges for components."""
    if COMPONENT in question.by:
        if question.stats:
            raise ConfigurationError(f"--stat: it is of calls, which {COMPONENT} divides; leave one of them out")
        return postgresql.charges(dialect)
    return (postgresql.days if is_of_days(question, home, on_rows) else postgresql.rows)(dialect)


class _Connection:
    """A connection that takes statements as one of SQLite does, as far as reports go."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def execute(self, query: str, values: Sequence[Any] = ()) -> Any:
        """Run a query in which `?` stands for each value."""
        text = query.replace("%", "%%").replace("?", "%s").encode()
        return self._connection.execute(text, list(values))


class _Row(tuple[Any, ...]):
    """A row whose values are found by place and by name."""

    names: dict[str, int]

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.names[key] if type(key) is str else key)


def _rows(cursor: psycopg.Cursor[Any]) -> Any:
    names = {column.name: place for place, column in enumerate(cursor.description or ())}
    made = type("_NamedRow", (_Row,), {"names": names})

    def row(values: Sequence[Any]) -> Any:
        return made([_plain(value) if type(value) is Decimal else value for value in values])

    return row


def _plain(number: Decimal) -> int | Decimal:
    """Sums of integers are numeric there. Amounts come as text."""
    whole = int(number)
    return whole if whole == number else number


@contextmanager
def _snapshot(url: str) -> Iterator[_Connection]:
    import psycopg

    connection = open_for_reading(url)
    try:
        connection.row_factory = _rows
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        connection.execute("SET LOCAL search_path = tokenmeter, pg_catalog")
        yield _Connection(connection)
    except psycopg.Error as error:
        raise remedy(url, error) from error
    finally:
        connection.close()
