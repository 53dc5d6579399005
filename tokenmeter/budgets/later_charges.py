"""Charges that are made on a thread of their own, since the store may wait: a file, a network.

Safe inside finalizers: jobs are handed over by a `queue.SimpleQueue`, and the thread is started when a call is asked
for, never when it ends.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue

from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import guard

__all__ = ["LaterCharges"]


class LaterCharges:
    """Runs jobs in order on one daemon thread."""

    def __init__(self) -> None:
        self.forked()
        on_fork(self)

    def forked(self) -> None:
        """In a child process: no thread, and none of the parent's jobs."""
        self._jobs: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._starting = threading.Lock()
        self._running = False

    def start(self) -> None:
        """Start the thread unless it runs. Never call this inside a finalizer."""
        if not self._running:
            with self._starting:
                if not self._running:
                    run = threading.Thread(target=self._run, args=(self._jobs,), name="tokenmeter-budgets", daemon=True)
                    run.start()
                    self._running = True

    def put(self, job: Callable[[], object]) -> None:
        """Run a job soon."""
        self._jobs.put(job)

    def flush(self, timeout: float) -> bool:
        """Wait until the jobs put so far have run; whether they have."""
        if not self._running and self._jobs.empty():
            return True
        done = threading.Event()
        self._jobs.put(done.set)
        self.start()
        return done.wait(timeout)

    def _run(self, jobs: SimpleQueue[Callable[[], object]]) -> None:
        while True:
            job = jobs.get()
            with guard("charging the budgets"):
                job()
            del job
