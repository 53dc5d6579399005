"""A budget store in a SQLite file, for the processes of one machine: one immediate transaction for each operation.

The file lies beside the ledger, not in it: the ledger is written by one thread in batches, a budget by every call. A
process has one connection, which its threads use in turn, so that only processes compete for the file; it is opened
anew after a fork, and where another file has taken the place of the first. The wall clock of the machine is the
store's; the latest time seen is kept in the file, so a clock that is set back never opens a window again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import logger
from tokenmeter._support.private_file import create_private
from tokenmeter.budgets import sqlite_steps as steps
from tokenmeter.budgets.contract import BudgetAsk, BudgetCharge, BudgetRefusal, StoreError, WindowOver, WindowSpend
from tokenmeter.errors import ConfigurationError

__all__ = ["SqliteBudgetStore"]

VERSION: Final = 1
_DONE_FOR: Final = 86_400_000
"""For how many ms a call's settlement is remembered."""
_HOLDS_FOR: Final = 3_600_000
"""For how many ms a hold lives that begins when a call is extended."""
_CLEAN_EVERY: Final = 60_000
_PATIENCE: Final = 5.0
"""Seconds for which opening the file may wait for other processes."""
_inherited: Final[list[sqlite3.Connection]] = []
"""Connections of parent processes: closing one would touch the parent's files."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS counters(
  series TEXT NOT NULL, bucket INTEGER NOT NULL, keep INTEGER NOT NULL, spent INTEGER NOT NULL DEFAULT 0,
  held INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0, lost_calls INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY(series, bucket)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS counters_keep ON counters(keep);
CREATE TABLE IF NOT EXISTS holds(call TEXT PRIMARY KEY, until INTEGER NOT NULL, asks TEXT NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS holds_until ON holds(until);
CREATE TABLE IF NOT EXISTS done(call TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS done_at ON done(at);
CREATE TABLE IF NOT EXISTS swept(
  call TEXT NOT NULL, series TEXT NOT NULL, bucket INTEGER NOT NULL, amount INTEGER NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY(call, series, bucket)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS swept_at ON swept(at);
CREATE TABLE IF NOT EXISTS once(key TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clock(latest INTEGER NOT NULL, cleaned INTEGER NOT NULL);
INSERT INTO clock SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM clock);
"""


