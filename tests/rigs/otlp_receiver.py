"""An OTLP backend in the test's own process: gRPC and HTTP, gzip, and what was received as plain values.

It misbehaves on demand: `receiver.status` answers everything with that status, `receiver.hold` lets nobody be answered
before it is released, and a receiver that is closed is a backend that is away.
"""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterable, Mapping
from concurrent import futures
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

__all__ = ["OtlpReceiver", "Point", "SpanSeen"]

REQUESTS = {
    "/v1/traces": (traces.ExportTraceServiceRequest, traces.ExportTraceServiceResponse),
    "/v1/metrics": (metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse),
    "/v1/logs": (logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse),
}


@dataclass(frozen=True)
class SpanSeen:
    """A span as it came over the wire. `kinds` says for each attribute as which type it was sent."""

    name: str
    scope: str
    resource: Mapping[str, Any]
    attributes: Mapping[str, Any]
    kinds: Mapping[str, str]
    span_id: str
    parent_id: str
    trace_id: str
    kind: int
    status: int


@dataclass(frozen=True)
class Point:
    """One point of a metric."""

    metric: str
    unit: str
    form: str
    attributes: Mapping[str, Any]
    value: float | int
    monotonic: bool
    temporality: int


@dataclass
class Received:
    """Everything so far. Points are the last of each series, as a backend would show them."""

    spans: list[SpanSeen] = field(default_factory=list)
    points: dict[tuple[Any, ...], Point] = field(default_factory=dict)
    logs: list[Any] = field(default_factory=list)
    requests: list[tuple[str, int]] = field(default_factory=list)


def plain(value: AnyValue) -> Any:
    """A value of the protocol as Python has it."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(one) for one in value.array_value.values]
    if kind == "kvlist_value":
        return {one.key: plain(one.value) for one in value.kvlist_value.values}
    return None if kind is None else getattr(value, kind)


def named(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    """Attributes by name."""
    return {pair.key: plain(pair.value) for pair in pairs}


class OtlpReceiver:
    """Listens on free ports of this machine until closed; a context manager."""

    def __init__(self) -> None:
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        self.received = Received()
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._grpc: Any = None

    @property
    def grpc_endpoint(self) -> str:
        """Where it listens for gRPC; begins to on first use. Raises ImportError without grpcio."""
        if self._grpc is None:
            import grpc

            self._grpc = grpc.server(futures.ThreadPoolExecutor(2))
            services = {
                "opentelemetry.proto.collector.trace.v1.TraceService": "/v1/traces",
                "opentelemetry.proto.collector.metrics.v1.MetricsService": "/v1/metrics",
                "opentelemetry.proto.collector.logs.v1.LogsService": "/v1/logs",
            }
            for name, path in services.items():
                request, response = REQUESTS[path]

                def export(body: Any, _: Any, response: Any = response, path: str = path) -> Any:
                    self.take(path, body)
                    return response()

                method = grpc.unary_unary_rpc_method_handler(
                    export, request_deserializer=request.FromString, response_serializer=response.SerializeToString
                )
                handler = grpc.method_handlers_generic_handler(name, {"Export": method})
                self._grpc.add_generic_rpc_handlers((handler,))
            self._grpc_port = self._grpc.add_insecure_port("127.0.0.1:0")
            self._grpc.start()
        return f"http://127.0.0.1:{self._grpc_port}"

    def __enter__(self) -> OtlpReceiver:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening: from now on the backend is away."""
        self.hold.set()
        self._http.shutdown()
        self._http.server_close()
        if self._grpc is not None:
            self._grpc.stop(None)

    # What was received ------------------------------------------------------------------------------------------

    @property
    def spans(self) -> list[SpanSeen]:
        with self._lock:
            return list(self.received.spans)

    @property
    def logs(self) -> list[Any]:
        with self._lock:
            return list(self.received.logs)

    def points(self, metric: str) -> list[Point]:
        with self._lock:
            return [point for point in self.received.points.values() if point.metric == metric]

    def total(self, metric: str, where: Mapping[str, Any] | None = None) -> float | int:
        """The sum over the series that have these attributes."""
        wanted = (where or {}).items()
        return sum(point.value for point in self.points(metric) if wanted <= point.attributes.items())

    def take(self, path: str, body: Any) -> None:
        with self._lock:
            if path == "/v1/traces":
                self.received.spans += _spans(body)
            elif path == "/v1/metrics":
                for point in _points(body):
                    key = (point.metric, tuple(sorted((name, str(value)) for name, value in point.attributes.items())))
                    self.received.points[key] = point
            else:
                self.received.logs += [
                    one for resource in body.resource_logs for scope in resource.scope_logs for one in scope.log_records
                ]


def _spans(body: Any) -> list[SpanSeen]:
    return [
        SpanSeen(
            name=span.name,
            scope=scope.scope.name,
            resource=named(resource.resource.attributes),
            attributes=named(span.attributes),
            kinds={pair.key: pair.value.WhichOneof("value") or "" for pair in span.attributes},
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            trace_id=span.trace_id.hex(),
            kind=span.kind,
            status=span.status.code,
        )
        for resource in body.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _points(body: Any) -> list[Point]:
    found = []
    for resource in body.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                form = metric.WhichOneof("data")
                data = getattr(metric, form)
                for point in data.data_points:
                    value = point.count if form == "histogram" else getattr(point, point.WhichOneof("value"))
                    found.append(
                        Point(
                            metric.name, metric.unit, form, named(point.attributes), value,
                            getattr(data, "is_monotonic", False), getattr(data, "aggregation_temporality", 0),
                        )
                    )  # fmt: skip
    return found


def _handler(receiver: OtlpReceiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.hold.wait(60)
            status = receiver.status if self.path in REQUESTS else 404
            if status == 200:
                receiver.take(self.path, REQUESTS[self.path][0].FromString(body))
            receiver.received.requests.append((self.path, status))
            self.send_response(status)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    return Handler
