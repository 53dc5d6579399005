"""Metrics as a collector sees them: through real providers, readers and the OTLP encoder."""

from __future__ import annotations

import functools
import operator
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import metrics as api
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, TraceIdRatioBased

from tests.rigs.made_records import priced, record
from tests.rigs.otel_rig import Rig, points
from tokenmeter.otel import semconv
from tokenmeter.otel.metrics import Metrics
from tokenmeter.otel.sums import Accumulator
from tokenmeter.record import End
from tokenmeter.usage import Source, Usage

DURATION = "gen_ai.client.inference.duration"


def metered() -> tuple[MeterProvider, InMemoryMetricReader]:
    reader = InMemoryMetricReader()
    return MeterProvider([reader], shutdown_on_exit=False), reader


def value(reader: InMemoryMetricReader, name: str) -> Any:
    return sum(point for _, point in points(reader, name))


def test_every_instrument_has_its_name_unit_and_type() -> None:
    provider, reader = metered()
    sink = Metrics(provider)
    usage = Usage(
        input_tokens=10, output_tokens=8, cache_read_input_tokens=2, cache_write_input_tokens=1,
        reasoning_output_tokens=3, quantities={"images": 1},
    )  # fmt: skip
    sink.write(record(usage=usage))
    sink.write(
        record(usage=Usage(input_tokens=1, output_tokens=1, source=Source.ESTIMATED, ranges={"input_tokens": (1, 2)}))
    )
    data = reader.get_metrics_data()
    assert data is not None
    (scope,) = data.resource_metrics[0].scope_metrics
    assert (scope.scope.name, scope.schema_url) == ("tokenmeter", semconv.SCHEMA_URL)
    found = {metric.name: metric.unit for metric in scope.metrics}
    assert found == {
        "tokenmeter.cost": "{currency}",
        "tokenmeter.usage": "{token}",
        "tokenmeter.usage.quantity": "1",
        "tokenmeter.usage.estimated": "{token}",
        "tokenmeter.calls": "{call}",
        "tokenmeter.cache.unknown": "{call}",
        "tokenmeter.price.effective_from": "s",
        "gen_ai.client.inference.usage.input_tokens": "{token}",
        "gen_ai.client.inference.usage.output_tokens": "{token}",
        "gen_ai.client.inference.usage.cache_read.input_tokens": "{token}",
        "gen_ai.client.inference.usage.cache_write.input_tokens": "{token}",
        "gen_ai.client.inference.usage.reasoning.output_tokens": "{token}",
        "gen_ai.client.inference.duration": "s",
    }
    types = {
        metric.name: {type(point.value) for point in metric.data.data_points if hasattr(point, "value")}
        for metric in scope.metrics
    }
    assert types["tokenmeter.cost"] == {float}
    assert types["tokenmeter.usage"] == types["gen_ai.client.inference.usage.input_tokens"] == {int}
    assert all(
        type(part) in (str, int)
        for metric in scope.metrics
        for point in metric.data.data_points
        for part in (point.attributes or {}).values()
    )
    assert encode_metrics(data).SerializeToString()


def test_cost_carries_its_currency_source_and_owner() -> None:
    provider, reader = metered()
    sink = Metrics(provider)
    sink.write(record(tags={"team": "search"}, response_model="deepseek-v3"))
    ((attributes, amount),) = points(reader, "tokenmeter.cost")
    assert amount == 0.0012
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "deepseek",
        "gen_ai.request.model": "deepseek-chat",
        "gen_ai.response.model": "deepseek-v3",
        "tokenmeter.provider": "deepseek",
        "tokenmeter.tag.team": "search",
        "tokenmeter.cost.currency": "CNY",
        "tokenmeter.cost.source": "reported",
    }


def test_ten_thousand_tenths_are_a_thousand() -> None:
    provider, reader = metered()
    sink = Metrics(provider, histograms=())
    for _ in range(10_000):
        sink.write(record(priced("0.1")))
    assert value(reader, "tokenmeter.cost") == 1000.0
    floats = functools.reduce(operator.add, [0.1] * 10_000)  # sum() compensates since Python 3.12
    assert floats != 1000.0, "what a counter of floats would say"


@pytest.mark.parametrize("sampler", [pytest.param(ALWAYS_OFF, id="0%"), pytest.param(TraceIdRatioBased(0.01), id="1%")])
def test_sums_do_not_depend_on_sampling(sampler: Any) -> None:
    rig = Rig(sampler=sampler)
    for _ in range(500):
        rig.lifecycle.settle(rig.open(), End.COMPLETE)
    assert len(rig.spans) < 60
    assert rig.points("tokenmeter.calls")[0][1] == 500
    assert rig.points("tokenmeter.cost")[0][1] == 0.6
    assert rig.points("gen_ai.client.inference.usage.input_tokens")[0][1] == 500_000
    assert rig.points(DURATION)[0][1] == 500


