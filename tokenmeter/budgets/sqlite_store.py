"""A budget store in a SQLite file, for the processes of one machine: one immediate transaction for each operation.

The file lies beside the ledger, not in it: the ledger is written by one thread in batches, a budget by every call. A
connection belongs to one thread and is opened anew after a fork. The wall clock of the machine is the store's; the
latest time seen is kept in the file, so a clock that is set back never opens a window again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tokenmeter._support.fork import on_fork
from tokenmeter._support.private_file import create_private
from tokenmeter.budgets.contract import BudgetAsk, BudgetCharge, BudgetRefusal, StoreError, WindowOver, WindowSpend
from tokenmeter.errors import ConfigurationError

__all__ = ["SqliteBudgetStore"]

VERSION: Final = 1
_KEEP: Final = 40 * 86_400_000
"""For how many ms a counter is kept after its window's end, so that it can be looked up."""
_DONE_FOR: Final = 86_400_000
"""For how many ms a call's settlement is remembered."""
_SWEPT: Final = 100
_CLEAN_EVERY: Final = 60_000

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS counters(
  series TEXT NOT NULL, bucket INTEGER NOT NULL, until INTEGER NOT NULL, spent INTEGER NOT NULL DEFAULT 0,
  held INTEGER NOT NULL DEFAULT 0, lost INTEGER NOT NULL DEFAULT 0, lost_calls INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY(series, bucket)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS holds(
  call TEXT NOT NULL, series TEXT NOT NULL, bucket INTEGER NOT NULL, amount INTEGER NOT NULL, lost INTEGER NOT NULL,
  PRIMARY KEY(call, series, bucket)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS leases(call TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS leases_until ON leases(until);
CREATE TABLE IF NOT EXISTS done(call TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS swept(
  call TEXT NOT NULL, series TEXT NOT NULL, bucket INTEGER NOT NULL, amount INTEGER NOT NULL,
  PRIMARY KEY(call, series, bucket)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS once(key TEXT PRIMARY KEY, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS clock(latest INTEGER NOT NULL, cleaned INTEGER NOT NULL);
INSERT INTO clock SELECT 0, 0 WHERE NOT EXISTS (SELECT 1 FROM clock);
"""


class SqliteBudgetStore:
    """Counters in a file that several processes share.

    `deadline` is how long an operation may wait for the lock of another process, in seconds. Operations raise
    StoreError where the file cannot be used. Raises ConfigurationError for a file that is no budget store.
    """

    waits = True

    def __init__(self, path: str | Path, clock: Callable[[], int] = time.time_ns, *, deadline: float = 0.05) -> None:
        self.path = os.path.abspath(path)
        self._clock = clock
        self._deadline = deadline
        self._latest = 0
        self.forked()
        on_fork(self)
        self._create()

    def forked(self) -> None:
        """In a child process: connections of the parent are not to be used."""
        self._local = threading.local()

    def _create(self) -> None:
        try:
            create_private(self.path)
            with self._transaction() as db:
                version = db.execute("PRAGMA user_version").fetchone()[0]
                tables = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
                if version != VERSION and (version or tables):
                    raise ConfigurationError(
                        f"budget_store: {self.path} is no budget store of this version; name another file"
                    )
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {VERSION}")
        except (OSError, StoreError) as error:
            raise ConfigurationError(f"budget_store: {self.path} cannot be used: {error}") from None

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._local, "db", None)
        if found is None:
            found = sqlite3.connect(self.path, timeout=self._deadline, isolation_level=None, check_same_thread=False)
            found.execute("PRAGMA journal_mode = WAL")
            found.execute("PRAGMA synchronous = NORMAL")
            self._local.db = found
        return found

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            db = self._connection()
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: {error}") from None

    # Time -------------------------------------------------------------------------------------------------------

    def now(self) -> int:
        self._latest = max(self._latest, self._clock() // 1_000_000)
        return self._latest

    def _tick(self, db: sqlite3.Connection) -> int:
        """The store's time, kept in the file; what is over is cleaned up once a minute."""
        latest, cleaned = db.execute("SELECT latest, cleaned FROM clock").fetchone()
        now = self._latest = max(int(latest), self.now())
        if now - cleaned > _CLEAN_EVERY:
            db.execute("DELETE FROM counters WHERE until < ? AND held = 0", (now - _KEEP,))
            db.execute("DELETE FROM swept WHERE call IN (SELECT call FROM done WHERE at < ?)", (now - _DONE_FOR,))
            db.execute("DELETE FROM done WHERE at < ?", (now - _DONE_FOR,))
            db.execute("DELETE FROM once WHERE until < ?", (now,))
            cleaned = now
        db.execute("UPDATE clock SET latest = ?, cleaned = ?", (now, cleaned))
        return now

    # The contract -----------------------------------------------------------------------------------------------

    def reserve(self, call: str, asks: Sequence[BudgetAsk], lease: float) -> BudgetRefusal | WindowOver | None:
        with self._transaction() as db:
            now = self._tick(db)
            self._sweep(db, now)
            refused = _misfit(db, asks, now)
            if refused is None:
                _hold(db, call, asks)
                db.execute("INSERT OR REPLACE INTO leases VALUES (?, ?)", (call, now + round(lease * 1000)))
            return refused

    def extend(self, call: str, asks: Sequence[BudgetAsk]) -> BudgetRefusal | None:
        with self._transaction() as db:
            if _settled(db, call):
                return None
            refused = _misfit(db, asks, None)
            if isinstance(refused, BudgetRefusal):
                return refused
            _hold(db, call, asks)
            db.execute("INSERT OR IGNORE INTO leases VALUES (?, ?)", (call, self.now() + _DONE_FOR // 24))
        return None

    def settle(self, call: str, charges: Sequence[BudgetCharge]) -> tuple[int, ...] | None:
        with self._transaction() as db:
            if _settled(db, call):
                return None
            db.execute("INSERT INTO done VALUES (?, ?)", (call, self.now()))
            _unhold(db, call)
            _add(db, charges)
            for series, bucket, amount in db.execute(
                "SELECT series, bucket, amount FROM swept WHERE call = ?", (call,)
            ).fetchall():
                _lose(db, series, bucket, -amount, -1)
            db.execute("DELETE FROM swept WHERE call = ?", (call,))
            return tuple(_sums(db, one.series, one.bucket, one.span)[0] for one in charges)

    def release(self, call: str) -> bool:
        return self.settle(call, ()) is not None

    def withdraw(self, call: str) -> None:
        with self._transaction() as db:
            _unhold(db, call)

    def once(self, key: str, until: int) -> bool:
        with self._transaction() as db:
            row = db.execute("SELECT until FROM once WHERE key = ?", (key,)).fetchone()
            if row is not None and row[0] > self.now():
                return False
            db.execute("INSERT OR REPLACE INTO once VALUES (?, ?)", (key, until))
            return True

    def renew(self, calls: Iterable[str], lease: float) -> None:
        with self._transaction() as db:
            until = self.now() + round(lease * 1000)
            db.executemany("UPDATE leases SET until = ? WHERE call = ?", [(until, call) for call in calls])

    def read(self, series: str, bucket: int, span: int) -> WindowSpend:
        with self._transaction() as db:
            self._sweep(db, self._tick(db))
            row = db.execute(
                "SELECT total(spent), total(held), total(lost), total(lost_calls) FROM counters"
                " WHERE series = ? AND bucket > ? AND bucket <= ?",
                (series, bucket - span, bucket),
            ).fetchone()
            return WindowSpend(*map(int, row))

    def charge(self, charges: Sequence[BudgetCharge]) -> None:
        with self._transaction() as db:
            _add(db, charges)

    def reset(self, series: str) -> None:
        with self._transaction() as db:
            db.execute("UPDATE counters SET spent = 0, lost = 0, lost_calls = 0 WHERE series = ?", (series,))

    def series(self, prefix: str) -> list[str]:
        with self._transaction() as db:
            end = prefix + "\U0010ffff"
            rows = db.execute("SELECT DISTINCT series FROM counters WHERE series >= ? AND series < ?", (prefix, end))
            return sorted(name for (name,) in rows)

    def close(self) -> None:
        db = getattr(self._local, "db", None)
        if db is not None:
            db.close()
            self._local = threading.local()

    def _sweep(self, db: sqlite3.Connection, now: int) -> None:
        """End the holds whose lease is over, and charge what each is given as lost."""
        dead = db.execute("SELECT call FROM leases WHERE until <= ? ORDER BY until LIMIT ?", (now, _SWEPT)).fetchall()
        for (call,) in dead:
            rows = db.execute("SELECT series, bucket, lost FROM holds WHERE call = ?", (call,)).fetchall()
            for series, bucket, lost in rows:
                _lose(db, series, bucket, lost, 1)
                db.execute(
                    "INSERT INTO swept VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
                    (call, series, bucket, lost),
                )
            _unhold(db, call)


# Steps of a transaction ---------------------------------------------------------------------------------------------


def _sums(db: sqlite3.Connection, series: str, bucket: int, span: int) -> tuple[int, int, int | None]:
    # SUM of integers is exact, and raises on overflow.
    row: Any = db.execute(
        "SELECT ifnull(sum(spent), 0), ifnull(sum(held), 0), min(bucket) FROM counters"
        " WHERE series = ? AND bucket > ? AND bucket <= ? AND (spent <> 0 OR held <> 0)",
        (series, bucket - span, bucket),
    ).fetchone()
    return row[0], row[1], row[2]


def _misfit(db: sqlite3.Connection, asks: Sequence[BudgetAsk], now: int | None) -> BudgetRefusal | WindowOver | None:
    for place, ask in enumerate(asks):
        if now is not None and not ask.start <= now < ask.end:
            return WindowOver(now)
        spent, held, oldest = _sums(db, ask.series, ask.bucket, ask.span)
        left = ask.limit - spent - held
        if ask.amount > left or left <= 0:
            return BudgetRefusal(place, spent, held, oldest)
    return None


def _hold(db: sqlite3.Connection, call: str, asks: Sequence[BudgetAsk]) -> None:
    for ask in asks:
        db.execute(
            "INSERT INTO counters(series, bucket, until, held) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET held = held + excluded.held",
            (ask.series, ask.bucket, ask.until, ask.amount),
        )
        db.execute(
            "INSERT INTO holds VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET amount = amount + excluded.amount, lost = lost + excluded.lost",
            (call, ask.series, ask.bucket, ask.amount, ask.lost),
        )


def _unhold(db: sqlite3.Connection, call: str) -> None:
    for series, bucket, amount in db.execute(
        "SELECT series, bucket, amount FROM holds WHERE call = ?", (call,)
    ).fetchall():
        db.execute("UPDATE counters SET held = held - ? WHERE series = ? AND bucket = ?", (amount, series, bucket))
    db.execute("DELETE FROM holds WHERE call = ?", (call,))
    db.execute("DELETE FROM leases WHERE call = ?", (call,))


def _settled(db: sqlite3.Connection, call: str) -> bool:
    return db.execute("SELECT 1 FROM done WHERE call = ?", (call,)).fetchone() is not None


def _add(db: sqlite3.Connection, charges: Sequence[BudgetCharge]) -> None:
    db.executemany(
        "INSERT INTO counters(series, bucket, until, spent) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET spent = spent + excluded.spent",
        [(one.series, one.bucket, one.until, one.amount) for one in charges],
    )


def _lose(db: sqlite3.Connection, series: str, bucket: int, amount: int, calls: int) -> None:
    db.execute(
        "UPDATE counters SET spent = spent + ?, lost = lost + ?, lost_calls = lost_calls + ?"
        " WHERE series = ? AND bucket = ?",
        (amount, amount, calls, series, bucket),
    )
