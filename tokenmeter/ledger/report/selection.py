"""Which calls a question is about: a ledger opened for one snapshot, and the question's conditions as SQL."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.columns import KEYS, NUMBERS, TAG, register
from tokenmeter.ledger.report.conversion import Conversion
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.stats import Stat
from tokenmeter.ledger.report.where import CallFilter, compare_exactly
from tokenmeter.ledger.schema import open_for_reading
from tokenmeter.money import EXACT

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Question", "conditions", "count_lost", "known_tag", "select", "unpriced_reasons"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of a ledger. `by` holds keys of `KEYS`, tag names, or `tag:NAME` for a tag named like a key.

    `since` is included, `until` is not; `providers` and `models` are alternatives, `tags` must all hold.
    """

    by: tuple[str, ...]
    zone: Zone
    since: datetime | None = None
    until: datetime | None = None
    providers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    tags: tuple[tuple[str, str], ...] = ()
    where: CallFilter | None = None
    stats: tuple[Stat, ...] = ()
    conversion: Conversion | None = None


class _ExactSum:
    """SQL aggregate: the exact sum of decimal texts; NULL of none."""

    def __init__(self) -> None:
        self._sum: Decimal | None = None

    def step(self, amount: str | None) -> None:
        if amount is not None:
            self._sum = Decimal(amount) if self._sum is None else EXACT.add(self._sum, Decimal(amount))

    def finalize(self) -> str | None:
        return None if self._sum is None else str(self._sum)


@contextmanager
def select(path: str, question: Question) -> Iterator[tuple[sqlite3.Connection, str, list[Any]]]:
    """Open a ledger for one snapshot: the connection, and the question's conditions as SQL with its values.

    Raises LedgerError for a file that cannot be read.
    """
    import sqlite3

    with closing(open_for_reading(path)) as connection:
        connection.row_factory = sqlite3.Row
        connection.create_aggregate("exact_sum", 1, _ExactSum)  # type: ignore[arg-type]
        register(connection, question.zone)
        connection.create_function("compare_exactly", 2, compare_exactly, deterministic=True)
        if question.conversion is not None:
            connection.create_aggregate("converted_sum", 3, question.conversion.aggregate)  # type: ignore[arg-type]
        connection.execute("BEGIN")  # one snapshot for all that follows
        for tag in () if question.where is None else question.where.tags:
            known_tag(connection, tag, "--where", (*KEYS, *NUMBERS))
        where, values = conditions(question)
        yield connection, where, values


def unpriced_reasons(
    connection: sqlite3.Connection, where: str = "end_state <> 'delegated'", values: Sequence[Any] = ()
) -> list[tuple[str | None, int]]:
    """Why calls are unpriced and how many for each reason, most frequent first. `where` is SQL of this module."""
    query = (
        f"SELECT cost_reason, count(*) FROM calls WHERE {where} AND status = 'unpriced' "  # noqa: S608
        "GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    return [(row[0], row[1]) for row in connection.execute(query, list(values))]


def conditions(question: Question) -> tuple[str, list[Any]]:
    """The question's conditions as SQL over `calls`, and the values bound in it."""
    conditions = ["end_state <> 'delegated'"]
    values: list[Any] = []
    for at, compare in ((question.since, ">="), (question.until, "<")):
        if at is not None:
            conditions.append(f"ended_us {compare} ?")
            values.append(_microseconds(at))
    for names, column in ((question.providers, "provider"), (question.models, "model")):
        if names:
            conditions.append(f"{column} IN ({', '.join('?' * len(names))})")
            values += names
    for key, value in question.tags:
        conditions.append(f"{TAG} = ?")
        values += [key, value]
    if question.where is not None:
        conditions.append(f"({question.where.sql})")
        values += question.where.values
    return " AND ".join(conditions), values


def _microseconds(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def count_lost(connection: sqlite3.Connection, question: Question) -> int:
    """How many calls of the question's period could not be written."""
    since = -(2**63) if question.since is None else _microseconds(question.since)
    until = 2**63 - 1 if question.until is None else _microseconds(question.until)
    found = connection.execute(
        "SELECT coalesce(sum(calls), 0) FROM losses WHERE last_us >= ? AND first_us < ?", [since, until]
    )
    lost: int = found.fetchone()[0]
    return lost


def known_tag(connection: sqlite3.Connection, tag: str, flag: str, names: Iterable[str] = KEYS) -> None:
    """Raise ConfigurationError with near names for a tag that no call has; an empty ledger knows none."""
    if connection.execute("SELECT 1 FROM calls, json_each(calls.tags) WHERE key = ? LIMIT 1", [tag]).fetchone():
        return
    if not connection.execute("SELECT 1 FROM calls LIMIT 1").fetchone():
        return  # nothing to group yet
    import difflib

    tags = [row[0] for row in connection.execute("SELECT DISTINCT key FROM calls, json_each(calls.tags) ORDER BY 1")]
    near = difflib.get_close_matches(tag, [*names, *tags], n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    known = ", ".join(tags[:50]) if tags else "none"
    raise ConfigurationError(f"{flag}: no call has this tag; {hint}Keys are {', '.join(names)}; tags here: {known}")
