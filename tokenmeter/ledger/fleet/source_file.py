"""The ledger file that is shipped: its name in the database, and its rows, read in short glances.

The connection is closed before a fork, like that of the writer, and opened again by the next glance; so it is held
under a lock while it reads. A file that took the place of the one that was opened is noticed then.
"""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.ledger.schema import LedgerError, has_wide_rows, open_for_reading, open_for_writing, remedy
from tokenmeter.ledger.tables import ROW

if TYPE_CHECKING:
    import sqlite3

__all__ = ["IDS", "KEYED", "READ", "SHIPPED", "FileReplacedError", "SourceFile"]

_NAME: Final = "file_id"
_DELETED_AT_ONCE: Final = 200  # by one transaction, for which the writers of the file wait

SHIPPED: Final = tuple(name for name in ROW if name != "response_key")
"""The columns of a call that is shipped, those of a row of the file, after its sequence."""

KEYED: Final = {
    "dims": ("dims",),
    "tagsets": ("tagset",),
    "texts": (
        "charge_shape", "raw_shape", "sent_shape", "scope", "cost_flags", "params", "flags", "reason",
        "unknown_fields", "budget_window",
    ),
}  # fmt: skip
"""The columns that are keys, by the table that they are keys into."""

IDS: Final = ("id", "parent_id", "trace_id", "span_id", "scope_run", "duplicate_of")
"""The columns that are binary in a file where they can be, and text here."""


def _read(name: str) -> str:
    return f"CASE typeof({name}) WHEN 'blob' THEN lower(hex({name})) ELSE {name} END" if name in IDS else name


READ: Final = f"SELECT seq, {', '.join(map(_read, SHIPPED))} FROM call_rows"
"""Reads calls of a file."""


class FileReplacedError(LedgerError):
    """Another file bears the name of the one that was shipped."""


class SourceFile:
    """A ledger file to be shipped. Raises LedgerError where it is not there, or cannot be shipped.

    `io` is held while the file is open; who owns the lock may be given for a process that forks.
    """

    def __init__(self, path: str, io: threading.Lock | None = None) -> None:
        self.path: Final = path
        self.io: Final = io or threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity = _inode(path)
        with self.io:
            settings = self._identify()
            self.name: str = settings[_NAME]
            """The name by which the database knows the file."""
            self.zone: str = settings["zone"]
            self._refuse_wide_rows()

    def read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What a query answers. Raises FileReplacedError where another file is there now, LedgerError."""
        import sqlite3

        with self.io:
            try:
                return self._open().execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise LedgerError(remedy(self.path, error)) from error

    def check(self) -> None:
        """Raise FileReplacedError where another file is there now."""
        if self._identity != _inode(self.path):
            raise FileReplacedError(f"{self.path} was replaced by another file")

    def let_go(self) -> None:
        """Close the connection; under `io`."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def close(self) -> None:
        """Close the connection."""
        with self.io:
            self.let_go()

    def rename(self) -> None:
        """Give a file another name in the database: it is a copy of one that was shipped, and went its own way."""
        with self.io:
            self.name = self._identify(anew=True)[_NAME]

    def delete(self, last: int, spared: Sequence[int]) -> int:
        """Delete some of the calls up to a sequence, but those that are spared; how many; none while others write."""
        import sqlite3

        marks = ", ".join("?" * len(spared))
        chosen = (
            f"SELECT seq FROM call_rows WHERE seq <= ? AND seq NOT IN ({marks}) ORDER BY seq LIMIT {_DELETED_AT_ONCE}"
        )
        with self.io:
            try:
                with closing(open_for_writing(self.path)) as connection:
                    found = connection.execute(f"DELETE FROM call_rows WHERE seq IN ({chosen})", (last, *spared))
                    return found.rowcount
            except sqlite3.OperationalError as error:
                if "locked" in str(error):
                    return 0  # later
                raise LedgerError(remedy(self.path, error)) from error
            except (sqlite3.Error, OSError) as error:
                raise LedgerError(remedy(self.path, error)) from error

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self.check()
            self._connection = open_for_reading(self.path)
        return self._connection

    def _identify(self, *, anew: bool = False) -> dict[str, str]:
        """The settings of the file, with the name that it is given now if it has none or is to have another."""
        import sqlite3

        open_for_reading(self.path).close()  # names the remedy where there is no ledger
        try:
            with closing(open_for_writing(self.path)) as connection:
                connection.execute("PRAGMA busy_timeout = 10000")
                if anew:
                    connection.execute("DELETE FROM settings WHERE name = ?", (_NAME,))
                if not connection.execute("SELECT 1 FROM settings WHERE name = ?", (_NAME,)).fetchone():
                    connection.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (_NAME, uuid.uuid4().hex))
                return dict(connection.execute("SELECT name, value FROM settings"))
        except (sqlite3.Error, OSError) as error:
            raise LedgerError(remedy(self.path, error)) from error

    def _refuse_wide_rows(self) -> None:
        connection = self._open()
        if has_wide_rows(connection) and connection.execute("SELECT 1 FROM wide_calls LIMIT 1").fetchone():
            advice = f"tokenmeter ledger migrate {self.path} makes a new file"
            raise LedgerError(f"{self.path} has calls of the first schema: {advice}")


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
