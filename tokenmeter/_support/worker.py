"""`worker`: the one background thread of the process, for work that must not run where it arises.

Streams end inside finalizers, where no lock may be taken and no thread started; counting a long text would hold up
the caller's event loop; scopes wait for a deadline. All three put a job here. `put` and `after` are safe everywhere,
a finalizer included: they append to a `queue.SimpleQueue`, which is re-entrant. `start` is called where a thread may
be started: when a body is opened, a scope lingers, or a count is handed over.

The thread is a daemon and holds nothing that a fork could break: a child starts its own.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Final

from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import guard

__all__ = ["Worker", "worker"]

_Job = Callable[[], object]
_LAST: Final = 1e18


class Worker:
    """Runs jobs one after another on a thread of its own, at once or after a delay."""

    def __init__(self) -> None:
        self.forked()
        on_fork(self)

    def forked(self) -> None:
        """In a child process: no thread, and none of the parent's jobs."""
        self.running = False
        self.ended = False
        self._starting = threading.Lock()
        self._jobs: SimpleQueue[tuple[float, int, _Job]] = SimpleQueue()
        self._order = itertools.count()

    def put(self, job: _Job) -> None:
        """Run a job as soon as possible. Safe inside a finalizer."""
        self._jobs.put((0.0, next(self._order), job))

    def after(self, seconds: float, job: _Job) -> None:
        """Run a job in so many seconds. Safe inside a finalizer."""
        self._jobs.put((time.monotonic() + seconds, next(self._order), job))

    @property
    def waiting(self) -> bool:
        """Whether jobs are there that no thread has taken."""
        return not self._jobs.empty()

    def start(self) -> bool:
        """Start the thread unless it runs; whether it runs. Never call this inside a finalizer."""
        if self.running:
            return True
        with self._starting:
            if not self.running and not self.ended:
                thread = threading.Thread(target=self._run, args=(self._jobs,), name="tokenmeter", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the system has no more threads, or the interpreter is ending
                    return False
                self.running = True
        return self.running

    def end(self, timeout: float = 2.0) -> None:
        """Run the jobs that wait, those before their time too, and start no thread again: the interpreter ends.

        Jobs that are put later are not run: callers do their own work from now on.
        """
        running, self.ended, self.running = self.running, True, False
        done = threading.Event()
        self._jobs.put((_LAST, next(self._order), done.set))
        if not running:
            self._run_due(self._jobs, [])
        done.wait(timeout)

    def _run(self, jobs: SimpleQueue[tuple[float, int, _Job]]) -> None:
        later: list[tuple[float, int, _Job]] = []
        try:
            while True:
                self._run_due(jobs, later)
        finally:
            self.running = False  # only what the guard lets through ends the thread: `start` begins another

    def _run_due(self, jobs: SimpleQueue[tuple[float, int, _Job]], later: list[tuple[float, int, _Job]]) -> None:
        """Wait for the next job, new or due, and run all that are due."""
        with suppress(Empty):  # the first of those that wait is due
            heapq.heappush(later, jobs.get(timeout=_wait(later)))
            while self.ended:
                heapq.heappush(later, jobs.get_nowait())
        while later and (self.ended or later[0][0] <= time.monotonic()):
            job = heapq.heappop(later)[2]
            with guard("working in the background"):
                job()
            del job  # while the thread waits it keeps nothing alive


def _wait(later: list[tuple[float, int, _Job]]) -> float | None:
    """Seconds until the first delayed job is due; None where there is none."""
    return max(0.0, later[0][0] - time.monotonic()) if later else None


worker: Final = Worker()
