"""The ledger sink: a queue and a thread that write each settled call as a row of an SQLite file.

`write` hands the immutable record to a bounded queue; one background thread, started by the first record, prices
and serialises it and commits a batch every 0.1 s or every 500 records, whichever is sooner. That is the loss
window: a process killed outright loses at most what it settled since. A normal exit, `flush` and `close` lose
nothing.

A process's first record is committed at once. Loading the price book takes longer than the window, so it is loaded on
a thread of its own; records are written without a cost until then, and with it as soon as it is there.

While the file cannot be written (locked, full, read-only, damaged, newer) the records wait in the queue and
the writer tries again, less and less often. When the queue is full as well, `write` waits at most 5 ms for room,
once per standstill, then new calls are counted as lost; the count is written to the file as soon as it works, and
the report names it.

Several processes may write one file. A fork closes the file before and opens it after, on both sides: SQLite's
locks do not survive a fork. The child starts with an empty queue, because what waits belongs to the parent.

`write` may run inside the garbage collector (a forgotten stream settles there) on any thread, the writer's
included, so it touches nothing that is not re-entrant: no Event, Condition or Queue.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from opentelemetry import context

from tokenmeter._support.guard import guard
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger import process
from tokenmeter.ledger.file import LedgerFile, Loss
from tokenmeter.ledger.rows import row
from tokenmeter.record import Record

__all__ = ["COMMIT_EVERY", "COMMIT_RECORDS", "QUEUE_SIZE", "Ledger"]

COMMIT_EVERY: Final = 0.1
"""Seconds a record waits at most before it is committed, while the file can be written."""
COMMIT_RECORDS: Final = 500
"""Records that are committed at once."""
QUEUE_SIZE: Final = 10_000
"""Records that wait at most while the file cannot be written."""

_logger: Final = logging.getLogger("tokenmeter.ledger")
_PATIENCE: Final = 0.005  # seconds that `write` waits for room at the most
_RETRY: Final = (0.1, 30.0)  # seconds until the first and between the last attempts to write again
_EXIT: Final = 5.0  # seconds that the end of the process waits for the last commit
_FORK: Final = 2.0  # seconds that a fork waits for the commit in hand
_QUEUE_FULL: Final = "the queue was full while the file could not be written"
_NOT_STORED: Final = "the record could not be stored; the log says why"


class _Signal:
    """A binary semaphore on the interpreter's own lock, whose two ends are atomic and re-entrant."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        with suppress(RuntimeError):  # set already
            self._lock.release()

    def wait(self, seconds: float = -1) -> bool:
        """Wait for a `set` and take it; whether one came."""
        return self._lock.acquire(timeout=seconds)


