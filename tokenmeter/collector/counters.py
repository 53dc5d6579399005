"""Counters of the collector: spans by outcome (received, forwarded, dropped …), calls priced and unpriced."""

from __future__ import annotations

from tokenmeter.record import Record

__all__ = ["SpanCounters"]


class SpanCounters:
    """Spans since the start, by outcome; also the sink that counts priced and unpriced calls.

    A span is `received` once per delivery to the collector, and ends as `forwarded`, `rejected` (by the endpoint, for
    good) or `dropped` (not sent when the process ended). `retried` counts every further attempt. `refused` counts
    requests that were not admitted and therefore not parsed: their senders keep them. `metered` counts spans of calls
    that their programs metered, which are written into the ledger and priced there already.
    """

    NAMES = ("received", "priced", "unpriced", "metered", "forwarded", "retried", "rejected", "dropped", "refused")

    def __init__(self) -> None:
        self.received = 0
        self.priced = 0
        self.unpriced = 0
        self.metered = 0
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
        """Return True: this sink buffers nothing."""
        return True

    def close(self, timeout: float = 0.0) -> None:
        """Do nothing: this sink owns no resource."""
