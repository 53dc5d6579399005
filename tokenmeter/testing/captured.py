"""`capture()`: collects the records of the calls in a block, for assertions in tests.

    with tokenmeter.testing.capture() as records:
        answer("why?")
    assert records.only().cost.total == Money(Decimal("0.000084"), "CNY")

A captured record is the one that every sink gets. The program meters its calls itself (`instrument()` or
`wrap(client)`); capturing only adds a sink.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from tokenmeter.record import Record, Sink

__all__ = ["Records", "capture"]


class MeterWithSinks(Protocol):
    """The part of `Tokenmeter` that capturing uses."""

    def add_sink(self, sink: Sink) -> Any: ...
    def remove_sink(self, sink: Sink) -> Any: ...
    def flush(self, timeout: float) -> Any: ...


class Records(list[Record]):
    """Captured records in the order of settlement; thread-safe."""

    makes_calls: Final = False
    """It calls no model, so it also gets the records of calls that other sinks make."""

    def __init__(self, meter: MeterWithSinks) -> None:
        super().__init__()
        self._meter = meter

    def write(self, record: Record) -> None:
        """Append a record; called by the meter."""
        self.append(record)  # atomic: no lock, since a record may be written wherever a call settles

    def flush(self, timeout: float) -> bool:
        """Return True: nothing is buffered."""
        return True

    def close(self, timeout: float) -> None:
        """Do nothing: there is no resource to close."""

    def drain(self, timeout: float = 5.0) -> Records:
        """Settle streams that the program dropped (by a garbage collection), and return the records. Seconds."""
        gc.collect()
        self._meter.flush(timeout)
        return self

    def only(self) -> Record:
        """The only record. Raises AssertionError with a list of the records if there is none or more than one."""
        self.drain()
        if len(self) != 1:
            found = "\n".join(f"  {one.provider} {one.request_model} {one.operation}: {one.end}" for one in self)
            raise AssertionError(f"expected one record, found {len(self)}\n{found}")
        return self[0]


@contextmanager
def capture(meter: MeterWithSinks | None = None) -> Iterator[Records]:
    """Collect the records of `meter` (a `Tokenmeter`; None: the default one) during the block."""
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
