"""The open ledger file of one process: opened when needed, written in whole batches, closed and reopened.

Every method is called under the ledger's own lock, by one thread at a time. A batch is written completely or not
at all; a failure closes the file, is logged once with its remedy, and the next batch tries afresh. A file
that was moved away or replaced meanwhile is noticed before each batch, so that nothing is written into a file
without a name.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tokenmeter._support.guard import guard
from tokenmeter.ledger import schema
from tokenmeter.ledger.row_writer import RowWriter
from tokenmeter.ledger.rows import StoredRow

if TYPE_CHECKING:
    import sqlite3

    from tokenmeter.ledger.losses import Loss

__all__ = ["LedgerFile"]

_logger: Final = logging.getLogger("tokenmeter.ledger")

# Other processes' commits hold the file for milliseconds: only a lock that outlasts this many attempts is news.
_PATIENT_ATTEMPTS: Final = 3
# Short, because the writer tries again by itself and a fork waits for the attempt in hand.
_WAIT: Final = 0.25
_LOOK: Final = 0.001

_LOSS: Final = "INSERT INTO losses (first_us, last_us, calls, reason) VALUES (?, ?, ?, ?)"


class LedgerFile:
    """A ledger file and the connection to it, if there is one now."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.problem: str | None = None
        """What keeps the file from being written, with the remedy; None while all is well."""
        self.locked = False
        """Whether that is another process that writes it, which will end."""
        self._connection: sqlite3.Connection | None = None
        self._writer: RowWriter | None = None
        self._identity: tuple[int, int] | None = None
        self._log_identity: tuple[int, int] | None = None  # of the -wal file, once it is there
        self._failures = 0

    def write(
        self, calls: Sequence[StoredRow], losses: Sequence[Loss] = (), *, unpriced: Sequence[StoredRow] = ()
    ) -> int | None:
        """Commit calls and losses together; how many calls could not be stored, or None to try it all again later.

        `unpriced` are calls that will come again with their cost: they are stored too, and not counted.
        """
        import sqlite3

        try:
            connection = self._open()
            _begin(connection)
            writer = self._writer = self._writer or RowWriter(connection)
            writer.insert(unpriced)
            refused = writer.insert(calls)
            if losses:
                connection.executemany(_LOSS, losses)
            connection.execute("COMMIT")
            if self._log_identity is None:
                self._log_identity = _identity(self.path + "-wal")
        except (sqlite3.Error, OSError) as error:
            self._failed(error)
            return None
        if self.problem is not None:
            _logger.warning("%s is written again", self.path)
        self.problem = None
        self._failures = 0
        return refused

    def let_go(self) -> None:
        """Close the connection; the next write opens a new one."""
        connection, self._connection, self._writer = self._connection, None, None
        if connection is not None:
            with guard("closing the ledger"):
                connection.close()

    def abandon(self) -> object:
        """Give up the connection without touching the file; the caller keeps what is returned alive."""
        connection, self._connection, self._writer = self._connection, None, None
        return connection

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            if self._identity != _identity(self.path):
                self.let_go()
            elif self._log_identity is not None and self._log_identity != _identity(self.path + "-wal"):
                _logger.warning("%s-wal was deleted; what stood in it is written again", self.path)
                self.let_go()  # which copies it into the file: this process has it open yet
        if self._connection is None:
            self._connection = schema.open_for_writing(self.path)
            self._connection.execute("PRAGMA busy_timeout = 0")  # `_begin` waits
            self._identity, self._log_identity = _identity(self.path), None
        return self._connection

    def _failed(self, error: Exception) -> None:
        self.let_go()  # which rolls back
        self._failures += 1
        self.locked = "locked" in str(error)
        if self.locked and self._failures < _PATIENT_ATTEMPTS:
            return
        problem = schema.remedy(self.path, error)
        if problem != self.problem:
            _logger.warning(
                "the ledger is not written: %s. Calls wait in memory and are written when it works", problem
            )
        self.problem = problem


def _begin(connection: sqlite3.Connection) -> None:
    """Begin to write as soon as no other process does; raises OperationalError if one does for `_WAIT` seconds.

    SQLite's own waiting looks less and less often, up to every 100 ms. Between the commits of a busy writer there are a
    few milliseconds, which it would miss again and again.
    """
    import sqlite3

    until = time.monotonic() + _WAIT
    while True:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(_LOOK)
        else:
            return


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
