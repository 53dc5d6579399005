"""The ledger sink: a queue and a thread that write each settled call as a row of an SQLite file.

`write` puts the immutable record into a bounded queue; one background thread, started by the first record, prices and
serialises what waits and commits it: at once if the last commit began more than 0.05 s before, else when that time is
over or 500 records wait. A process killed outright loses what it settled since. A normal exit, `flush` and `close`
lose nothing. The first records of a process are written before the price book is loaded (`first_records.py`).

While the file cannot be written (locked, full, read-only, damaged, newer) the records wait in the queue and
the writer tries again, less and less often. A full queue slows its callers down to the writer's pace: `write` waits
for room, 2 s at most. Where the file is known not to be written it does not wait, and the call is counted as lost; the
count is written to the file as soon as it works, and the report names it.

Several processes may write one file. A fork closes the file before and opens it after, on both sides: SQLite's
locks do not survive a fork. The child starts with an empty queue, because what waits belongs to the parent.

`write` may run inside the garbage collector (a forgotten stream settles there) on any thread, the writer's
included, so it touches nothing that is not re-entrant.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from typing import Any, Final

from opentelemetry import context

from tokenmeter._support.guard import guard
from tokenmeter.calls.usual_call import Settled
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger import process
from tokenmeter.ledger.batch import COMMIT_RECORDS, Batch, Waiting
from tokenmeter.ledger.wakeups import FlushMark, Wakeup

__all__ = ["COMMIT_EVERY", "COMMIT_RECORDS", "QUEUE_SIZE", "Ledger"]

COMMIT_EVERY: Final = 0.05
"""Seconds from one commit's beginning to the next: as long a record waits at most, while the file can be written.

