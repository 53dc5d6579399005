"""Examines a ledger: the file is whole, the roll-up is its rows, charges are their amounts, ids are unique."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple

from tokenmeter.ledger.fleet.database import is_url
from tokenmeter.ledger.fleet.engines import engine_of
from tokenmeter.ledger.opening import open_calls
from tokenmeter.ledger.rollup import wrong_days
from tokenmeter.ledger.schema import LedgerError, has_narrow_rows, has_wide_rows, open_for_reading, remedy
from tokenmeter.money import EXACT

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Check", "verify"]

_NAMED: Final = 10


class Check(NamedTuple):
    """What was examined, how much of it, and what of it is wrong; `places` name the first few."""

    name: str
    examined: int
    wrong: int
    places: tuple[str, ...] = ()


def verify(path: str) -> Iterator[Check]:
    """Examine a ledger, in one snapshot, while programs go on writing. Raises LedgerError for what is none."""
    import sqlite3

    if is_url(path):
        yield from _verify_database(path)
        return
    try:
        with closing(open_for_reading(path)) as connection:
            connection.execute("BEGIN")
            yield _integrity(connection)
            if has_narrow_rows(connection):
                yield _rollup(connection)
            yield from _calls(connection)
    except sqlite3.Error as error:
        raise LedgerError(remedy(path, error)) from error


def _verify_database(url: str) -> Iterator[Check]:
    """Examine the roll-up of a fleet's database there, and its calls in a copy."""
    engine = engine_of(url)
    with engine.snapshot(url) as database:
        yield Check("days of the roll-up", *engine.wrong_days(database))
    with closing(open_calls(url)) as connection:
        yield from _calls(connection)


def _calls(connection: sqlite3.Connection) -> Iterator[Check]:
    if has_narrow_rows(connection):
        yield _keys(connection)
    yield _ids(connection)
    yield _charges(connection)


def _count(connection: sqlite3.Connection, query: str) -> int:
    number: int = connection.execute(query).fetchone()[0]
    return number


def _integrity(connection: sqlite3.Connection) -> Check:
    found = [str(row[0]) for row in connection.execute("PRAGMA main.integrity_check(100)")]
    wrong = [] if found == ["ok"] else found
    return Check("pages of the file", _count(connection, "PRAGMA main.page_count"), len(wrong), tuple(wrong[:_NAMED]))


def _rollup(connection: sqlite3.Connection) -> Check:
    return Check("days of the roll-up", _count(connection, "SELECT count(*) FROM days"), wrong_days(connection))


_DANGLING: Final = (
    "SELECT seq FROM call_rows WHERE dims NOT IN (SELECT id FROM dims) OR tagset NOT IN (SELECT id FROM tagsets)"
    + "".join(
        f" OR ({column} IS NOT NULL AND {column} NOT IN (SELECT id FROM texts))"
        for column in ("charge_shape", "raw_shape", "sent_shape", "scope", "cost_flags", "params", "flags", "reason",
                       "unknown_fields", "budget_window")
    )
)  # fmt: skip


def _keys(connection: sqlite3.Connection) -> Check:
    wrong = [f"seq {row[0]}" for row in connection.execute(_DANGLING)]
    return Check(
        "keys of calls", _count(connection, "SELECT count(*) FROM call_rows"), len(wrong), tuple(wrong[:_NAMED])
    )


def _ids(connection: sqlite3.Connection) -> Check:
    calls = _count(connection, "SELECT count(*) FROM calls")
    index = connection.execute("SELECT 1 FROM main.sqlite_master WHERE name = 'call_rows_id'").fetchone()
    if index and not has_wide_rows(connection):  # it keeps those of narrow rows unique, and integrity_check reads it
        return Check("ids of calls", calls, 0)
    twice = connection.execute("SELECT id FROM calls GROUP BY id HAVING count(*) > 1").fetchall()
    return Check("ids of calls", calls, len(twice), tuple(str(row[0]) for row in twice[:_NAMED]))


def _charges(connection: sqlite3.Connection) -> Check:
    """Whether the charges of each priced call sum up to its amount."""
    examined, wrong = 0, 0
    places: list[str] = []
    query = "SELECT id, amount, charges FROM calls WHERE charges IS NOT NULL AND amount IS NOT NULL"
    for name, amount, charges in connection.execute(query):
        examined += 1
        total = Decimal(0)
        for charge in json.loads(charges):
            total = EXACT.add(total, Decimal(charge["amount"]))
        if total != Decimal(amount):
            wrong += 1
            if len(places) < _NAMED:
                places.append(f"{name}: charges {total}, amount {amount}")
    return Check("calls with charges", examined, wrong, tuple(places))