class _Mark(_Signal):
    """A flush's place in the queue; `done` says whether everything before it was committed."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        super().__init__()
        self.done = False


class Ledger:
    """A sink that appends every record to an SQLite file, in the background.

    `path` is made absolute; the file and its tables are made by the first record. `queue_size` is how many records
    wait in memory while the file cannot be written. With `sync`, `write` returns when the record is committed, or the
    file is found not to take it: a process that is killed loses no call that it has gone on from. Raises
    ConfigurationError for a path that cannot be a file.
    """

    makes_calls: Final = False
    """It calls no model, so it also gets the records of calls that other sinks make."""

    def __init__(self, path: str | os.PathLike[str], *, queue_size: int = QUEUE_SIZE, sync: bool = False) -> None:
        name = os.fspath(path)
        if not isinstance(name, str) or not name or name == ":memory:" or "\0" in name:
            raise ConfigurationError(f"ledger: {path!r} cannot be a file; give a path such as 'spend.db'")
        if queue_size < 1:
            raise ConfigurationError(f"queue_size: {queue_size} leaves no room for a record; give 1 or more")
        self.path = os.path.abspath(os.path.expanduser(name))
        self.sync: Final = sync
        self._queue_size = queue_size
        self._begin()
        process.add(self)

    def _begin(self) -> None:
        """State of a fresh process: nothing waits, no thread, no connection."""
        self._queue: deque[Record | _Mark] = deque()
        self._rows: list[tuple[Any, ...]] = []  # taken from the queue, not yet committed
        self._early: list[Record] = []  # taken from the queue, and written without a cost: the book is being loaded
        self._early_written = 0
        self._book_is_loaded = False
        self._loading = False
        self._marks: list[_Mark] = []  # flushes that wait for those rows
        self._losses: list[Loss] = []
        self._losing = threading.RLock()
        self._file = LedgerFile(self.path)
        self._io = threading.Lock()  # held while the file is touched
        self._pricing = threading.Lock()  # held while rows are priced: modules and prices are loaded meanwhile
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = _Signal()
        self._hurry = _Signal()
        self._again = _Signal()
        self._idle = False
        self._stalled = False
        self._urgent = False
        self._closing = False
        self._ended = False
        self.written = 0
        self.lost = 0

    def write(self, record: Record) -> None:
        """Take one record, in a few microseconds; at most 5 ms when the queue is full, see the module."""
        if self._ended:
            self._write_now(record)
            return
        queued = len(self._queue)
        if queued + len(self._rows) + len(self._early) >= self._queue_size and not self._room(record):
            return
        self._queue.append(record)
        if self._idle:
            self._idle = False
            self._wake.set()
        elif queued == COMMIT_RECORDS:  # about once per batch; missing it costs a part of COMMIT_EVERY
            self._hurry.set()
        if self._thread is None:
            self._start()
        if self.sync and threading.current_thread() is not self._thread:
            self.flush()

    def flush(self, timeout: float = _EXIT) -> bool:
        """Commit everything taken so far within `timeout` seconds; whether that succeeded.

        Returns False at once when the file cannot be written for a reason that waiting does not mend.
        """
        if self._thread is None and not self._queue and not self._rows and not self._early:
            return True
        mark = _Mark()
        self._queue.append(mark)
        self._urgent = True
        self._rouse()
        if self._thread is None:
            self._start()
        return mark.wait(max(timeout, 0)) and mark.done

    def close(self, timeout: float = _EXIT) -> None:
        """Commit what waits, within `timeout` seconds; close file and thread. A later record reopens them."""
        thread = self._thread
        if thread is not None:
            self._closing = True
            self._rouse()
            thread.join(max(timeout, 0))
        if waiting := self._waiting():
            _logger.warning("%d calls are not in the ledger: %s", waiting, self._file.problem or "there was no time")

    def _waiting(self) -> int:
        return len(self._rows) + len(self._early) + sum(not isinstance(item, _Mark) for item in list(self._queue))

    def _rouse(self) -> None:
        """Let the writer go on from wherever it waits."""
        self._idle = False
        self._wake.set()
        self._hurry.set()
        self._again.set()

    def health(self) -> dict[str, Any]:
        """What this process did with the file: calls written, waiting and lost, and what is wrong, if anything."""
        return {
            "path": self.path,
            "written": self.written,
            "waiting": self._waiting(),
            "lost": self.lost,
            "problem": self._file.problem,
        }

    def __repr__(self) -> str:
        return f"Ledger({self.path!r})"

    def _room(self, record: Record) -> bool:
        """Wait a moment for room in a full queue; otherwise count the record as lost."""
        if not self._stalled:
            self._hurry.set()
            deadline = time.monotonic() + _PATIENCE
            while time.monotonic() < deadline:
                time.sleep(_PATIENCE / 5)
                if len(self._queue) + len(self._rows) + len(self._early) < self._queue_size:
                    return True
            self._stalled = True  # until the writer gets on, later calls do not wait
        self._lose(record.ended_ns // 1000, 1, _QUEUE_FULL)
        return False

    def _lose(self, at_us: int, calls: int, reason: str) -> None:
        with self._losing:
            self.lost += calls
            if self._losses and self._losses[-1].reason == reason:
                last = self._losses.pop()
                self._losses.append(last._replace(last_us=max(last.last_us, at_us), calls=last.calls + calls))
            else:
                self._losses.append(Loss(at_us, at_us, calls, reason))

    def _start(self) -> None:
        if not self._starting.acquire(blocking=False):
            return  # being started: the new thread looks into the queue first
        try:
            if self._thread is None:
                self._closing = False
                thread = threading.Thread(target=self._run, name="tokenmeter-ledger", daemon=True)
                with guard("starting the ledger's writer"):
                    process.end_with_child()
                    try:
                        thread.start()
                        self._thread = thread
                    except RuntimeError:  # no more threads: the interpreter is ending, or the system has none
                        self._drain(patient=False)
        finally:
            self._starting.release()

    def _run(self) -> None:
        # Our own statements are not the program's database calls: instrumentations of sqlite3 are suppressed.
        context.attach(context.set_value("suppress_instrumentation", True))
        while True:
            self._idle = True
            if not self._queue and not self._rows and not self._closing:
                self._wake.wait()
            self._idle = False
            if not self._urgent and not self._closing and (self.written or self._early):
                self._hurry.wait(COMMIT_EVERY)
            self._urgent = False
            with guard("writing the ledger"):
                self._drain()
            if self._closing and not self._early:
                break
        self._thread = None
        with self._io:
            self._file.let_go()
        if self._queue and self._file.problem is None:  # a record that came while this thread was ending
            self._start()

    def _drain(self, *, patient: bool = True) -> None:
        """Commit batch after batch until nothing waits; back off while the file cannot be written."""
        delay = _RETRY[0]
        while self._take():
            if self._commit():
                delay = _RETRY[0]
            elif not patient or (self._closing and self._file.problem is not None):
                return
            else:
                self._again.wait(delay)
                delay = min(delay * 2, _RETRY[1])

    def _take(self) -> bool:
        """Turn waiting records into rows, up to one batch; whether there is anything to commit."""
        queue = self._queue
        records: list[Record] = []
        while queue and len(self._rows) + len(records) < COMMIT_RECORDS:
            item = queue.popleft()
            if isinstance(item, _Mark):
                self._marks.append(item)
            else:
                records.append(item)
        records, self._early = self._early + records, []
        urgent = self._marks or self._closing or self._ended or len(records) >= COMMIT_RECORDS
        if not self._book_is_loaded and not urgent:
            self._early = records
            self._write_early()
            return bool(self._losses)
        self._early_written = 0
        self._book_is_loaded = True  # or it will be, by the first row
        for record in records:
            made = len(self._rows)
            with self._pricing, guard("making a row of the ledger"):
                self._rows.append(row(record))
            if len(self._rows) == made:
                self._lose(record.ended_ns // 1000, 1, _NOT_STORED)
        return bool(self._rows or self._marks or self._losses)

    def _write_early(self) -> None:
        """Write records without their cost, and have the price book loaded meanwhile."""
        new = self._early[self._early_written :]
        if new:
            with guard("making a row of the ledger"):
                rows = [row(record, priced=False) for record in new]
                with self._io:
                    if self._file.write(rows, ()) is not None:
                        self._early_written = len(self._early)
        if self._early and not self._loading:
            self._loading = True
            loader = threading.Thread(
                target=self._load_book, args=(self._early[0],), name="tokenmeter-prices", daemon=True
            )
            try:
                loader.start()
            except RuntimeError:  # no more threads
                self._load_book(self._early[0])

    def _load_book(self, record: Record) -> None:
        with self._pricing, guard("pricing a record for the ledger"):
            _ = record.cost
        self._book_is_loaded = True
        self._rouse()

    def _commit(self) -> bool:
        """Commit the batch in hand; on failure it stays in hand."""
        rows, reached = self._rows, self._marks
        # In trouble, flushes far back in the queue are answered by this attempt, too; not those that come during it.
        asked = [item for item in list(self._queue) if isinstance(item, _Mark)] if self._file.problem else []
        with self._losing:
            losses, self._losses = self._losses, []
        refused: int | None = 0
        if rows or losses:
            with self._io:
                refused = self._file.write(rows, losses)
        if refused is None:
            with self._losing:
                self._losses[:0] = losses
            if self._file.problem is not None:
                self._marks = []
                _answer([*reached, *asked], done=False)
            return False
        if refused:
            self._lose(time.time_ns() // 1000, refused, _NOT_STORED)
        self.written += len(rows) - refused
        self._rows = []
        self._stalled = False
        self._marks = []
        _answer(reached, done=True)
        return True

    def _write_now(self, record: Record) -> None:
        """Write on the caller's thread: the process is ending and there is no other."""
        self._queue.append(record)
        if not self._starting.acquire(blocking=False):
            return  # the garbage collector came here from inside a write, which goes on until the queue is empty
        try:
            with guard("writing the ledger at exit"):
                self._drain(patient=False)
                with self._io:
                    self._file.let_go()
        finally:
            self._starting.release()

    # How it lives through forks and the end of the process: called by `ledger_process` --------------------------

    def before_fork(self) -> bool:
        """Close the file and lock it, if the work in hand ends in time; whether it is locked.

        A child waits for ever for a module that another thread of its parent was importing: so pricing ends first.
        """
        until = time.monotonic() + _FORK
        if not self._pricing.acquire(timeout=_FORK):
            return False
        if not self._io.acquire(timeout=max(0.0, until - time.monotonic())):
            self._pricing.release()
            return False
        self._file.let_go()
        return True

    def after_fork_in_parent(self) -> None:
        """Unlock the file, locked since `before_fork`."""
        self._io.release()
        self._pricing.release()

    def after_fork_in_child(self) -> object:
        """Begin afresh. Returns what must be kept from being finalised: a connection not closed in time."""
        connection = self._file.abandon()
        self._begin()
        return connection

    def end(self) -> None:
        """Commit what waits; later records, of handlers that run after this, are written at once."""
        self.close(_EXIT)
        self._ended = True


def _answer(marks: Iterable[_Mark], *, done: bool) -> None:
    """Let flushes return."""
    for mark in marks:
        mark.done = done
        mark.set()