A quarter of the window that is documented for a kill: the rest is for commits, and for a machine that is busy.
"""
QUEUE_SIZE: Final = 10_000
"""Records that wait at most; callers wait for room then, or lose the record where the file cannot be written."""

_logger: Final = logging.getLogger("tokenmeter.ledger")
_PATIENCE: Final = 2.0  # seconds that `write` waits for room: longer than the attempts that show a file to be locked
_TURN: Final = 0.002  # seconds between two commits without a pause, in which another process gets its turn
_NAP: Final = 0.001  # seconds between two looks for room
_RETRY: Final = (0.1, 30.0)  # seconds until the first and between the last attempts to write again
_EXIT: Final = 5.0  # seconds that the end of the process waits for the last commit
_FORK: Final = 2.0  # seconds that a fork waits for the commit in hand
_QUEUE_FULL: Final = "the queue was full while the file could not be written"
_TOO_SLOW: Final = "the queue was full, and the file took calls more slowly than they came"


class Ledger:
    """A sink that appends every record to an SQLite file, in the background.

    `path` is made absolute; the file and its tables are made by the first record. `queue_size` is how many records
    wait in memory before callers have to. With `sync`, `write` returns when the record is committed, or the
    file is found not to take it: a process that is killed loses no call that it has gone on from. Raises
    ConfigurationError for a path that cannot be a file.
    """

    makes_calls: Final = False
    """It calls no model, so it also gets the records of calls that other sinks make."""
    takes_usual: Final = True
    """The records of usual calls are made where the rows are."""

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
        self._queue: Waiting = deque()
        self._batch = Batch(self.path, self._rouse)
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wake = Wakeup()
        self._hurry = Wakeup()
        self._again = Wakeup()
        self._commit_began = float("-inf")
        self._idle = False
        self._stalled = False
        self._urgent = False
        self._closing = False
        self._ended = False

    def write(self, record: Settled) -> None:
        """Take one record, in a few microseconds; at most 2 s when the queue is full, see the module."""
        if self._ended:
            self._write_now(record)
            return
        queued = len(self._queue)
        if queued + COMMIT_RECORDS >= self._queue_size and self._is_full() and not self._room(record):
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
        if self._thread is None and not self._queue and not len(self._batch):
            return True
        mark = FlushMark()
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
            _logger.warning(
                "%d calls are not in the ledger: %s", waiting, self._batch.file.problem or "there was no time"
            )

    def _waiting(self) -> int:
        return len(self._batch) + sum(not isinstance(item, FlushMark) for item in list(self._queue))

    def _rouse(self) -> None:
        """Let the writer go on from wherever it waits."""
        self._idle = False
        self._wake.set()
        self._hurry.set()
        self._again.set()

    def health(self) -> dict[str, Any]:
        """What this process did with the file.

        Calls `written`, `waiting` and `lost` (`lost_by_reason` too), `commits` and the seconds that the last one took
        (None before the first), and what is wrong with the file, if anything, with the remedy.
        """
        return {
            "path": self.path,
            "written": self._batch.written,
            "waiting": self._waiting(),
            "lost": self._batch.losses.total,
            "lost_by_reason": dict(self._batch.losses.by_reason),
            "commits": self._batch.commits,
            "commit_seconds": self._batch.commit_seconds,
            "problem": self._batch.file.problem,
        }

    def same_as(self, other: Ledger) -> bool:
        """Whether another ledger would write the same, so that this one can be used on."""
        return type(self) is type(other) and (self.path, self.sync) == (other.path, other.sync)

    def __repr__(self) -> str:
        return f"Ledger({self.path!r})"

    def _is_full(self) -> bool:
        return len(self._queue) + len(self._batch) >= self._queue_size

    def _room(self, record: Settled) -> bool:
        """Wait for room in a full queue; where none comes, count the record as lost."""
        if threading.current_thread() is self._thread:
            return True  # the garbage collector, inside the writer, which makes room when it goes on
        file = self._batch.file
        if not self._stalled:
            self._hurry.set()
            until = time.monotonic() + _PATIENCE
            while file.problem is None and time.monotonic() < until:
                time.sleep(_NAP)
                if not self._is_full():
                    return True
            self._stalled = True  # until the writer gets on, later calls do not wait
            _logger.warning(
                "%d calls wait to be written to %s, and later ones are lost until it is written again: %s",
                self._queue_size,
                self.path,
                file.problem or "it takes calls more slowly than they come; name a file on a local disk",
            )
        self._batch.losses.add(record.ended_ns // 1000, 1, _TOO_SLOW if file.problem is None else _QUEUE_FULL)
        return False

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
            if not self._queue and not self._batch.holds_rows and not self._closing:
                self._wake.wait()
            self._idle = False
            self._pace()
            closing = self._closing
            with guard("writing the ledger"):
                self._drain()
            if closing and not self._batch.awaits_book:
                break
        self._thread = None
        self._let_go()
        if self._queue and self._batch.file.problem is None:  # a record that came while this thread was ending
            self._start()

    def _pace(self) -> None:
        """Wait until `COMMIT_EVERY` after the beginning of the last commit, unless a flush or a full batch is there."""
        left = self._commit_began + COMMIT_EVERY - time.monotonic()
        if left > 0 and not (self._urgent or self._closing or len(self._queue) >= COMMIT_RECORDS):
            self._hurry.wait(left)
        self._commit_began = time.monotonic()

    def _drain(self, *, patient: bool = True) -> None:
        """Commit a batch, or for a flush and at the end all that waits; back off while the file cannot be written."""
        everything = self._urgent or self._closing or not patient
        self._urgent = False
        batch, delay = self._batch, _RETRY[0]
        while batch.fill(self._queue, ending=self._closing or self._ended):
            if batch.commit(self._queue):
                self._stalled, delay = False, _RETRY[0]
                if not everything and len(self._queue) < COMMIT_RECORDS:
                    return
                if self._queue:
                    time.sleep(_TURN)
            elif not patient or (self._closing and batch.file.problem is not None and not batch.file.locked):
                return
            else:
                self._again.wait(delay)
                delay = min(delay * 2, _RETRY[1])

    def _let_go(self) -> None:
        with self._batch.io:
            self._batch.file.let_go()

    def _write_now(self, record: Settled) -> None:
        """Write on the caller's thread: the process is ending and there is no other."""
        self._queue.append(record)
        if not self._starting.acquire(blocking=False):
            return  # the garbage collector came here from inside a write, which goes on until the queue is empty
        try:
            with guard("writing the ledger at exit"):
                self._drain(patient=False)
                self._let_go()
        finally:
            self._starting.release()

    # How it lives through forks and the end of the process: called by `process` --------------------------

    def before_fork(self) -> bool:
        """Close the file and lock it, if the work in hand ends in time; whether it is locked.

        A child waits for ever for a module that another thread of its parent was importing: so pricing ends first.
        """
        until = time.monotonic() + _FORK
        if not self._batch.pricing.acquire(timeout=_FORK):
            return False
        if not self._batch.io.acquire(timeout=max(0.0, until - time.monotonic())):
            self._batch.pricing.release()
            return False
        self._batch.file.let_go()
        return True

    def after_fork_in_parent(self) -> None:
        """Unlock the file, locked since `before_fork`."""
        self._batch.io.release()
        self._batch.pricing.release()

    def after_fork_in_child(self) -> object:
        """Begin afresh. Returns what must be kept from being finalised: a connection not closed in time."""
        connection = self._batch.file.abandon()
        self._begin()
        return connection

    def end(self) -> None:
        """Commit what waits; later records, of handlers that run after this, are written at once."""
        self.close(_EXIT)
        self._ended = True
