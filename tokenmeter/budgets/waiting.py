"""The queue of calls that wait until others settle: fair, and only the first of them asks the store, now and then."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

from tokenmeter.budgets.contract import BudgetRefusal

__all__ = ["Ticket", "WaitQueue"]

_POLL: Final = 0.1
"""Seconds between two questions to the store, of all who wait for one series in this process."""
_EARLY: Final = 0.05
"""The last question is asked so many seconds before a call's time is over, or a tenth of its time."""


class WaitQueue:
    """Those who wait for one series, in order."""

    def __init__(self) -> None:
        self.tickets: deque[Ticket] = deque()
        self.ask_at = 0.0
        """When the store may be asked again (monotonic)."""
        self.refusal: BudgetRefusal | None = None
        """What the store said when it was asked last."""


class Ticket:
    """A place in the queue of calls that wait for one series."""

    def __init__(self, waiting: dict[str, WaitQueue], lock: threading.Lock) -> None:
        self._waiting = waiting
        self._lock = lock
        self._queue: WaitQueue | None = None
        self._until = 0.0
        self.series: str | None = None
        """What the call waits for; None where it does not wait."""

    @property
    def left(self) -> float:
        """Seconds for which the call may still wait."""
        return self._until - time.monotonic() if self._queue is not None else 0.0

    @property
    def pause(self) -> float:
        """Seconds until the call may ask the store, or look again; 0 where it may now, or its time is over."""
        left = self.left
        if self._queue is None or left <= 0:
            return 0.0
        first = self._queue.tickets[0] is self
        return min(left, max(0.0, self._queue.ask_at - time.monotonic()) if first else _POLL)

    @property
    def refusal(self) -> BudgetRefusal | None:
        """What the store said last, where this call's time is over and it may not ask once more."""
        if self._queue is None or self.left > 0:
            return None
        may_ask = self._queue.tickets[0] is self and self._queue.ask_at <= time.monotonic()
        return None if may_ask else self._queue.refusal

    def join(self, series: str, wait: float) -> None:
        """Take a place, unless the call has one."""
        if self._queue is None:
            with self._lock:
                self.series = series
                self._until = time.monotonic() + wait - min(_EARLY, wait / 10)
                self._queue = self._waiting.setdefault(series, WaitQueue())
                self._queue.tickets.append(self)

    def refused(self, refusal: BudgetRefusal) -> None:
        """The store was asked, and the call does not fit yet."""
        if self._queue is not None:
            self._queue.refusal = refusal
            self._queue.ask_at = time.monotonic() + _POLL

    def leave(self) -> None:
        if self._queue is not None and self.series is not None:
            with self._lock:
                self._queue.tickets.remove(self)
                if not self._queue.tickets and self._waiting.get(self.series) is self._queue:
                    del self._waiting[self.series]
            self._queue = None
