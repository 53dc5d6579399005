"""Batches of values in the SDK's histograms: the same points and exemplars as one value at a time gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, AlwaysOnExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View

from tests.rigs.made_records import record
from tokenmeter.otel import semconv
from tokenmeter.otel.histograms import Batches, Histograms
from tokenmeter.record import Record

SETS: tuple[dict[str, Any], ...] = (
    {"gen_ai.operation.name": "chat", "server.port": 443},
    {"gen_ai.operation.name": "chat"},
)
DELTA: dict[type, AggregationTemporality] = {SdkHistogram: AggregationTemporality.DELTA}


def plain() -> MeterProvider:
    return MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)


def delta() -> MeterProvider:
    return MeterProvider([InMemoryMetricReader(DELTA), InMemoryMetricReader()], shutdown_on_exit=False)


def few_keys() -> MeterProvider:
    views = [View(instrument_name="*", attribute_keys={"server.port"})]
    return MeterProvider([InMemoryMetricReader()], views=views, shutdown_on_exit=False)


def twice() -> MeterProvider:
    views = [View(instrument_name=semconv.HISTOGRAMS["duration"][0], name=name) for name in ("one", "other")]
    return MeterProvider([InMemoryMetricReader()], views=views, shutdown_on_exit=False)


def exponential() -> MeterProvider:
    views = [View(instrument_name="*", aggregation=ExponentialBucketHistogramAggregation())]
    return MeterProvider([InMemoryMetricReader()], views=views, shutdown_on_exit=False)


def no_exemplars() -> MeterProvider:
    return MeterProvider([InMemoryMetricReader()], exemplar_filter=AlwaysOffExemplarFilter(), shutdown_on_exit=False)


def all_exemplars() -> MeterProvider:
    return MeterProvider([InMemoryMetricReader()], exemplar_filter=AlwaysOnExemplarFilter(), shutdown_on_exit=False)


def shown(provider: MeterProvider) -> list[Any]:
    """Everything that readers get, but for when it was."""
    seen = []
    for reader in provider._measurement_consumer._reader_storages:
        data = reader.get_metrics_data()  # type: ignore[attr-defined]
        for metric in data.resource_metrics[0].scope_metrics[0].metrics if data is not None else ():
            for point in metric.data.data_points:
                told = {name: value for name, value in vars(point).items() if "time" not in name}
                examples = [(one.filtered_attributes, one.value, one.span_id, one.trace_id) for one in point.exemplars]
                seen.append((metric.name, metric.unit, str(told | {"exemplars": examples})))
    return seen


def one_by_one(provider: MeterProvider) -> Callable[[list[tuple[Record, dict[str, Any]]]], None]:
    name, unit, buckets, description = semconv.HISTOGRAMS["duration"]
    instrument = provider.get_meter(semconv.SCOPE_NAME).create_histogram(
        name, unit, description, explicit_bucket_boundaries_advisory=list(buckets)
    )

    def take(folded: list[tuple[Record, dict[str, Any]]]) -> None:
        for one, attributes in folded:
            context = Context()
            if one.trace_id is not None and one.span_id is not None:
                where = trace.SpanContext(int(one.trace_id, 16), int(one.span_id, 16), False, trace.TraceFlags(1))
                context = trace.set_span_in_context(trace.NonRecordingSpan(where), context)
            instrument.record(one.duration, attributes, context)

    return take


def in_batches(provider: MeterProvider) -> Callable[[list[tuple[Record, dict[str, Any]]]], None]:
    return Histograms(provider.get_meter(semconv.SCOPE_NAME), ["duration"], lambda name, value: str(value)).record


@st.composite
def folded(draw: st.DrawFn) -> list[tuple[Record, dict[str, Any]]]:
    made = []
    for number in range(draw(st.integers(0, 8))):
        took = draw(st.sampled_from([0, 1, 10_000_000, 15_000_000, 40_000_000, 3_000_000_000, 10**12]))
        sampled = draw(st.booleans())
        ids: dict[str, Any] = {"trace_id": f"{number + 1:032x}", "span_id": f"{number + 1:016x}"} if sampled else {}
        one = record(**ids)
        made.append((one._replace(ended_ns=one.started_ns + took), draw(st.sampled_from(SETS))))
    return made


@pytest.mark.parametrize("provider", [plain, delta, few_keys, twice, exponential, no_exemplars, all_exemplars])
@given(st.lists(folded(), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_a_batch_gives_what_its_values_give_one_by_one(
    provider: Callable[[], MeterProvider], batches: list[list[tuple[Record, dict[str, Any]]]]
) -> None:
    seen = []
    for way in (one_by_one, in_batches):
        made = provider()
        take = way(made)
        told = []
        for batch in batches:
            take(batch)
            told.append(shown(made))
        seen.append(told)
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    ("provider", "direct"),
    [
        (plain, True),
        (delta, True),
        (few_keys, True),
        (no_exemplars, True),
        (exponential, False),
        (all_exemplars, False),
    ],
)
def test_what_the_sdk_does_otherwise_is_left_to_it(provider: Callable[[], MeterProvider], direct: bool) -> None:
    instrument = provider().get_meter("m").create_histogram("h", explicit_bucket_boundaries_advisory=[1.0])
    assert Batches(instrument).record([(0.5, record())], SETS[0]) is direct


def test_a_method_that_others_put_before_the_sdks_still_sees_each_value() -> None:
    instrument = plain().get_meter("m").create_histogram("h")
    seen: list[float] = []
    instrument.record = lambda amount, attributes=None, context=None: seen.append(amount)  # type: ignore[method-assign]
    assert Batches(instrument).record([(0.5, record())], SETS[0]) is False


def test_a_reader_that_joins_gets_the_values_from_then_on() -> None:
    provider = plain()
    instrument = provider.get_meter("m").create_histogram("h", explicit_bucket_boundaries_advisory=[1.0])
    batches = Batches(instrument)
    batches.record([(0.5, record())], SETS[0])
    late = InMemoryMetricReader()
    provider.add_metric_reader(late)
    batches.record([(0.5, record()), (2.0, record())], SETS[0])
    counts = [
        point.count
        for reader in provider._measurement_consumer._reader_storages
        for metric in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics  # type: ignore[attr-defined]
        for point in metric.data.data_points
    ]
    assert counts == [3, 2]
