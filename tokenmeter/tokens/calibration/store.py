"""Stores of calibration pairs: in memory, or in an SQLite file that several processes may share.

Numbers and names only. A pair is one row, written in one transaction together with the removal of those that are too
many, so a process that dies leaves the file as it was before or after. The connection lives as long as one operation:
at most one a second is written, and nothing has to be handed over a fork or between threads.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from tokenmeter._support.private_file import create_private
from tokenmeter.errors import ConfigurationError
from tokenmeter.tokens.calibration.fit import WINDOW, Pair

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Change", "FileStore", "Key", "MemoryStore", "Store"]


class Key(NamedTuple):
    """What is learnt apart: a part of calls of one model, in one script.

    Parts are `input` (text alone), `input_tools`, `input_media`, `output` (text alone) and `output_calls`.

    `counted_by` names the version, family and method of our count: pairs counted otherwise do not compare.
    """

    provider: str
    model: str
    script: str
    part: str
    counted_by: str


class Change(NamedTuple):
    """From an instant on (microseconds since the epoch) calls are counted otherwise; pairs before it are not used.

    `noted` says that there were pairs enough before it to tell the vendor's change from one of the program's calls.
    """

    key: Key
    at: int
    noted: bool = True


class Store(Protocol):
    """Keeps pairs by key. Called from any thread, by one at a time; a store shared by processes sees to that itself."""

    def load(self) -> tuple[dict[Key, list[Pair]], list[Change]]:
        """Everything kept, pairs oldest first and only those since their key's last change."""

    def add(self, key: Key, pair: Pair) -> list[Pair]:
        """Keep a pair; the pairs of its key as `load` would give them, those of other processes included."""

    def mark(self, change: Change) -> bool:
        """Keep a change; False where it is known already."""

    def forget(self, model: str | None = None) -> int:
        """Remove all pairs and changes, or those of one model; how many pairs there were."""


class MemoryStore:
    """Pairs of this process, gone with it."""

    def __init__(self) -> None:
        self._pairs: dict[Key, list[Pair]] = {}
        self._changes: dict[Change, None] = {}

    def load(self) -> tuple[dict[Key, list[Pair]], list[Change]]:
        """Everything kept."""
        return {key: list(pairs) for key, pairs in self._pairs.items()}, list(self._changes)

    def add(self, key: Key, pair: Pair) -> list[Pair]:
        """Keep a pair; those of its key."""
        pairs = self._pairs[key] = sorted([*self._pairs.get(key, ()), pair], key=lambda one: one.at)[-WINDOW:]
        return list(pairs)

    def mark(self, change: Change) -> bool:
        """Keep a change, and only the pairs since."""
        if change in self._changes:
            return False
        self._changes[change] = None
        pairs = self._pairs.get(change.key, [])
        self._pairs[change.key] = [pair for pair in pairs if pair.at >= change.at]
        return True

    def forget(self, model: str | None = None) -> int:
        """Remove what is kept."""
        gone = [key for key in self._pairs if model is None or key.model == model]
        self._changes = {one: None for one in self._changes if model is not None and one.key.model != model}
        return sum(len(self._pairs.pop(key)) for key in gone)


_VERSION: Final = 2
_KEY: Final = "provider, model, script, part, counted_by"
_SCHEMA: Final = f"""
CREATE TABLE pairs ({_KEY.replace(",", " TEXT NOT NULL,")} TEXT NOT NULL,
    at INTEGER NOT NULL, counted INTEGER NOT NULL, reported INTEGER NOT NULL, inside INTEGER NOT NULL,
    own INTEGER);
CREATE INDEX pairs_by_key ON pairs ({_KEY}, at);
CREATE TABLE changes ({_KEY.replace(",", " TEXT NOT NULL,")} TEXT NOT NULL, at INTEGER NOT NULL,
    noted INTEGER NOT NULL, PRIMARY KEY ({_KEY}, at));
PRAGMA user_version = {_VERSION};
"""
_OF_KEY: Final = "provider = ? AND model = ? AND script = ? AND part = ? AND counted_by = ?"
_PATIENCE: Final = 5.0  # seconds to wait for another process's transaction, which takes milliseconds


