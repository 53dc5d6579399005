"""Which calls a question is about: a ledger opened for one snapshot, and the question's conditions as SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.opening import named, open_calls
from tokenmeter.ledger.report.columns import KEYS, NUMBERS, register
from tokenmeter.ledger.report.dialect import SQLITE, Dialect
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.sum_sources import ROWS, SumSource, microseconds, register_days
from tokenmeter.ledger.report.where import compare_exactly

if TYPE_CHECKING:
    import sqlite3

__all__ = [
    "Snapshot", "conditions", "count_lost", "known_tag", "refuse_tag", "select", "snapshot",
    "unpriced_reasons",
]  # fmt: skip


@dataclass(frozen=True)
class Snapshot:
    """A ledger as of one instant, for several questions whose answers have to agree."""

    path: str
    connection: sqlite3.Connection


@contextmanager
def snapshot(path: str, since: datetime | None = None, until: datetime | None = None) -> Iterator[Snapshot]:
    """Open a ledger for questions about one instant, and no calls that ended outside of a span of time.

    Raises LedgerError for a file or a database that cannot be read.
    """
    import sqlite3

    span = (None if at is None else microseconds(at) for at in (since, until))
    with closing(open_calls(path, *span)) as connection:
        connection.row_factory = sqlite3.Row
        connection.execute("BEGIN")
        connection.execute("SELECT 1 FROM calls LIMIT 1").fetchone()  # the instant is that of the first read
        yield Snapshot(named(path), connection)


@contextmanager
def select(ledger: str | Snapshot, question: Question) -> Iterator[tuple[sqlite3.Connection, str, list[Any]]]:
    """Open a ledger for one snapshot: the connection, and the question's conditions as SQL with its values.

    Raises LedgerError for a file that cannot be read.
    """
    opened = snapshot(ledger, question.since, question.until) if isinstance(ledger, str) else nullcontext(ledger)
    with opened as held:
        connection = held.connection
        register(connection, question.zone)
        register_days(connection)
        connection.create_function("compare_exactly", 2, compare_exactly, deterministic=True)
        for tag in () if question.where is None else question.where.tags:
            known_tag(connection, tag, "--where", (*KEYS, *NUMBERS))
        where, values = conditions(question)
        yield connection, where, values


def unpriced_reasons(
    connection: sqlite3.Connection,
    where: str = "end_state <> 'delegated'",
    values: Sequence[Any] = (),
    source: SumSource = ROWS,
) -> list[tuple[str | None, int]]:
    """Why calls are unpriced and how many for each reason, most frequent first. `where` is SQL of this module."""
    query = (
        f"SELECT cost_reason, sum(calls) FROM {source.table} WHERE {where} AND status = 'unpriced' "  # noqa: S608
        "GROUP BY 1"
    )
    found = [(row[0], row[1]) for row in connection.execute(query, list(values))]
    return sorted(found, key=lambda one: (-one[1], one[0] is not None, one[0] or ""))


def conditions(question: Question, source: SumSource = ROWS) -> tuple[str, list[Any]]:
    """The question's conditions as SQL over a source, and the values bound in it."""
    conditions = ["end_state <> 'delegated'"]
    values: list[Any] = []
    for at, compare in ((question.since, ">="), (question.until, "<")):
        if at is not None:
            conditions.append(f"{source.instant} {compare} ?")
            values.append(source.bound(at, question.zone))
    for names, column in ((question.providers, "provider"), (question.models, "model")):
        if names:
            conditions.append(f"{column} IN ({', '.join('?' * len(names))})")
            values += names
    for key, value in question.tags:
        conditions.append(f"{source.dialect.tag} = ?")
        values += [key, value]
    if question.where is not None:
        conditions.append(f"({question.where.sql})")
        values += question.where.values
    return " AND ".join(conditions), values


def count_lost(connection: sqlite3.Connection, question: Question) -> int:
    """How many calls of the question's period could not be written."""
    since = -(2**63) if question.since is None else microseconds(question.since)
    until = 2**63 - 1 if question.until is None else microseconds(question.until)
    found = connection.execute(
        "SELECT coalesce(sum(calls), 0) FROM losses WHERE last_us >= ? AND first_us < ?", [since, until]
    )
    lost: int = found.fetchone()[0]
    return lost


def known_tag(
    connection: sqlite3.Connection, tag: str, flag: str, names: Iterable[str] = KEYS, dialect: Dialect = SQLITE
) -> None:
    """Raise ConfigurationError with near names for a tag that no call has; an empty ledger knows none."""
    if connection.execute(dialect.has_tag, [tag]).fetchone():
        return
    if not connection.execute("SELECT 1 FROM calls LIMIT 1").fetchone():
        return  # nothing to group
    tags = [row[0] for row in connection.execute(dialect.tags)]
    refuse_tag(tag, flag, tags, names)


def refuse_tag(tag: str, flag: str, tags: Sequence[str], names: Iterable[str] = KEYS) -> NoReturn:
    """Raise ConfigurationError for a tag that no call has, with near names; `tags` are those that calls have."""
    import difflib

    near = difflib.get_close_matches(tag, [*names, *tags], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    known = ", ".join(tags[:50]) if tags else "none"
    raise ConfigurationError(f"{flag}: no call has this tag; {hint}Keys are {', '.join(names)}; tags here: {known}")
