"""A real OpenTelemetry SDK in memory, and a real lifecycle that feeds it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from tests.rigs.made_records import priced
from tokenmeter._support import guard
from tokenmeter.calls.lifecycle import Lifecycle, OpenCall
from tokenmeter.calls.route import Route
from tokenmeter.cost import Cost
from tokenmeter.otel.metrics import Metrics
from tokenmeter.otel.spans import CallSpans
from tokenmeter.usage import Usage

ROUTE = Route(
    provider="deepseek",
    otel_provider="deepseek",
    api="openai.chat",
    operation="chat",
    host="api.deepseek.com",
    port=443,
)


class Rig:
    """Tracer and meter provider, and `tokenmeter`'s sink on them. `points` and `spans` read back what came out."""

    def __init__(self, mode: str = "auto", *, sampler: Sampler = ALWAYS_ON, cost: Cost | None = None, **options: Any):
        self.exporter = InMemorySpanExporter()
        self.tracing = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.tracing.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.metering = MeterProvider([self.reader], shutdown_on_exit=False)
        self.made = CallSpans(self.tracing, mode, export_estimates=options.pop("export_estimates", False))
        self.metrics = Metrics(self.metering, **options)
        the_cost = cost if cost is not None else priced("0.0012")
        self.lifecycle = Lifecycle(sinks=(self.metrics,), spans=self.made, price=lambda record: the_cost)

    def open(self, *, stream: bool = False, tags: Any = None) -> OpenCall:
        call = self.lifecycle.open(ROUTE, "deepseek-chat", stream=stream, tags=tags or {})
        call.usage_override = Usage(input_tokens=1000, output_tokens=100)
        return call

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        """The points of one metric: attributes, and the value (of a histogram: the count)."""
        return points(self.reader, name)


def points(reader: InMemoryMetricReader, name: str) -> list[tuple[dict[str, Any], Any]]:
    data = reader.get_metrics_data()
    return [
        (dict(point.attributes or {}), getattr(point, "value", None) if hasattr(point, "value") else point.count)
        for resource in (data.resource_metrics if data is not None else ())
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
    ]


@contextmanager
def in_production() -> Iterator[None]:
    """Failures of ours are logged, as outside of the test suite."""
    guard.raise_failures(False)
    try:
        yield
    finally:
        guard.raise_failures(True)
