"""Records what settled calls took in histograms: one value a call, many values at a time.

The SDK takes 100,000 instructions for one value, nearly all of them to copy, check and hash attributes that are the
same for a whole batch of calls. `Batches` finds the SDK's sums for a set of attributes once and adds the values of a
batch to them, under the SDK's own locks. An exemplar is offered for the last sampled value of each bucket, the one
that the SDK keeps of many.

That is done with the SDK's own bucket histograms and its own exemplars. With anything else, such as a view that makes
exponential histograms, and in a version of the SDK that is built otherwise, each value is recorded by itself.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import Context

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.guard import guard
from tokenmeter.otel import semconv
from tokenmeter.record import End
from tokenmeter.usage import Source

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram, Meter

    from tokenmeter.calls.usual_call import Settled
    from tokenmeter.otel.sums import Folded

__all__ = ["Batches", "Histograms"]

Values = Sequence["tuple[float, Settled]"]
_SETS_MOST: Final = 1000
_DELEGATED: Final = End.DELEGATED
_ERROR: Final = End.ERROR
_NOWHERE: Final = Context()
_SAMPLED: Final = trace.TraceFlags(trace.TraceFlags.SAMPLED)
_NO_STATE: Final = trace.TraceState()


class Histograms:
    """The histograms of one meter, by the names of `semconv.HISTOGRAMS`.

    `bounded` makes a value of an attribute one of few.
    """

    def __init__(self, meter: Meter, names: Iterable[str], bounded: Callable[[str, object], str]) -> None:
        self._by_name = {name: _histogram(meter, name) for name in names}
        self._batches = {name: Batches(one) for name, one in self._by_name.items()}
        self._bounded = bounded

    def record(self, folded: Iterable[Folded]) -> None:
        """Record a batch of calls, each with the attributes under which it was summed."""
        groups: dict[int, tuple[Mapping[str, Any], list[Settled]]] = {}
        for settled, attributes in folded:
            if settled.telemetry != "own" or settled.end is _DELEGATED:
                continue
            if settled.end is _ERROR:
                with guard("recording a histogram"):
                    kind = self._bounded(semconv.ERROR_TYPE, settled.error_type or "_OTHER")
                    self._record_all([settled], {**attributes, semconv.ERROR_TYPE: kind})
                continue
            group = groups.get(id(attributes))
            if group is None:
                group = groups[id(attributes)] = (attributes, [])
            group[1].append(settled)
        for attributes, all_settled in groups.values():
            with guard("recording a histogram"):
                self._record_all(all_settled, attributes)

    def _record_all(self, all_settled: list[Settled], attributes: Mapping[str, Any]) -> None:
        for name, histogram in self._by_name.items():
            if name == "token.usage":
                for settled in all_settled:
                    _record_tokens(histogram, settled, attributes)
                continue
            seconds = _SECONDS[name]
            values = [(value, settled) for settled in all_settled if (value := seconds(settled)) is not None]
            if values and not self._batches[name].record(values, attributes):
                for value, settled in values:
                    histogram.record(value, attributes, _context_of(settled))


class Batches:
    """Adds batches of values to one histogram of the SDK."""

    def __init__(self, histogram: Any) -> None:
        self._given = histogram
        self._storages: object = None
        self._sets: BoundedDict[int, tuple[Mapping[str, Any], _Sums | None]] = BoundedDict(_SETS_MOST)

    def record(self, values: Values, attributes: Mapping[str, Any]) -> bool:
        """Add values of one set of attributes; false where each must be recorded by itself."""
        histogram = getattr(self._given, "_real_instrument", None) or self._given  # past the API's stand-in
        try:
            storages = histogram._measurement_consumer._reader_storages
            if not histogram._is_enabled():
                return False
        except AttributeError:
            return False
        if storages is not self._storages:  # readers may come and go
            self._sets.clear()
            self._storages = storages
        known = self._sets.get(id(attributes))
        if known is None or known[0] is not attributes:
            known = self._sets.put(id(attributes), (attributes, _Sums.of(histogram, attributes)))
        sums = known[1]
        numbers = [value for value, _ in values]
        if sums is None or min(numbers) < 0 or not max(numbers) < math.inf:
            return False
        sums.add(values)
        return True


class _Sums:
    """Where the SDK sums the values of one set of attributes: once for each reader and view. Made by `of`."""

    def __init__(self, histogram: Any, attributes: Mapping[str, Any]) -> None:
        """Raises AttributeError or ImportError for a version of the SDK that is built otherwise.

        Raises ValueError where the SDK is set up to sum or to sample otherwise.
        """
        from opentelemetry.sdk.metrics._internal import _view_instrument_match as matches
        from opentelemetry.sdk.metrics._internal.aggregation import _ExplicitBucketHistogramAggregation
        from opentelemetry.sdk.metrics._internal.exemplar import (
            AlignedHistogramBucketExemplarReservoir,
            exemplar_filter,
        )
        from opentelemetry.sdk.metrics._internal.instrument import _Histogram
        from opentelemetry.sdk.metrics._internal.measurement import Measurement
        from opentelemetry.sdk.metrics._internal.measurement_consumer import SynchronousMeasurementConsumer

        consumer = histogram._measurement_consumer
        if type(histogram) is not _Histogram or type(consumer) is not SynchronousMeasurementConsumer:
            raise ValueError(histogram)
        if "record" in vars(histogram) or "consume_measurement" in vars(consumer):
            raise ValueError(histogram)  # others have put a function of theirs between
        sampled = type(consumer._sdk_config.exemplar_filter)
        if sampled not in (exemplar_filter.TraceBasedExemplarFilter, exemplar_filter.AlwaysOffExemplarFilter):
            raise ValueError(sampled)
        self._samples = sampled is exemplar_filter.TraceBasedExemplarFilter
        self._histogram, self._measurement = histogram, Measurement
        self._attributes = dict(Measurement(0.0, 0, histogram, _NOWHERE, attributes).attributes or {})
        self._targets: list[tuple[Any, Any, dict[str, Any]]] = []
        for storage in consumer._reader_storages.values():
            for match in storage._get_or_init_view_instrument_match(histogram):
                pattern = match._aggregation
                if type(match) is not matches._ViewInstrumentMatch:
                    raise ValueError(match)
                if type(pattern) is not _ExplicitBucketHistogramAggregation:
                    raise ValueError(pattern)
                if type(pattern._reservoir) is not AlignedHistogramBucketExemplarReservoir:
                    raise ValueError(pattern._reservoir)
                keys = match._view._attribute_keys
                kept = {name: one for name, one in self._attributes.items() if keys is None or name in keys}
                self._targets.append((match, matches._hash_attributes(kept), kept))
                _ = match._lock, match._get_or_create_aggregation, pattern.aggregate, pattern._boundaries

    @classmethod
    def of(cls, histogram: Any, attributes: Mapping[str, Any]) -> _Sums | None:
        """The sums for a set of attributes; None where each value must be recorded by itself."""
        try:
            return cls(histogram, attributes)
        except (AttributeError, ImportError, ValueError):
            return None

    def add(self, values: Values) -> None:
        """Add values to all sums."""
        plain = self._measured(0.0, _NOWHERE)
        facts = plain.__dict__
        for match, key, kept in self._targets:
            with match._lock:  # or a collection would take the sums away before the values are in them
                sums = match._get_or_create_aggregation(key, kept)
                add = sums.aggregate
                for value, _ in values:
                    facts["value"] = value
                    add(plain, False)
                if self._samples:
                    bounds = sums._boundaries
                    offered: set[int] = set()
                    for value, settled in reversed(values):
                        bucket = bisect_left(bounds, value)
                        if bucket not in offered and (context := _context_of(settled)) is not _NOWHERE:
                            offered.add(bucket)
                            sums._sample_exemplar(self._measured(value, context), True)

    def _measured(self, value: float, context: Context) -> Any:
        """A measurement of the SDK's; its attributes have been checked before."""
        made = object.__new__(self._measurement)
        made.__dict__.update(
            value=value,
            time_unix_nano=time.time_ns(),
            instrument=self._histogram,
            context=context,
            attributes=self._attributes,
        )
        return made


