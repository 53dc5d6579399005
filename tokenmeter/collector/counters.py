"""What the collector counts about itself: spans by what became of them, and the queue."""

from __future__ import annotations

from tokenmeter.record import Record

__all__ = ["Counts"]


class Counts:
    """Spans since the start, by what became of them; also the sink that counts priced and unpriced calls.

    A span is `received` once for each time it is sent here. Each that was received is in the end `forwarded`,
    `rejected` (by the endpoint, for good) or `dropped` (not sent when the process ended). `retried` counts every
    further attempt. `refused` are requests that were not taken and so not read: their senders keep them.
    """

    NAMES = ("received", "priced", "unpriced", "forwarded", "retried", "rejected", "dropped", "refused")

    def __init__(self) -> None:
        self.received = 0
        self.priced = 0
        self.unpriced = 0
        self.forwarded = 0
        self.retried = 0
        self.rejected = 0
        self.dropped = 0
        self.refused = 0

    def all(self) -> dict[str, int]:
        """Every count by its name."""
        return {name: getattr(self, name) for name in self.NAMES}

    def write(self, record: Record) -> None:
        """Count a call by whether its cost is known."""
        if record.cost.amount is None:
            self.unpriced += 1
        else:
            self.priced += 1

    def flush(self, timeout: float = 0.0) -> bool:
        """Nothing waits here."""
        return True

    def close(self, timeout: float = 0.0) -> None:
        """Nothing to let go of."""
