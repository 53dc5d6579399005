"""Real senders in front and real collectors around: OpenTelemetry's own exporters, and rotel."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from tests.rigs.collector_rig import HttpEndpoint, Running, attributes, rows, spans_of
from tests.rigs.rotel_agent import rotel_agent
from tests.rigs.services import until
from tokenmeter.money import plain
from tokenmeter.otel.external.processor import CostSpanProcessor
from tokenmeter.testing import capture

Collect = Callable[..., Running]
SAID = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "deepseek", "gen_ai.request.model": "deepseek-chat",
    "gen_ai.usage.input_tokens": 24, "gen_ai.usage.cache_read.input_tokens": 8, "gen_ai.usage.output_tokens": 12,
}  # fmt: skip


def application(exporter: SpanExporter, *, processor: bool = False) -> TracerProvider:
    """A program that makes five calls in a request, each traced by a framework around the SDK."""
    tracing = TracerProvider(resource=Resource.create({"service.name": "shop"}), shutdown_on_exit=False)
    if processor:
        tracing.add_span_processor(CostSpanProcessor())
    tracing.add_span_processor(BatchSpanProcessor(exporter))
    with tracing.get_tracer("opentelemetry.instrumentation.fastapi").start_as_current_span("POST /ask"):
        for _ in range(5):
            with tracing.get_tracer("openlit").start_as_current_span("framework", attributes=SAID):
                tracing.get_tracer("opentelemetry.instrumentation.openai").start_span("sdk", attributes=SAID).end()
    return tracing


SENDERS = [
    pytest.param(lambda to: HttpExporter(f"{to.url}/v1/traces"), id="http"),
    pytest.param(lambda to: HttpExporter(f"{to.url}/v1/traces", compression=Compression.Gzip), id="http, gzip"),
    pytest.param(lambda to: GrpcExporter(to.grpc, insecure=True), id="grpc"),
]


@pytest.mark.parametrize("make", SENDERS)
def test_an_application_and_the_ledger_sum_to_the_same_as_with_the_processor(
    endpoint: HttpEndpoint, collect: Collect, tmp_path: Path, make: Callable[[Running], SpanExporter]
) -> None:
    ledger = tmp_path / "spend.db"
    running = collect(endpoint=endpoint.url, ledger=str(ledger), compression="gzip", tags={"service": "service.name"})
    application(make(running)).shutdown()
    spans = spans_of(endpoint.bodies)
    assert [one.name for one in spans] == [*["sdk"] * 5, *["framework"] * 5, "POST /ask"], "by scope, as they came"
    assert running.stop().startswith("11 spans received, 11 forwarded, 5 calls priced, 0 unpriced")
    with capture() as records:
        application(HttpExporter("http://127.0.0.1:9/none", timeout=0.1), processor=True)
    expected = [plain(record.cost.amount) for record in records if record.cost.amount is not None]
    assert len(expected) == 5
    assert [row[2:] for row in rows(ledger)] == [(amount, "CNY", 24, 12) for amount in expected]
    told = [attributes(one) for one in spans if "tokenmeter.cost.amount" in attributes(one)]
    assert [one["tokenmeter.cost.amount"] for one in told] == expected
    assert {one["tokenmeter.tag.service"] for one in told} == {"shop"}
    assert [one.name for one in spans if "tokenmeter.cost.amount" in attributes(one)] == ["sdk"] * 5


def test_spans_that_the_processor_priced_are_left_alone(endpoint: HttpEndpoint, collect: Collect) -> None:
    running = collect(endpoint=endpoint.url)
    with capture() as records:
        application(HttpExporter(f"{running.url}/v1/traces"), processor=True).shutdown()
    assert len(records) == 5
    assert (running.counts["priced"], running.counts["unpriced"], running.counts["forwarded"]) == (0, 0, 11)


def sums(bodies: list[tuple[str, bytes]], name: str) -> list[Any]:
    """The points of a metric in the last message that has it."""
    found: list[Any] = []
    for path, body in bodies:
        if path == "/v1/metrics":
            for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        if metric.name == name:
                            kind = metric.WhichOneof("data")
                            found = [
                                one.as_double if one.HasField("as_double") else one.as_int
                                for one in getattr(metric, kind).data_points
                            ]
    return found


def test_what_was_priced_and_what_became_of_it_is_sent_as_metrics(endpoint: HttpEndpoint, collect: Collect) -> None:
    running = collect(endpoint=endpoint.url, metrics_every=0.5)
    application(HttpExporter(f"{running.url}/v1/traces")).shutdown()
    until(lambda: sums(endpoint.bodies, "tokenmeter.collector.spans.forwarded") == [11], "the metric")
    running.stop()
    assert sums(endpoint.bodies, "tokenmeter.collector.spans.received") == [11]
    assert sums(endpoint.bodies, "tokenmeter.collector.calls.priced") == [5]
    assert sums(endpoint.bodies, "tokenmeter.collector.queue.limit") == [64 * 2**20]
    assert sums(endpoint.bodies, "tokenmeter.calls") == [5]
    assert sum(sums(endpoint.bodies, "tokenmeter.usage")) == 5 * 36


def test_an_endpoint_that_takes_no_metrics_is_asked_once(
    endpoint: HttpEndpoint, collect: Collect, caplog: pytest.LogCaptureFixture
) -> None:
    from aiohttp import web

    asked: list[str] = []

    def only_traces(path: str, body: bytes) -> web.Response | None:
        asked.append(path)
        return web.Response(status=405) if path == "/v1/metrics" else None

    endpoint.answer = only_traces
    running = collect(endpoint=endpoint.url, metrics_every=0.1)
    until(lambda: "are sent no more" in caplog.text, "the word about it")
    for _ in range(3):
        application(HttpExporter(f"{running.url}/v1/traces")).shutdown()
    running.stop()
    assert asked.count("/v1/metrics") <= 2, "one may have been under way"


def test_metrics_can_be_scraped(endpoint: HttpEndpoint, collect: Collect) -> None:
    pytest.importorskip("opentelemetry.exporter.prometheus")
    port = free_port()
    running = collect(endpoint=endpoint.url, prometheus=port)
    application(HttpExporter(f"{running.url}/v1/traces")).shutdown()
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=60).text
    assert re.search(r"^tokenmeter_collector_spans_received_total(\{[^}]*\})? 11\.0$", text, re.MULTILINE)
    assert 'tokenmeter_cost_currency="CNY"' in text
    running.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5)


# A collector of somebody else's around ours ------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture
def rotel() -> Iterator[Callable[..., str]]:
    """Starts rotel-agents that forward to a place; returns where each listens for HTTP."""
    agent = rotel_agent()
    running: list[subprocess.Popen[bytes]] = []

    def start(to: str, protocol: str) -> str:
        grpc_port, http_port = free_port(), free_port()
        command = [
            str(agent), "start", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc_port}", "--otlp-http-endpoint",
            f"127.0.0.1:{http_port}", "--exporter", "otlp", "--otlp-exporter-protocol", protocol,
            "--otlp-exporter-endpoint", to, "--batch-timeout", "100ms",
        ]  # fmt: skip
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

        def listening() -> bool:
            with socket.socket() as one:
                return one.connect_ex(("127.0.0.1", http_port)) == 0

        until(listening, "rotel's start")
        return f"http://127.0.0.1:{http_port}"

    yield start
    for one in running:
        one.kill()
        one.wait()


@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_with_another_collector_before_and_behind(
    endpoint: HttpEndpoint, collect: Collect, rotel: Callable[..., str], tmp_path: Path, protocol: str
) -> None:
    ledger = tmp_path / "spend.db"
    behind = rotel(endpoint.url, "http")
    running = collect(endpoint=behind, ledger=str(ledger))
    before = rotel(f"http://{running.grpc}" if protocol == "grpc" else running.url, protocol)
    application(HttpExporter(f"{before}/v1/traces")).shutdown()
    with_metrics = MeterProvider(
        [PeriodicExportingMetricReader(OTLPMetricExporter(f"{before}/v1/metrics"))], shutdown_on_exit=False
    )
    with_metrics.get_meter("app").create_counter("orders").add(3)
    with_metrics.shutdown()
    until(lambda: len(spans_of(endpoint.bodies)) == 11, "delivery")
    until(lambda: sums(endpoint.bodies, "orders") == [3], "delivery of metrics")
    running.stop()
    assert len(rows(ledger)) == 5
    assert sum("tokenmeter.cost.amount" in attributes(one) for one in spans_of(endpoint.bodies)) == 5
