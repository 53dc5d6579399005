"""The ledger sink of a fleet: a file that is written first, and shipped into the database by a thread of its own.

The metered call sees the file alone, so a database that is away costs it nothing: calls wait in the file, and are
deleted there some time after the database has them. Of the processes that write one file, one ships it. What is there
when the last one ends is shipped by the next that writes, or by `tokenmeter ledger ship`.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final

from opentelemetry import context

from tokenmeter._support.guard import guard
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.fleet.database import FleetError, shown
from tokenmeter.ledger.fleet.engines import engine_of
from tokenmeter.ledger.fleet.shipping import Shipper
from tokenmeter.ledger.schema import EmptyLedgerError, LedgerError
from tokenmeter.ledger.writer import Ledger

__all__ = ["KEPT", "SpooledLedger", "default_spool"]

KEPT: Final = 10_000
"""Calls that stay in the file after they were shipped: a response that is recorded again soon is found there."""

_logger: Final = logging.getLogger("tokenmeter.ledger")
_EVERY: Final = 1.0  # seconds between two looks at the file
_TURN: Final = 5.0  # seconds until a process looks whether the one that ships has ended
_RETRY: Final = (1.0, 60.0)  # seconds until the first and between the last attempts
_EXIT: Final = 3.0  # seconds that the end of the process waits for the database
_FORK: Final = 2.0  # seconds that a fork waits for a glance into the file


def default_spool(url: str) -> str:
    """The file in which calls wait for a database: in the user's folder for state, one for each database."""
    folder = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    name = hashlib.blake2b(shown(url).encode(), digest_size=6).hexdigest()
    return str(Path(folder).expanduser() / "tokenmeter" / f"spool-{name}.db")


class SpooledLedger(Ledger):
    """A ledger in a database of a fleet; `spool` is the file in which calls wait for it.

    Raises ConfigurationError for a file that cannot be, and where the driver of the database is missing.
    """

    def __init__(self, url: str, spool: str | None = None, *, sync: bool = False) -> None:
        self.url: Final = url
        path = spool or default_spool(url)
        if spool is None:
            with guard("making the folder of the spool"):
                Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        engine_of(url).check_driver()
        super().__init__(path, sync=sync)

    def _begin(self) -> None:
        super()._begin()
        self._shipping = _Shipping(self.path, self.url)

    def _start(self) -> None:
        super()._start()
        self._shipping.start()

    def close(self, timeout: float = 5.0) -> None:
        """Commit what waits, then ship it, within `timeout` seconds; what is not shipped stays in the file."""
        until = time.monotonic() + timeout
        super().close(timeout)
        self._shipping.close(min(_EXIT, max(0.0, until - time.monotonic())))

    def health(self) -> dict[str, Any]:
        """That of the file, and what this process `shipped` to the `database`, with what is wrong with that.

        `spooled` calls of the file were not taken by the database at the last try to ship them; None where another
        process ships.
        """
        shipping = self._shipping
        database = {
            "database": shown(self.url),
            "shipped": shipping.shipped,
            "spooled": shipping.spooled,
            "database_problem": shipping.problem,
        }
        return super().health() | database

    def same_as(self, other: Ledger) -> bool:
        """Whether another ledger would write the same, into the same database."""
        return super().same_as(other) and isinstance(other, SpooledLedger) and self.url == other.url

    def __repr__(self) -> str:
        return f"SpooledLedger({shown(self.url)!r}, {self.path!r})"

    def before_fork(self) -> bool:
        """Close the file on both threads; whether it is locked."""
        if not self._shipping.before_fork():
            return False
        if super().before_fork():
            return True
        self._shipping.after_fork_in_parent()
        return False

    def after_fork_in_parent(self) -> None:
        """Unlock the file."""
        super().after_fork_in_parent()
        self._shipping.after_fork_in_parent()

    def after_fork_in_child(self) -> object:
        """Begin afresh; the connections of the parent are neither used nor finalised."""
        kept = self._shipping.abandon()
        return kept, super().after_fork_in_child()