def test_collecting_twice_changes_nothing_and_delta_says_the_difference() -> None:
    reader = InMemoryMetricReader(preferred_temporality={ObservableCounter: AggregationTemporality.DELTA})
    cumulative = InMemoryMetricReader()
    sink = Metrics(MeterProvider([reader, cumulative], shutdown_on_exit=False))
    sink.write(record())
    assert [value(reader, "tokenmeter.calls"), value(cumulative, "tokenmeter.calls")] == [1, 1]
    sink.write(record())
    sink.write(record())
    assert [value(reader, "tokenmeter.calls"), value(cumulative, "tokenmeter.calls")] == [2, 3]
    assert [value(reader, "tokenmeter.calls"), value(cumulative, "tokenmeter.calls")] == [0, 3]


def test_two_on_one_provider_are_added_exactly() -> None:
    provider, reader = metered()
    one, other = Metrics(provider), Metrics(provider)
    for sink in (one, other, other):
        sink.write(record(priced("0.1")))
    assert points(reader, "tokenmeter.cost")[0][1] == 0.3, "0.1 + 0.2 as floats is 0.30000000000000004"
    assert len(points(reader, "tokenmeter.cost")) == 1
    assert points(reader, DURATION)[0][1] == 3


def test_providers_do_not_mix() -> None:
    (first, reader), (second, other_reader) = metered(), metered()
    Metrics(first).write(record())
    sink = Metrics(second)
    sink.write(record())
    sink.write(record())
    assert [value(reader, "tokenmeter.calls"), value(other_reader, "tokenmeter.calls")] == [1, 2]


def test_closing_keeps_what_was_summed_and_late_records_too() -> None:
    provider, reader = metered()
    sink = Metrics(provider)
    sink.write(record())
    sink.close()
    successor = Metrics(provider)
    successor.write(record())
    sink.write(record())  # a stream that outlived the configuration it began under
    sink.close()
    assert value(reader, "tokenmeter.calls") == 3
    successor.close()
    assert value(reader, "tokenmeter.calls") == 3