class SqliteBudgetStore:
    """Counters in a file that several processes share.

    `deadline` is how long an operation may wait for other threads and processes, in seconds. Operations raise
    StoreError where the file cannot be used. Raises ConfigurationError for a file that is no budget store.
    """

    waits = True

    def __init__(self, path: str | Path, clock: Callable[[], int] = time.time_ns, *, deadline: float = 0.05) -> None:
        self.path = os.path.abspath(path)
        self._clock = clock
        self._deadline = deadline
        self._latest = 0
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._lock = threading.Lock()
        on_fork(self)
        try:
            with self._lock:
                self._open()
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"budget_store: {self.path} cannot be used: {error}") from None

    def forked(self) -> None:
        """In a child process: the connection of the parent is not to be used."""
        if self._db is not None:
            _inherited.append(self._db)
        self._db = None
        self._lock = threading.Lock()

    def _open(self) -> sqlite3.Connection:
        create_private(self.path)
        db = sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
        with ExitStack() as unready:
            unready.callback(db.close)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("BEGIN IMMEDIATE")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if version != VERSION and (version or tables):
                raise ConfigurationError(
                    f"budget_store: {self.path} is no budget store of this version; name another file"
                )
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("COMMIT")
            db.execute(f"PRAGMA busy_timeout = {max(1, round(self._deadline * 1000))}")
            unready.pop_all()
        self._db, self._file = db, _identity(self.path)
        return db

    def _connection(self) -> sqlite3.Connection:
        """The connection, opened anew where the path names another file by now."""
        if self._db is not None and self._file == _identity(self.path):
            return self._db
        if self._db is not None:
            logger.warning("the budget store %s was replaced: what its new file holds counts from here on", self.path)
            self._db.close()
            self._db = None
        return self._open()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        if not self._lock.acquire(timeout=self._deadline):
            raise StoreError(f"{self.path}: other threads use it")
        try:
            db = self._connection()
            db.execute("BEGIN IMMEDIATE")
            with ExitStack() as undecided:
                undecided.callback(_roll_back, db)
                yield db
                db.execute("COMMIT")
                undecided.pop_all()
        except (sqlite3.Error, OSError, ConfigurationError) as error:
            raise StoreError(f"{self.path}: {error}") from None
        finally:
            self._lock.release()

    # Time -------------------------------------------------------------------------------------------------------

    def now(self) -> int:
        return max(self._latest, self._clock() // 1_000_000)

    def _tick(self, db: sqlite3.Connection) -> int:
        """The store's time, kept in the file; what is over is removed once a minute."""
        latest, cleaned = db.execute("SELECT latest, cleaned FROM clock").fetchone()
        now = self._latest = max(int(latest), self.now())
        if now - cleaned > _CLEAN_EVERY:
            steps.clean(db, now, now - _DONE_FOR)
            db.execute("UPDATE clock SET latest = ?, cleaned = ?", (now, now))
        elif now > latest:
            db.execute("UPDATE clock SET latest = ?", (now,))
        return now

    # The contract -----------------------------------------------------------------------------------------------

    def reserve(self, call: str, asks: Sequence[BudgetAsk], lease: float) -> BudgetRefusal | WindowOver | None:
        with self._transaction() as db:
            now = self._tick(db)
            steps.sweep(db, now)
            refused = steps.misfit(db, asks, now)
            if refused is None:
                steps.hold(db, call, asks, now + round(lease * 1000))
            return refused

    def extend(self, call: str, asks: Sequence[BudgetAsk]) -> BudgetRefusal | None:
        with self._transaction() as db:
            if steps.settled(db, call):
                return None
            refused = steps.misfit(db, asks, None)
            if isinstance(refused, BudgetRefusal):
                return refused
            steps.hold(db, call, asks, self._tick(db) + _HOLDS_FOR, renew=False)
        return None

    def settle(self, call: str, charges: Sequence[BudgetCharge]) -> tuple[int, ...] | None:
        with self._transaction() as db:
            if db.execute("INSERT OR IGNORE INTO done VALUES (?, ?)", (call, self._tick(db))).rowcount == 0:
                return None
            steps.end_hold(db, call)
            steps.give_back(db, call)
            steps.add(db, charges)
            return tuple(steps.sums(db, one.series, one.bucket, one.span)[0] for one in charges)

    def release(self, call: str) -> bool:
        return self.settle(call, ()) is not None

    def withdraw(self, call: str) -> None:
        with self._transaction() as db:
            steps.end_hold(db, call)

    def once(self, key: str, until: int) -> bool:
        with self._transaction() as db:
            now = self._tick(db)
            row = db.execute("SELECT until FROM once WHERE key = ?", (key,)).fetchone()
            if row is not None and row[0] > now:
                return False
            db.execute("INSERT OR REPLACE INTO once VALUES (?, ?)", (key, until))
            return True

    def renew(self, calls: Iterable[str], lease: float) -> None:
        with self._transaction() as db:
            until = self._tick(db) + round(lease * 1000)
            db.executemany("UPDATE holds SET until = ? WHERE call = ?", [(until, call) for call in calls])

    def read(self, series: str, bucket: int, span: int) -> WindowSpend:
        with self._transaction() as db:
            steps.sweep(db, self._tick(db))
            row: Any = db.execute(
                "SELECT ifnull(sum(spent), 0), ifnull(sum(held), 0), ifnull(sum(lost), 0), ifnull(sum(lost_calls), 0)"
                " FROM counters WHERE series = ? AND bucket > ? AND bucket <= ?",
                (series, bucket - span, bucket),
            ).fetchone()
            return WindowSpend(*row)

    def charge(self, charges: Sequence[BudgetCharge]) -> None:
        with self._transaction() as db:
            steps.add(db, charges)

    def reset(self, series: str) -> None:
        with self._transaction() as db:
            db.execute("UPDATE counters SET spent = 0, lost = 0, lost_calls = 0 WHERE series = ?", (series,))
            # What is forgotten is not given back when a vanished call settles after all.
            db.execute("DELETE FROM swept WHERE series = ?", (series,))

    def series(self, prefix: str) -> list[str]:
        with self._transaction() as db:
            end = prefix + "\U0010ffff"
            rows = db.execute("SELECT DISTINCT series FROM counters WHERE series >= ? AND series < ?", (prefix, end))
            return sorted(name for (name,) in rows)

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None


def _roll_back(db: sqlite3.Connection) -> None:
    with suppress(sqlite3.Error):  # it may have ended the transaction itself
        db.execute("ROLLBACK")


def _identity(path: str) -> tuple[int, int] | None:
    """Which file a path names now."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
