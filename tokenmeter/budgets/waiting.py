"""The queue of calls that wait until others settle: fair, and only the first of them asks the store."""

from __future__ import annotations

import threading
import time
from collections import deque

__all__ = ["Ticket"]


class Ticket:
    """A place in the queue of calls that wait for one series: only the first of them asks the store."""

    def __init__(self, waiting: dict[str, deque[object]], lock: threading.Lock) -> None:
        self._waiting = waiting
        self._lock = lock
        self._series: str | None = None
        self._until = 0.0

    @property
    def first(self) -> bool:
        queue = self._waiting.get(self._series) if self._series is not None else None
        return queue is None or queue[0] is self

    @property
    def left(self) -> float:
        """Seconds for which the call may still wait."""
        return self._until - time.monotonic() if self._series is not None else 0.0

    def join(self, series: str, wait: float) -> None:
        """Take a place, unless the call has one."""
        if self._series is None:
            with self._lock:
                self._series = series
                self._until = time.monotonic() + wait
                self._waiting.setdefault(series, deque()).append(self)

    def leave(self) -> None:
        if self._series is not None:
            with self._lock:
                queue = self._waiting[self._series]
                queue.remove(self)
                if not queue:
                    del self._waiting[self._series]
