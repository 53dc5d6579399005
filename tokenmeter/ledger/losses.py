"""Counts the calls that could not be kept, until the ledger file takes their number."""

from __future__ import annotations

import threading
from collections import Counter
from typing import NamedTuple

__all__ = ["Loss", "Losses"]


class Loss(NamedTuple):
    """Calls that could not be kept, between two instants (microseconds since the epoch)."""

    first_us: int
    last_us: int
    calls: int
    reason: str


class Losses:
    """The losses of one process that are not in the file yet; `total` and `by_reason` count all there were."""

    def __init__(self) -> None:
        self.total = 0
        self.by_reason: Counter[str] = Counter()
        self._waiting: list[Loss] = []
        self._lock = threading.RLock()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, at_us: int, calls: int, reason: str) -> None:
        """Count lost calls; those of one reason in a row are one entry."""
        with self._lock:
            self.total += calls
            self.by_reason[reason] += calls
            if self._waiting and self._waiting[-1].reason == reason:
                last = self._waiting.pop()
                self._waiting.append(last._replace(last_us=max(last.last_us, at_us), calls=last.calls + calls))
            else:
                self._waiting.append(Loss(at_us, at_us, calls, reason))

    def take(self) -> list[Loss]:
        """Remove what waits, to write it."""
        with self._lock:
            taken, self._waiting = self._waiting, []
        return taken

    def give_back(self, losses: list[Loss]) -> None:
        """Put back what could not be written."""
        with self._lock:
            self._waiting[:0] = losses
