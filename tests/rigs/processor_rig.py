"""A real OpenTelemetry SDK whose spans, made by others, the cost processor sees."""

from __future__ import annotations

from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import tokenmeter
from tokenmeter.otel.external.processor import CostSpanProcessor
from tokenmeter.testing import capture

NOV = 1_793_491_200 * 10**9
"""2026-11-01T00:00:00Z."""


class Rig:
    """A real SDK with our processor, and a meter that records."""

    def __init__(self, *, before: bool = True, processor: bool = True, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing = TracerProvider(shutdown_on_exit=False)
        self.reader = InMemoryMetricReader()
        self.meter = tokenmeter.Tokenmeter(
            tracer_provider=self.tracing,
            meter_provider=MeterProvider([self.reader], shutdown_on_exit=False),
            **settings,
        )
        ours = CostSpanProcessor(self.meter, scopes=("our.llm",))
        export = SimpleSpanProcessor(self.exporter)
        for one in (ours, export) if before else (export, ours):
            if one is export or processor:
                self.tracing.add_span_processor(one)
        self.ours = ours

    def span(self, scope: str, attributes: dict[str, Any], **more: Any) -> trace.Span:
        return self.tracing.get_tracer(scope, "1").start_span("theirs", attributes=attributes, start_time=NOV, **more)

    def one(self, scope: str, attributes: dict[str, Any]) -> tuple[list[tokenmeter.Record], dict[str, Any]]:
        """The records of one span, and its attributes at the end."""
        with capture(self.meter) as records:
            self.span(scope, attributes).end(NOV + 10**9)
        (span,) = self.exporter.get_finished_spans()
        return list(records), dict(span.attributes or {})

    @property
    def costs(self) -> dict[str, Any]:
        """Cost by span name."""
        return {
            span.name: (span.attributes or {}).get("tokenmeter.cost.amount")
            for span in self.exporter.get_finished_spans()
        }
