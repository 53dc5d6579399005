"""Wake-ups between the callers of a ledger and its writer, and the marks by which `flush` waits.

A ledger is written to inside the garbage collector too, on any thread, the writer's included, so these touch nothing
that is not re-entrant: no Event, Condition or Queue.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from contextlib import suppress

__all__ = ["FlushMark", "Wakeup", "answer"]


class Wakeup:
    """A binary semaphore on the interpreter's own lock, whose two ends are atomic and re-entrant."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Let one `wait` return, now or later; a second `set` before it changes nothing."""
        with suppress(RuntimeError):  # set already
            self._lock.release()

    def wait(self, seconds: float = -1) -> bool:
        """Wait for a `set` and take it; whether one came."""
        return self._lock.acquire(timeout=seconds)


class FlushMark(Wakeup):
    """A flush's place in the queue; `done` says whether everything before it was committed."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        super().__init__()
        self.done = False


def answer(marks: Iterable[FlushMark], *, done: bool) -> None:
    """Let flushes return."""
    for mark in marks:
        mark.done = done
        mark.set()
