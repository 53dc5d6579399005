"""What metrics say beyond sums of calls: the cache in money, prices that are overdue or new, tokenizers that drift."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.rigs.http_receiver import http_receiver
from tests.rigs.otel_rig import points
from tokenmeter import ConfigurationError, Tokenmeter, Usage
from tokenmeter.calls.sampler import CALLS, PAUSE
from tokenmeter.tokens import count_request

PRICES = Path(__file__).parents[1] / "data" / "prices"
SONNET = ("anthropic", "claude-sonnet-4-5")


class Clock:
    """Nanoseconds since 1970, as set."""

    def __init__(self, day: str) -> None:
        self.set(day)

    def set(self, day: str) -> None:
        self.now = int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp()) * 10**9

    def __call__(self) -> int:
        return self.now


class Rig:
    """A meter with the tests' price book, and what a reader of its metrics sees."""

    def __init__(self, day: str = "2026-11-20", *, prices: Path = PRICES, **settings: Any) -> None:
        self.reader = InMemoryMetricReader()
        self.clock = Clock(day)
        provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.meter = Tokenmeter(
            meter_provider=provider, clock=self.clock, monotonic=lambda: 0, prices=prices, spans="none", **settings
        )

    def spend(self, model: tuple[str, str], **tokens: Any) -> None:
        with self.meter.call(provider=model[0], model=model[1]) as call:
            call.observe_usage(Usage(**{"output_tokens": 100, **tokens}))

    def read(self, name: str, *labels: str) -> dict[Any, Any]:
        found = {}
        for attributes, value in points(self.reader, name):
            key = tuple(attributes[label] for label in labels)
            assert key not in found
            found[key] = value
        return found


# The cache, in money ------------------------------------------------------------------------------------------------


def test_what_caches_saved_and_added_stands_apart_in_each_currency() -> None:
    rig = Rig()
    rig.spend(SONNET, input_tokens=10_000, cache_read_input_tokens=8_000)  # 8,000 at 0.3 instead of 3
    rig.spend(SONNET, input_tokens=10_000, cache_read_input_tokens=1_000)
    rig.spend(SONNET, input_tokens=10_000, cache_read_input_tokens=0, cache_writes={"5m": 8_000})  # at 3.75
    rig.spend(("alibaba", "qwen-plus"), input_tokens=10_000, cache_read_input_tokens=10_000)  # at 0.16 instead of 0.8
    rig.spend(SONNET, input_tokens=10_000)  # says nothing of a cache
    rig.spend(("anthropic", "claude-unheard-of"), input_tokens=10_000, cache_read_input_tokens=10)

    currency = "tokenmeter.cost.currency"
    assert rig.read("tokenmeter.cache.savings", currency) == {("USD",): 0.0243, ("CNY",): 0.0064}
    assert rig.read("tokenmeter.cache.surcharge", currency) == {("USD",): 0.006}
    assert rig.read("tokenmeter.cache.unknown", "gen_ai.request.model") == {("claude-sonnet-4-5",): 1}
    assert rig.read("tokenmeter.calls.unpriced", "gen_ai.request.model") == {("claude-unheard-of",): 1}


def test_a_span_tells_what_its_call_saved() -> None:
    spans = InMemorySpanExporter()
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    meter = Tokenmeter(tracer_provider=tracing, prices=PRICES)
    for read in (8_000, 0):
        with meter.call(provider=SONNET[0], model=SONNET[1]) as call:
            call.observe_usage(Usage(input_tokens=10_000, output_tokens=1, cache_read_input_tokens=read))
    found = [(span.attributes or {}).get("tokenmeter.cost.cache_savings") for span in spans.get_finished_spans()]
    assert found == ["0.0216", None]


# Prices -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "model", "counted"),
    [
        pytest.param("2026-11-21", "gpt-5.6-sol", {}, id="on the day of the review"),
        pytest.param("2026-11-23", "gpt-5.6-sol", {("openai", "gpt-5.6-sol", "past_review"): 2}, id="past it"),
        pytest.param("2026-11-23", "gpt-5.4", {}, id="a rate without one"),
    ],
)
def test_calls_by_a_price_past_its_review_are_counted(day: str, model: str, counted: dict[Any, int]) -> None:
    rig = Rig(day)
    for _ in range(2):
        rig.spend(("openai", model), input_tokens=10)
    labels = ("tokenmeter.provider", "gen_ai.request.model", "tokenmeter.cost.flag")
    assert rig.read("tokenmeter.calls.price_overdue", *labels) == counted


ACME = """
provider = "acme"
currency = "USD"
timezone = "UTC"
[[rate]]
model = "m"
effective = 2026-01-01
input = 1
source = "https://acme.example"
[[rate]]
model = "m"
effective = 2026-11-15
input = 2
source = "https://acme.example"
"""


