"""Copies the calls of ledgers into another file: `tokenmeter ledger migrate` and `merge`.

Calls go page by page, each page in one transaction with the place that it reached, so that a copy that was stopped
goes on where it was. A call that is there already is not copied again. The files that are read are not changed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.bills.merging import merge_bills, metered_by_day
from tokenmeter.ledger.fleet.database import is_url
from tokenmeter.ledger.opening import named, open_calls
from tokenmeter.ledger.rollup import drop_triggers, make_triggers, rebuild
from tokenmeter.ledger.row_writer import RowWriter
from tokenmeter.ledger.schema import LedgerError, make_indexes, open_for_reading, open_for_writing, remedy
from tokenmeter.ledger.tables import COLUMNS, INDEXES
from tokenmeter.ledger.wide_rows import stored_of_wide
from tokenmeter.money import plain

if TYPE_CHECKING:
    import sqlite3

__all__ = ["LOSS", "Copied", "copy_calls", "copy_rows", "copy_valuations", "merge", "migrate"]

_PAGE: Final = 2_000
_FIRST: Final = -(2**62)


class Copied:
    """What was copied from one file: calls read, of which `new` were not there, and calls that could not be stored."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.read = 0
        self.new = 0
        self.refused = 0
        self.bills_left_out = 0
        """Saved bills, of this file or of the one it was merged into, for which a later one of their days stays."""


def migrate(path: str, target: str) -> Copied:
    """Copy a ledger into a new file of the newest schema. Goes on where an earlier try was stopped.

    Raises LedgerError where the target is there and is no unfinished copy, or a file cannot be used.
    """
    import sqlite3

    if Path(target).exists() and Path(target).stat().st_size:
        with closing(open_for_reading(target)) as connection:
            if _place(connection, _source(path)) is None:
                raise LedgerError(f"{target} is there already and is no unfinished copy of {path}: name another file")
    try:
        with closing(open_for_writing(target)) as connection:
            # A copy that a power cut spoils is made again; until it is whole nothing else writes the file.
            connection.execute("PRAGMA synchronous = OFF")
            drop_triggers(connection)
            for name in INDEXES:
                connection.execute(f"DROP INDEX IF EXISTS {name}")
            copied = _copy(connection, path, charge_once=False)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            make_indexes(connection)
            make_triggers(connection, wide=False)
            rebuild(connection)
            connection.execute("DELETE FROM settings WHERE name = ?", (_source(path),))
            connection.execute("COMMIT")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise LedgerError(remedy(target, error)) from error
    return copied


def merge(paths: Sequence[str], target: str) -> list[Copied]:
    """Copy the calls of ledgers, and their losses, into a file that is made if it is not there.

    A ledger is a file, sealed months or a fleet's database. Raises LedgerError for one that cannot be used.
    """
    import sqlite3

    if is_url(target):
        raise ConfigurationError(f"{named(target)} is no file: tokenmeter ledger ship FILE {named(target)} fills it")
    for path in paths:
        if os.path.exists(path) and os.path.exists(target) and os.path.samefile(path, target):
            raise LedgerError(f"{path} cannot be copied into itself: name another file")
    copies = []
    try:
        with closing(open_for_writing(target)) as connection:
            connection.execute("PRAGMA busy_timeout = 10000")
            for path in paths:
                copies.append(_copy(connection, path))
                connection.execute("DELETE FROM settings WHERE name = ?", (_source(path),))
    except sqlite3.Error as error:
        raise LedgerError(remedy(target, error)) from error
    return copies


def _source(path: str) -> str:
    return f"copied from {os.path.abspath(path) if os.path.exists(path) else named(path)}"


def _place(connection: sqlite3.Connection, source: str) -> int | None:
    found = connection.execute("SELECT value FROM settings WHERE name = ?", (source,)).fetchone()
    return None if found is None else int(found[0])


def _copy(target: sqlite3.Connection, path: str, *, charge_once: bool = True) -> Copied:
    """Copy what a ledger holds; `charge_once` is that of `RowWriter`, and False for a copy into an empty file."""
    copied, source, is_file = Copied(named(path)), _source(path), os.path.isfile(path)
    writer, before = RowWriter(target, charge_once=charge_once), _calls(target)
    with closing(open_calls(path)) as reader:
        reader.execute("BEGIN")  # one snapshot
        place = _place(target, source) if is_file else None  # a copy has other sequences each time
        metered = _metered_before(target, source) if charge_once else {}
        for page in _pages(reader, _FIRST if place is None else place):
            target.execute("BEGIN IMMEDIATE")
            copied.refused += writer.insert([stored_of_wide(row) for row in page])
            copied.read += len(page)
            if is_file:
                target.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (source, str(page[-1]["seq"])))
            target.execute("COMMIT")
        target.execute("BEGIN IMMEDIATE")
        for table, columns in _BESIDE.items():
            _copy_table(reader, target, table, columns)
        copied.bills_left_out = merge_bills(reader, target, metered)
        target.execute("DELETE FROM settings WHERE name = ?", (_BILLS.format(source),))
        target.execute("COMMIT")
    copied.new = _calls(target) - before
    return copied