def _histogram(meter: Meter, name: str) -> Histogram:
    full_name, unit, buckets, description = semconv.HISTOGRAMS[name]
    return meter.create_histogram(full_name, unit, description, explicit_bucket_boundaries_advisory=list(buckets))


def _record_tokens(histogram: Histogram, settled: Settled, attributes: Mapping[str, Any]) -> None:
    usage = settled.usage
    for kind, tokens in (("input", usage.input_tokens), ("output", usage.output_tokens)):
        if tokens is not None and tokens >= 0 and usage.source_of(f"{kind}_tokens") is Source.REPORTED:
            histogram.record(tokens, {**attributes, semconv.TOKEN_TYPE: kind}, _context_of(settled))


_SECONDS: Final[Mapping[str, Callable[[Settled], float | None]]] = {
    "duration": lambda settled: settled.duration if settled.operation in semconv.INFERENCE else None,
    "time_to_first_chunk": lambda settled: (
        settled.time_to_first_chunk if settled.operation in semconv.INFERENCE else None
    ),
    "embeddings.duration": lambda settled: settled.duration if settled.operation == semconv.EMBEDDINGS else None,
    "operation.duration": lambda settled: settled.duration,
}
"""What each histogram of seconds says of a call; None where it says nothing."""


def _context_of(settled: Settled) -> Context:
    """The context of the call's own span, for exemplars; an empty one where it was not recorded."""
    trace_id, span_id = settled.trace_id, settled.span_id
    if trace_id is None or span_id is None:
        return _NOWHERE
    where = trace.SpanContext(int(trace_id, 16), int(span_id, 16), False, _SAMPLED, _NO_STATE)
    return trace.set_span_in_context(trace.NonRecordingSpan(where), _NOWHERE)
