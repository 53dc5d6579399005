"""Metrics: observable counters over `sums.py`, and a few histograms.

Counters read an `Accumulator` when the SDK collects, so their sums are exact, do not depend on trace sampling, and
hold the calls made before a `MeterProvider` was set. Histograms are recorded when a record is folded, with the
call's own span as context for exemplars and never whatever happens to be current then.

Instruments belong to a provider, not to a `Metrics`: the SDK drops the callback of a second instrument of the same
name without a word, so two `Tokenmeter` objects would lose the sums of one. Each provider gets one `_Station`, whose
callbacks sum over everybody that writes to it. Which provider that is, is asked at each collection: an instrument
made on the API's proxy before `set_meter_provider` and one made after it report the same.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, NoOpMeterProvider, Observation

from tokenmeter._support.guard import guard
from tokenmeter.otel import semconv
from tokenmeter.otel.histograms import Histograms
from tokenmeter.otel.providers import meter_provider
from tokenmeter.otel.sum_tables import exact_sum
from tokenmeter.otel.sums import PRICE_FROM, Accumulator, Folded, Row

if TYPE_CHECKING:
    from tokenmeter.calls.usual_call import Settled

__all__ = ["DEFAULT_HISTOGRAMS", "Metrics"]

DEFAULT_HISTOGRAMS: Final = ("duration", "embeddings.duration")
"""One record per call: a call is either inference or embeddings."""


class Metrics:
    """The sink that feeds metrics. Its sums are in `accumulator`, which may be shared with other readers.

    `meter_provider` is used if given, else the global one, also when it is set or replaced later. `histograms` are
    names of `semconv.HISTOGRAMS`; an unknown one raises ValueError. `before_reading` is called before sums are read: it
    brings in the calls that were deferred while no provider was there.
    """

    makes_calls: Final = False
    """It calls no model, so it also gets the records of calls that other sinks make."""
    takes_usual: Final = True
    """It reads no record of a usual call."""

    def __init__(
        self,
        meter_provider: MeterProvider | None = None,
        accumulator: Accumulator | None = None,
        *,
        tags: Iterable[str] | None = None,
        histograms: Sequence[str] = DEFAULT_HISTOGRAMS,
        before_reading: Callable[[], object] | None = None,
    ) -> None:
        unknown = [name for name in histograms if name not in semconv.HISTOGRAMS]
        if unknown:
            raise ValueError(f"no such histogram: {', '.join(unknown)}; there are {', '.join(semconv.HISTOGRAMS)}")
        self.accumulator = accumulator if accumulator is not None else Accumulator(tags=tags)
        self._given = meter_provider
        self._histograms = tuple(histograms)
        self._silent = semconv.sdk_disabled()
        self._before_reading: Callable[[], object] = before_reading or _nothing
        self._bound: object = None
        self._recorders: Histograms | None = None
        self._station = _station_of(meter_provider)
        self._station.join(self)
        if not self._silent:
            with guard("registering metrics"):
                self._bind()

    @property
    def listened_to(self) -> bool:
        """Whether a provider is there that could read the sums; if not, records need not come at once."""
        if self._silent:
            return False
        provider = self._given if self._given is not None else meter_provider()
        return provider is not None and not _is_stand_in(provider)

    def write(self, record: Settled) -> None:
        """Take a call. Its sums are made later, so this costs an append."""
        telemetry = record.telemetry
        if telemetry == "suppressed" or self._silent:
            return
        # Asking costs half a microsecond, so not at every call: a provider that is set for the first time finds us
        # through the API's proxy anyway, this is for one that replaces another.
        if (
            self._given is None
            and not self.accumulator.waiting % 32
            and metrics.get_meter_provider() is not self._bound
        ):
            self._bind()
        folded = self.accumulator.add(record, ours=telemetry == "own")
        if folded:
            self._record(folded)

    def compare(self, *, provider: str, model: str, family: str, kind: str, counted: int, reported: int) -> None:
        """Take our own count of what a vendor reported: their ratio over time shows a tokenizer that has changed."""
        if not self._silent:
            self.accumulator.compare(
                provider=provider, model=model, family=family, kind=kind, counted=counted, reported=reported
            )

    def flush(self, timeout: float = 5.0) -> bool:
        """Fold what is waiting. Exporting is the provider's, which belongs to the program: flush that yourself."""
        with guard("settling what was put off"):
            self._before_reading()
        folded = self.accumulator.fold()
        self._record(folded)
        return True

    def close(self, timeout: float = 5.0) -> None:
        """Fold what is waiting; what was summed stays in the counters for as long as the process lives."""
        self.flush(timeout)
        self._station.retire(self)
        self._before_reading = _nothing

    def _record(self, folded: Sequence[Folded]) -> None:
        if folded and self._recorders is not None and self.listened_to:
            self._recorders.record(folded)

    def _bind(self) -> None:
        provider = self._given if self._given is not None else metrics.get_meter_provider()
        self._bound = provider
        if isinstance(provider, NoOpMeterProvider):
            return
        meter = provider.get_meter(semconv.SCOPE_NAME, semconv.scope_version(), semconv.SCHEMA_URL)
        _register(meter, provider)
        self._recorders = Histograms(meter, self._histograms, self._bounded)

    def _bounded(self, name: str, value: object) -> str:
        return self.accumulator.bounded(name, value)


