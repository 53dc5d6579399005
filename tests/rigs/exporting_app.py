"""A program as users have it: OpenTelemetry set up with its own exporters, and tokenmeter beside it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import tokenmeter
from tokenmeter.otel.export_counts import CountedExporter

RESOURCE = Resource.create({"service.name": "shop"})


class App:
    """Exporters to one endpoint, and a meter. `flush` sends everything that has come together."""

    def __init__(self, endpoint: str, *, protocol: str = "http", timeout: float = 30, **settings: Any) -> None:
        compressed: Any
        if protocol == "http":
            from opentelemetry.exporter.otlp.proto.http import Compression
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            compressed = Compression.Gzip
            where = [f"{endpoint}/v1/traces", f"{endpoint}/v1/metrics"]
        else:
            import grpc
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter  # type: ignore
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # type: ignore

            compressed = grpc.Compression.Gzip
            where = [endpoint, endpoint]
        self.metering = MeterProvider(
            [
                PeriodicExportingMetricReader(
                    OTLPMetricExporter(where[1], timeout=timeout, compression=compressed),
                    export_interval_millis=3_600_000,
                )
            ],
            resource=RESOURCE,
            shutdown_on_exit=False,
        )
        # Newer SDKs count what they drop, if they are told with which meters.
        counted: dict[str, Any] = {}
        if "meter_provider" in inspect.signature(BatchSpanProcessor.__init__).parameters:
            counted["meter_provider"] = self.metering
        self.tracing = TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
        self.exporter = CountedExporter(
            OTLPSpanExporter(where[0], timeout=timeout, compression=compressed, **counted), self.metering
        )
        self.processor = BatchSpanProcessor(self.exporter, **counted)
        self.tracing.add_span_processor(self.processor)
        self.meter = tokenmeter.Tokenmeter(tracer_provider=self.tracing, meter_provider=self.metering, **settings)

    def flush(self) -> None:
        self.meter.flush(60)
        self.tracing.force_flush()
        self.metering.force_flush()


@contextmanager
def app(endpoint: str, **options: Any) -> Iterator[App]:
    """The program, shut down at the end of the block."""
    made = App(endpoint, **options)
    try:
        yield made
    finally:
        made.meter.shutdown(10)
        made.tracing.shutdown()
        made.metering.shutdown(timeout_millis=1000)
