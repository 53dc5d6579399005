"""OTLP's three signals (traces, metrics, logs): their paths, gRPC services and protobuf messages."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

__all__ = ["LOGS", "METRICS", "SIGNALS", "TRACES", "Signal"]


class Signal(NamedTuple):
    """One kind of telemetry. `rejected` names the field of a partial success that counts rejected items."""

    name: str
    path: str
    service: str
    request: Any
    response: Any
    rejected: str

    @property
    def method(self) -> str:
        """The full name of its gRPC method."""
        return f"/{self.service}/Export"


_PACKAGE: Final = "opentelemetry.proto.collector"

TRACES: Final = Signal(
    "traces",
    "/v1/traces",
    f"{_PACKAGE}.trace.v1.TraceService",
    traces.ExportTraceServiceRequest,
    traces.ExportTraceServiceResponse,
    "rejected_spans",
)
METRICS: Final = Signal(
    "metrics",
    "/v1/metrics",
    f"{_PACKAGE}.metrics.v1.MetricsService",
    metrics.ExportMetricsServiceRequest,
    metrics.ExportMetricsServiceResponse,
    "rejected_data_points",
)
LOGS: Final = Signal(
    "logs",
    "/v1/logs",
    f"{_PACKAGE}.logs.v1.LogsService",
    logs.ExportLogsServiceRequest,
    logs.ExportLogsServiceResponse,
    "rejected_log_records",
)
SIGNALS: Final = (TRACES, METRICS, LOGS)
