"""Collect the records of a block, to say in a test what was metered.

    with tokenmeter.testing.capture() as records:
        answer("why?")
    assert records.only().cost.total == Money(Decimal("0.000084"), "CNY")

Records are those a sink of yours would get. Calls are metered as the program has set it up (`instrument()` or
`wrap(client)`); capturing changes nothing but the list of sinks.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from tokenmeter.record import Record, Sink

__all__ = ["Records", "capture"]


class Meter(Protocol):
    """What capturing needs of a `Tokenmeter`."""

    def add_sink(self, sink: Sink) -> Any: ...
    def remove_sink(self, sink: Sink) -> Any: ...
    def flush(self, timeout: float) -> Any: ...


class Records(list[Record]):
    """The records so far, in the order in which their calls settled; usable from several threads."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self._meter = meter

    def write(self, record: Record) -> None:
        """Take one record, as a sink does."""
        self.append(record)  # atomic: no lock, since a record may be written wherever a call settles

    def flush(self, timeout: float) -> bool:
        """Nothing waits here."""
        return True

    def close(self, timeout: float) -> None:
        """Nothing to let go of."""

    def drain(self, timeout: float = 5.0) -> Records:
        """Settle streams the program has dropped, then give the records. Collects garbage first."""
        gc.collect()
        self._meter.flush(timeout)
        return self

    def only(self) -> Record:
        """The one record there is. Raises AssertionError that lists them, if there are none or several."""
        self.drain()
        if len(self) != 1:
            found = "\n".join(f"  {one.provider} {one.request_model} {one.operation}: {one.end}" for one in self)
            raise AssertionError(f"expected one record, found {len(self)}\n{found}")
        return self[0]


@contextmanager
def capture(meter: Meter | None = None) -> Iterator[Records]:
    """Collect what `meter` (a `Tokenmeter`; the default one where None) records during the block."""
    if meter is None:
        import tokenmeter

        meter = tokenmeter.default()
    records = Records(meter)
    meter.add_sink(records)
    try:
        yield records
    finally:
        records.drain()
        meter.remove_sink(records)