def _nothing() -> None:
    return None


def _is_stand_in(provider: object) -> bool:
    """Whether this is the API's placeholder for a provider not yet set; its class is private to the API."""
    return type(provider).__name__ == "_ProxyMeterProvider" or isinstance(provider, NoOpMeterProvider)


_INT64: Final = 2**63


# One set of instruments per provider ------------------------------------------------------------------------------


class _Station:
    """Everybody whose sums one provider reports: those at work, and the sums of those that closed.

    A sink that is forgotten without being closed stays at work: what it summed and what still waits is owed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._working: list[Metrics] = []
        self._retired: Accumulator | None = None

    def join(self, sink: Metrics) -> None:
        with self._lock:
            self._working.append(sink)

    def retire(self, sink: Metrics) -> None:
        """Move a sink's sums to those of the retired, where its late records go as well."""
        with self._lock:
            if sink not in self._working:
                return
            self._working.remove(sink)
            if self._retired is None:
                self._retired = Accumulator()
            if all(sink.accumulator is not other.accumulator for other in self._working):
                self._retired.absorb(sink.accumulator)
            sink.accumulator = self._retired

    def rows(self, table: str) -> list[Row]:
        with self._lock:  # or a sink that leaves meanwhile would be counted in both places
            for sink in self._working:
                sink.flush()
            accumulators = {id(sink.accumulator): sink.accumulator for sink in self._working}
            if self._retired is not None:
                self._retired.fold()
                accumulators[id(self._retired)] = self._retired
            return _together(table, (row for accumulator in accumulators.values() for row in accumulator.rows(table)))

    def renew(self) -> None:
        """In a forked child: a lock that another thread of the parent holds is never released there."""
        self._lock = threading.Lock()


def _together(table: str, rows: Iterable[Row]) -> list[Row]:
    """Rows of the same attributes as one: money is added here, exactly, and not by the SDK as floats."""
    both: Callable[[int | Decimal, int | Decimal], int | Decimal] = max if table == PRICE_FROM else exact_sum
    answer: dict[frozenset[tuple[str, Any]], Row] = {}
    for attributes, value in rows:
        key = frozenset(attributes.items())
        before = answer.get(key)
        answer[key] = (attributes, value if before is None else both(before[1], value))
    return list(answer.values())


_everybody: Final = _Station()  # those who use whatever provider is global
# By the identity of a provider, since Logfire's cannot be hashed; forgotten when it is.
_stations: dict[int, _Station] = {}
_registered: set[int] = set()
_lock = threading.Lock()


def _renew() -> None:
    global _lock
    _lock = threading.Lock()
    for station in (_everybody, *_stations.values()):
        station.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def _station_of(provider: MeterProvider | None) -> _Station:
    if provider is None:
        return _everybody
    with _lock:
        station = _stations.get(id(provider))
        if station is None:
            station = _stations[id(provider)] = _Station()
            weakref.finalize(provider, _stations.pop, id(provider), None).atexit = False
        return station


def _register(meter: Meter, provider: MeterProvider) -> None:
    with _lock:
        if id(provider) in _registered:
            return
        _registered.add(id(provider))
        weakref.finalize(provider, _registered.discard, id(provider)).atexit = False
    for table, (name, unit, description) in semconv.COUNTERS.items():
        meter.create_observable_counter(name, [_reader(table, weakref.ref(provider))], unit, description)
    name, unit, description = semconv.PRICE_FROM
    meter.create_observable_gauge(name, [_reader(PRICE_FROM, weakref.ref(provider))], unit, description)


def _reader(table: str, made_for: weakref.ref[MeterProvider]) -> Callable[[CallbackOptions], Iterable[Observation]]:
    """The callback of one counter."""

    def read(options: CallbackOptions) -> Iterable[Observation]:
        observations: list[Observation] = []
        with guard("reading metrics"):
            for attributes, value in _rows(table, made_for()):
                # An integer that 64 bits cannot hold would make the exporter drop everybody's metrics.
                number = float(value) if isinstance(value, Decimal) or not -_INT64 <= value < _INT64 else value
                observations.append(Observation(number, attributes))
        return observations

    return read


def _rows(table: str, made_for: MeterProvider | None) -> list[Row]:
    provider = metrics.get_meter_provider()
    # The API's proxy hands its instruments, and so this callback, to the provider that takes its place.
    is_global = made_for is provider or _is_stand_in(made_for)
    rows = _everybody.rows(table) if is_global else []
    station = _stations.get(id(provider if is_global else made_for)) if made_for is not None else None
    return _together(table, [*rows, *station.rows(table)]) if station is not None else rows