_BILLS: Final = "bills before what is {}"


def _metered_before(target: sqlite3.Connection, source: str) -> dict[str, dict[str, Decimal]]:
    """What the target's saved bills were about before the first call came; kept for a copy that is stopped."""
    name = _BILLS.format(source)
    kept = target.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()
    if kept is not None:
        return {bill: {day: Decimal(cost) for day, cost in days.items()} for bill, days in json.loads(kept[0]).items()}
    found = metered_by_day(target)
    if found:
        shown = {bill: {day: plain(cost) for day, cost in days.items()} for bill, days in found.items()}
        target.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(shown)))
    return found


def _calls(connection: sqlite3.Connection) -> int:
    count: int = connection.execute("SELECT count(*) FROM call_rows").fetchone()[0]
    return count


LOSS: Final = ("first_us", "last_us", "calls", "reason")
"""The columns of a loss."""
_VALUATIONS: Final = {
    "valuations": ("name", "made_us", "book", "at", "complete"),
    "valued_calls": ("valuation", "call_id", "status", "amount", "currency", "rate_id", "reason"),
}
_BESIDE: Final = {
    "losses": LOSS,
    **_VALUATIONS,
}
"""Tables of a ledger that are copied as they are, rows that are there already left out."""


def _copy_table(reader: sqlite3.Connection, target: sqlite3.Connection, table: str, columns: Sequence[str]) -> None:
    if not _make_table(reader, target, table):
        return
    names, same = ", ".join(columns), " AND ".join(f"{name} IS ?{number}" for number, name in enumerate(columns, 1))
    values = ", ".join(f"?{number}" for number in range(1, len(columns) + 1))
    target.executemany(
        f"INSERT INTO {table} ({names}) SELECT {values} WHERE NOT EXISTS (SELECT 1 FROM {table} WHERE {same})",  # noqa: S608
        reader.execute(f"SELECT {names} FROM {table}"),  # noqa: S608
    )


def _make_table(reader: sqlite3.Connection, target: sqlite3.Connection, table: str) -> bool:
    """Whether the one file has a table; the other has it then, too."""
    made = reader.execute("SELECT sql FROM main.sqlite_master WHERE type = 'table' AND name = ?", (table,)).fetchone()
    if made is not None and not target.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
        target.execute(made[0])
    return made is not None


_CALL: Final = ("seq", *COLUMNS, "duplicate_of")


def _pages(reader: sqlite3.Connection, place: int) -> Iterator[list[dict[str, Any]]]:
    query = f"SELECT {', '.join(_CALL)} FROM calls WHERE seq > ? ORDER BY seq LIMIT {_PAGE}"  # noqa: S608
    while rows := reader.execute(query, (place,)).fetchall():
        place = rows[-1][0]
        yield [dict(zip(_CALL, row, strict=True)) for row in rows]


# Some calls of a file, for `splitting.py` ---------------------------------------------------------------------------


def copy_calls(reader: sqlite3.Connection, target: sqlite3.Connection, pages: Iterable[Sequence[int]]) -> int:
    """Copy calls, as they are, by their sequence, page by page; how many could not be stored."""
    writer, refused = RowWriter(target, charge_once=False), 0
    for page in pages:
        query = f"SELECT {', '.join(_CALL)} FROM calls WHERE seq IN ({', '.join('?' * len(page))}) ORDER BY seq"  # noqa: S608
        rows = [dict(zip(_CALL, row, strict=True)) for row in reader.execute(query, page)]
        refused += writer.insert([stored_of_wide(row) for row in rows])
    return refused


def copy_rows(target: sqlite3.Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Insert rows into a table."""
    marks = ", ".join("?" * len(columns))
    target.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", rows)  # noqa: S608


def copy_valuations(reader: sqlite3.Connection, target: sqlite3.Connection, calls: str) -> None:
    """Copy every valuation, and what it made of some calls, whose sequences the query `calls` answers."""
    if not all(_make_table(reader, target, table) for table in _VALUATIONS):
        return
    names, columns = _VALUATIONS["valuations"], _VALUATIONS["valued_calls"]
    found = reader.execute(f"SELECT {', '.join(names)} FROM valuations").fetchall()  # noqa: S608
    copy_rows(target, "valuations", names, found)
    query = (
        f"SELECT {', '.join(columns)} FROM valued_calls WHERE valuation = ? "  # noqa: S608
        f"AND call_id IN (SELECT id FROM calls WHERE seq IN ({calls}))"
    )
    for name, *_ in found:
        copy_rows(target, "valued_calls", columns, reader.execute(query, (name,)))