def test_a_gauge_moves_to_the_day_of_a_new_price_and_never_back(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(ACME, encoding="utf-8")
    rig = Rig("2026-11-01", prices=tmp_path)
    labels = ("tokenmeter.provider", "tokenmeter.cost.model", "tokenmeter.cost.currency")
    since = {}
    for day in ("2026-11-01", "2026-11-16", "2026-11-02"):
        rig.clock.set(day)
        rig.spend(("acme", "m"), input_tokens=1, output_tokens=0)
        since[day] = rig.read("tokenmeter.price.effective_from", *labels)["acme", "m", "USD"]
    first, second = (int(datetime(2026, month, day, tzinfo=UTC).timestamp()) for month, day in ((1, 1), (11, 15)))
    assert since == {"2026-11-01": first, "2026-11-16": second, "2026-11-02": second}


# Tokenizers ---------------------------------------------------------------------------------------------------------


def body(text: str) -> dict[str, Any]:
    return {"model": "doubao-seed-1.6", "messages": [{"role": "user", "content": text}]}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """An answer of a vendor who counts a quarter more than we do."""
    counted = count_request(request, provider="volcengine", api="openai.chat").tokens
    assert counted is not None
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "好"}}
    usage = {"prompt_tokens": counted * 5 // 4, "completion_tokens": 1}
    return {"id": "c", "model": request["model"], "choices": [choice], "usage": usage}


@pytest.mark.parametrize("calibrate", [pytest.param(True, id="on"), pytest.param(False, id="off: nothing is counted")])
def test_our_count_stands_beside_the_vendors_where_calibration_looks(calibrate: bool) -> None:
    reader, ticks = InMemoryMetricReader(), iter(range(PAUSE, 10**6 * PAUSE, PAUSE))
    meter = Tokenmeter(
        meter_provider=MeterProvider([reader], shutdown_on_exit=False), spans="none",
        calibrate=calibrate, monotonic=lambda: next(ticks),
    )  # fmt: skip
    rng = random.Random(7)
    for _ in range(6 * CALLS):
        request = body("".join(rng.choices(["今天", "天气", "很好，", "价格是多少？"], k=rng.randint(60, 90))))
        with meter.call(provider="volcengine", model=request["model"], request=request, api="openai.chat") as one:
            one.observe(answer(request))
        meter.flush()
    found = {
        name: {
            attributes["gen_ai.token.type"]: value
            for attributes, value in points(reader, f"tokenmeter.calibration.{name}")
            if attributes["tokenmeter.provider"] == "volcengine" and attributes["tokenmeter.family"]
        }
        for name in ("counted", "reported")
    }
    meter.shutdown()
    if not calibrate:
        assert found == {"counted": {}, "reported": {}}
        return
    assert 1.24 < found["reported"]["input"] / found["counted"]["input"] <= 1.25
    assert found["reported"]["output"] > 0


# Cardinality, and what is switched ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        pytest.param([f"ep-20261101{number:04d}-abcde" for number in range(700)], id="endpoints of one's own"),
        pytest.param([f"ft:gpt-4o-mini:acme::{number:06x}" for number in range(700)], id="fine-tuned models"),
    ],
)
def test_names_of_ones_own_do_not_multiply_series(names: list[str]) -> None:
    rig = Rig()
    for name in names:
        rig.spend(("volcengine", name), input_tokens=10)
    found = rig.read("tokenmeter.calls", "gen_ai.request.model")
    assert len(found) == 201
    assert found["__other__",] == 500
    assert sum(found.values()) == 700


def test_error_types_do_not_multiply_series() -> None:
    rig = Rig()
    for number in range(300):
        error = type(f"Error{number}", (Exception,), {})
        with pytest.raises(error), rig.meter.call(provider="openai", model="gpt-5.4"):
            raise error
    kinds = {attributes["error.type"] for attributes, _ in points(rig.reader, "gen_ai.client.inference.duration")}
    assert len(kinds) == 201
    assert "__other__" in kinds


def test_which_tags_and_histograms_there_are_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENMETER_HISTOGRAMS", "token.usage, operation.duration")
    rig = Rig(metric_tags=["team"])
    with rig.meter.tags(team="search", user="u1"):
        rig.spend(SONNET, input_tokens=1_000)
    ((attributes, _),) = points(rig.reader, "tokenmeter.calls")
    assert {name for name in attributes if "tag" in name} == {"tokenmeter.tag.team"}
    assert rig.read("gen_ai.client.token.usage", "gen_ai.token.type") == {("input",): 1, ("output",): 1}
    assert points(rig.reader, "gen_ai.client.operation.duration")
    assert points(rig.reader, "gen_ai.client.inference.duration") == []


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        pytest.param({"histograms": ["duratoin"]}, "histograms are duration", id="an unknown histogram"),
        pytest.param({"histograms": "duration"}, "histograms are duration", id="text for a list"),
        pytest.param({"metric_tags": "team"}, "names of tags", id="text for tags"),
    ],
)
def test_a_wrong_setting_is_said(setting: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Tokenmeter(**setting)


# Exemplars, over the wire -------------------------------------------------------------------------------------------


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[Any]]]:
    """An OTLP endpoint over HTTP: its address, and the metrics it was sent."""
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    taken: list[Any] = []

    with http_receiver(lambda body: taken.append(ExportMetricsServiceRequest.FromString(body))) as address:
        yield f"{address}/v1/metrics", taken


def test_an_exemplar_leads_from_the_histogram_to_the_calls_own_span(receiver: tuple[str, list[Any]]) -> None:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter

    endpoint, taken = receiver
    spans = InMemorySpanExporter()
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(spans))
    reader = PeriodicExportingMetricReader(OTLPMetricExporter(endpoint), export_interval_millis=3_600_000)
    metering = MeterProvider([reader], shutdown_on_exit=False)
    meter = Tokenmeter(tracer_provider=tracing, meter_provider=metering)
    with meter.call(provider="openai", model="gpt-5.4") as call:
        call.observe_usage(Usage(input_tokens=10, output_tokens=1))
    assert metering.force_flush()
    metering.shutdown()

    (span,) = spans.get_finished_spans()
    assert span.context is not None
    found = [
        (exemplar.trace_id.hex(), exemplar.span_id.hex())
        for request in taken
        for resource in request.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "gen_ai.client.inference.duration"
        for point in metric.histogram.data_points
        for exemplar in point.exemplars
    ]
    assert set(found) == {(f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}")}