class FileStore:
    """Pairs in an SQLite file; made where there is none.

    Raises ConfigurationError naming the file where it cannot be made, read, or is something else.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = True) -> None:
        self.path = Path(path).expanduser()
        there = self.path.exists()
        if not create and not there:
            raise ConfigurationError(f"calibration file {self.path} is not there")
        with self._open(writing=not there):
            pass

    @contextlib.contextmanager
    def _open(self, *, writing: bool = True) -> Iterator[sqlite3.Connection]:
        import sqlite3

        try:
            if writing:
                create_private(str(self.path))
            with contextlib.closing(sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)) as connection:
                # What was learnt elsewhere may lie on a disk that cannot be written.
                connection.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
                self._check(connection)
                yield connection
                connection.execute("COMMIT")
        except OSError as error:
            raise ConfigurationError(f"calibration file {self.path}: {error.strerror}") from None
        except sqlite3.Error as error:
            raise ConfigurationError(f"calibration file {self.path}: {error}") from None

    def _check(self, connection: sqlite3.Connection) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == _VERSION:
            return
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        if version or tables:
            raise ConfigurationError(
                f"calibration file {self.path} is another program's database, or of another version; name another file"
            )
        for statement in _SCHEMA.split(";"):
            connection.execute(statement)

    def load(self) -> tuple[dict[Key, list[Pair]], list[Change]]:
        """Everything kept."""
        pairs: dict[Key, list[Pair]] = {}
        with self._open(writing=False) as connection:
            kept: Iterable[tuple[Any, ...]] = connection.execute(
                f"SELECT at, counted, reported, inside, own, {_KEY} FROM pairs ORDER BY at, rowid"  # noqa: S608 - constants
            )
            for row in kept:
                pairs.setdefault(Key(*row[5:]), []).append(_pair(row))
            rows: Iterable[tuple[str, str, str, str, str, int, int]] = connection.execute(
                f"SELECT {_KEY}, at, noted FROM changes ORDER BY at"  # noqa: S608 - constants
            )
            changes = [Change(Key(*row[:5]), row[5], bool(row[6])) for row in rows]
        return pairs, changes

    def add(self, key: Key, pair: Pair) -> list[Pair]:
        """Keep a pair and the newest ones beside it; those of its key."""
        with self._open() as connection:
            connection.execute("INSERT INTO pairs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (*key, *pair))
            rows = connection.execute(
                f"SELECT at, counted, reported, inside, own, rowid FROM pairs WHERE {_OF_KEY} ORDER BY at, rowid",  # noqa: S608 - constants
                key,
            ).fetchall()
            connection.executemany("DELETE FROM pairs WHERE rowid = ?", [row[5:] for row in rows[:-WINDOW]])
        return list(map(_pair, rows[-WINDOW:]))

    def mark(self, change: Change) -> bool:
        """Keep a change, and only the pairs since."""
        with self._open() as connection:
            done = connection.execute(
                "INSERT OR IGNORE INTO changes VALUES (?, ?, ?, ?, ?, ?, ?)", (*change.key, *change[1:])
            )
            connection.execute(f"DELETE FROM pairs WHERE {_OF_KEY} AND at < ?", (*change.key, change.at))  # noqa: S608 - constants
            return done.rowcount > 0

    def forget(self, model: str | None = None) -> int:
        """Remove what is kept."""
        where, values = ("", ()) if model is None else (" WHERE model = ?", (model,))
        with self._open() as connection:
            connection.execute(f"DELETE FROM changes{where}", values)  # noqa: S608 - constants
            return connection.execute(f"DELETE FROM pairs{where}", values).rowcount  # noqa: S608 - constants


def _pair(row: tuple[Any, ...]) -> Pair:
    at, counted, reported, inside, own = row[:5]
    return Pair(at, counted, reported, bool(inside), own)