def test_a_given_provider_that_is_also_the_global_one(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, reader = metered()
    monkeypatch.setattr(api._internal, "_METER_PROVIDER", provider)
    given, asked = Metrics(provider), Metrics()
    given.write(record())
    before = value(reader, "tokenmeter.calls")  # the global sums hold whatever this process metered before
    given.write(record())
    asked.write(record())
    assert value(reader, "tokenmeter.calls") == before + 2
    asked.close()


def test_a_provider_that_replaces_another_gets_the_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    (first, reader), (second, other_reader) = metered(), metered()
    monkeypatch.setattr(api._internal, "_METER_PROVIDER", first)
    sink = Metrics()
    sink.write(record(request_model="replacing"))
    before = value(reader, "tokenmeter.calls")
    monkeypatch.setattr(api._internal, "_METER_PROVIDER", second)
    sink.write(record(request_model="replacing"))
    assert value(other_reader, "tokenmeter.calls") == before + 1
    assert value(reader, "tokenmeter.calls") == 0, "the first would report the same calls again"
    assert points(other_reader, DURATION)[-1][1] == 1


SCRIPT = """
    import sys
    sys.path.insert(0, {root!r})
    from tests.rigs.made_records import record
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from tokenmeter.otel.metrics import Metrics

    one, other = Metrics(), Metrics()
    for _ in range({before}):
        one.write(record())
    other.write(record())
    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader]))
    for _ in range({after}):
        one.write(record())
    late = Metrics()
    late.write(record())
    for metric in reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics:
        if metric.name == "tokenmeter.calls":
            print([point.value for point in metric.data.data_points])
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [pytest.param(3, 0, id="only before"), pytest.param(0, 2, id="only after"), pytest.param(700, 40, id="many")],
)
def test_calls_made_before_the_provider_was_set_are_in_the_sums(before: int, after: int) -> None:
    script = textwrap.dedent(SCRIPT).format(root=str(Path(__file__).parents[2]), before=before, after=after)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.strip() == f"[{before + after + 2}]"


def test_calls_put_off_while_nobody_listens_are_brought_in_before_reading() -> None:
    provider, reader = metered()
    waiting = [record(), record()]

    def bring() -> None:
        while waiting:
            sink.write(waiting.pop())

    sink = Metrics(provider, before_reading=bring)
    assert value(reader, "tokenmeter.calls") == 2
    assert points(reader, DURATION)[0][1] == 2


def test_who_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, _ = metered()
    assert Metrics(provider).listened_to
    asked = Metrics()
    assert not asked.listened_to, "nothing but the API's proxy is there"
    monkeypatch.setattr(api._internal, "_METER_PROVIDER", provider)
    assert asked.listened_to
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert not Metrics(provider).listened_to


# Histograms ----------------------------------------------------------------------------------------------------


def test_duration_is_in_seconds_with_the_buckets_of_the_conventions() -> None:
    provider, reader = metered()
    sink = Metrics(provider)
    sink.write(record(end=End.ERROR, error_type="APITimeoutError", host="api.deepseek.com", port=443))
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = [one for one in data.resource_metrics[0].scope_metrics[0].metrics if one.name == DURATION]
    (point,) = metric.data.data_points
    assert point.sum == 1.0  # type: ignore[union-attr]
    assert point.explicit_bounds == semconv.SECONDS  # type: ignore[union-attr]
    assert dict(point.attributes or {}) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "deepseek",
        "gen_ai.request.model": "deepseek-chat",
        "server.address": "api.deepseek.com",
        "server.port": 443,
        "error.type": "APITimeoutError",
    }


def test_a_model_per_tenant_does_not_blow_up_the_histogram() -> None:
    provider, reader = metered()
    sink = Metrics(provider, Accumulator(values_most=3))
    for number in range(20):
        sink.write(record(request_model=f"ep-{number}"))
    found = {attributes["gen_ai.request.model"]: count for attributes, count in points(reader, DURATION)}
    assert found == {"ep-0": 1, "ep-1": 1, "ep-2": 1, "__other__": 17}


def test_embeddings_have_a_duration_of_their_own() -> None:
    provider, reader = metered()
    Metrics(provider).write(record(operation="embeddings"))
    assert points(reader, DURATION) == []
    assert points(reader, "gen_ai.client.embeddings.duration")[0][1] == 1


def test_more_histograms_if_asked_for() -> None:
    provider, reader = metered()
    sink = Metrics(provider, histograms=("time_to_first_chunk", "token.usage", "operation.duration"))
    sink.write(record(time_to_first_chunk=0.2))
    sink.write(record(usage=Usage(input_tokens=1, output_tokens=1, source=Source.ESTIMATED)))
    assert points(reader, DURATION) == []
    assert [count for _, count in points(reader, "gen_ai.client.inference.time_to_first_chunk")] == [1]
    assert [count for _, count in points(reader, "gen_ai.client.operation.duration")] == [2]
    usage = {
        attributes["gen_ai.token.type"]: count for attributes, count in points(reader, "gen_ai.client.token.usage")
    }
    assert usage == {"input": 1, "output": 1}, "an estimate was recorded as usage"


def test_an_unknown_histogram_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"no such histogram: duratoin; there are duration"):
        Metrics(histograms=("duratoin",))


def test_exemplars_point_at_the_calls_own_span_and_at_nobody_elses() -> None:
    rig = Rig()
    call = rig.open()
    rig.lifecycle.settle(call, End.COMPLETE)
    with rig.tracing.get_tracer("app").start_as_current_span("something else"):  # current when the reader collects
        data = rig.reader.get_metrics_data()
    assert data is not None
    found = [
        exemplar
        for metric in data.resource_metrics[0].scope_metrics[0].metrics
        if metric.name == DURATION
        for point in metric.data.data_points
        for exemplar in point.exemplars
    ]
    assert call.span is not None
    assert [f"{exemplar.span_id:016x}" for exemplar in found] == [call.span.span_id]


@pytest.mark.parametrize(
    ("telemetry", "calls", "standard"),
    [
        pytest.param("own", 1, 1, id="own"),
        pytest.param("enriched", 1, 0, id="theirs"),
        pytest.param("suppressed", 0, 0, id="none"),
    ],
)
def test_metrics_follow_the_owner_of_the_span(telemetry: str, calls: int, standard: int) -> None:
    provider, reader = metered()
    Metrics(provider).write(record(telemetry=telemetry))
    assert value(reader, "tokenmeter.calls") == calls
    assert (
        len(points(reader, DURATION)) == len(points(reader, "gen_ai.client.inference.usage.input_tokens")) == standard
    )


def test_a_reader_in_the_midst_of_writers_sees_sums_that_only_grow() -> None:
    import threading

    provider, reader = metered()
    sink = Metrics(provider)
    seen: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.append(value(reader, "tokenmeter.calls"))

    reading = threading.Thread(target=read)
    reading.start()
    writers = [threading.Thread(target=lambda: [sink.write(record()) for _ in range(700)]) for _ in range(3)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reading.join()
    assert seen == sorted(seen)
    assert value(reader, "tokenmeter.calls") == 2100
    assert sum(count for _, count in points(reader, DURATION)) == 2100