class _Shipping:
    """The thread that ships one file, if no other process does."""

    def __init__(self, path: str, url: str) -> None:
        self.shipped = 0
        self.spooled: int | None = None
        self.problem: str | None = None
        self._reached: int | None = None
        self._path = path
        self._url = url
        self._io = threading.Lock()
        self._starting = threading.Lock()
        self._wake = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._shipper: Shipper | None = None
        self._turn: int | None = None

    def start(self) -> None:
        """Start the thread, if it does not run; one that is ending goes on."""
        self._closing = False
        if not self._starting.acquire(blocking=False):
            return
        try:
            if self._thread is None:
                self._wake.clear()
                thread = threading.Thread(target=self._run, name="tokenmeter-ship", daemon=True)
                with guard("starting the shipper of the ledger"):
                    try:
                        thread.start()
                        self._thread = thread
                    except RuntimeError:  # the interpreter is ending: what is in the file stays there
                        pass
        finally:
            self._starting.release()

    def close(self, timeout: float) -> None:
        """Ship what is in the file, within `timeout` seconds, and end the thread."""
        thread = self._thread
        if thread is not None:
            self._closing = True
            self._wake.set()
            thread.join(timeout)

    def before_fork(self) -> bool:
        """Close the file, if no glance into it takes long; whether it is locked."""
        if not self._io.acquire(timeout=_FORK):
            return False
        if self._shipper is not None:
            self._shipper.file.let_go()
        return True

    def after_fork_in_parent(self) -> None:
        """Unlock the file."""
        self._io.release()

    def abandon(self) -> object:
        """What the parent goes on using; the turn is the parent's, too."""
        if self._turn is not None:
            os.close(self._turn)
        return self._shipper

    def _run(self) -> None:
        # Our own statements are not the program's database calls.
        context.attach(context.set_value("suppress_instrumentation", True))
        with self._own_turn() as mine:
            if mine:
                self._ship_until_closed()
        self._thread = None

    @contextmanager
    def _own_turn(self) -> Iterator[bool]:
        """Wait until no other process ships the file; False where the end of this one came first."""
        self._turn = _lock(f"{self._path}-ship")
        while self._turn is None and not self._closing:
            self._wake.wait(_TURN)
            self._turn = _lock(f"{self._path}-ship")
        try:
            yield self._turn is not None
        finally:
            turn, self._turn = self._turn, None
            if turn is not None:
                os.close(turn)

    def _ship_until_closed(self) -> None:
        delay = _RETRY[0]
        while True:
            last = self._closing
            done = False
            with guard("shipping the ledger"):
                done = self._ship()
            with guard("counting the calls of the spool"):
                self.spooled = self._count()
            if last or (self._closing and not done):
                break
            delay = _RETRY[0] if done else min(delay * 2, _RETRY[1])
            self._wake.wait(_EVERY if done else delay)
        self._let_go()

    def _ship(self) -> bool:
        """Ship all that is in the file; False where that failed."""
        if not os.path.exists(self._path):
            return True  # nothing was written yet
        try:
            shipper = self._shipper = self._shipper or Shipper(self._path, self._url, io=self._io)
            shipper.file.check()
            while shipper.step():
                self._reached = shipper.reached
                self.shipped += shipper.done.read
                shipper.done.read = 0
                for call in shipper.done.refused:
                    _logger.warning(
                        "call %s is counted as lost: %s refuses it: %s", call.id, shown(self._url), call.why
                    )
                shipper.done.refused.clear()
            self._reached = shipper.reached
            shipper.forget_shipped(KEPT)
        except EmptyLedgerError:
            return True  # it is being made
        except (LedgerError, ConfigurationError) as error:
            self._failed(error)
            return False
        if self.problem is not None:
            _logger.warning("%s takes calls again", shown(self._url))
        self.problem = None
        return True

    def _count(self) -> int:
        """How many calls of the file the database has not taken, as far as is known."""
        import sqlite3

        if not os.path.exists(self._path):
            return 0
        with self._io, closing(sqlite3.connect(f"{Path(self._path).as_uri()}?mode=ro", uri=True)) as connection:
            try:
                query = "SELECT count(*) FROM call_rows WHERE seq > ?"
                found: int = connection.execute(query, (self._reached or 0,)).fetchone()[0]
            except sqlite3.OperationalError:  # it is being made
                return 0
            return found

    def _failed(self, error: Exception) -> None:
        self._let_go()
        problem = str(error)
        kind = "does not answer" if isinstance(error, FleetError) and error.away else problem
        if kind != self._said():
            _logger.warning("the ledger is not shipped: %s. Calls wait in %s", problem, self._path)
        self.problem = problem

    def _said(self) -> str | None:
        if self.problem is not None and "does not answer" in self.problem:
            return "does not answer"
        return self.problem

    def _let_go(self) -> None:
        shipper, self._shipper = self._shipper, None
        if shipper is not None:
            shipper.close()


def _lock(path: str) -> int | None:
    """A descriptor that keeps other processes from shipping as long as it is open; None if another one has it."""
    try:
        import fcntl
    except ImportError:  # Windows: the database keeps shippers apart, by the place of the file
        return os.open(os.devnull, os.O_RDONLY)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
