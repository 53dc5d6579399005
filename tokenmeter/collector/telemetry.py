"""The collector's own metrics: costs and usage, span counters and queue size; exported by OTLP and to Prometheus.

They go through the metrics `ForwardQueue` like forwarded requests, so the same endpoint, headers, retries and limits
apply. After an endpoint has answered that it accepts no metrics, none are sent.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import (
    MetricExporter,
    MetricExportResult,
    MetricReader,
    MetricsData,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.resources import Resource

from tokenmeter.collector.counters import SpanCounters
from tokenmeter.collector.forward_queue import MemoryBudget
from tokenmeter.collector.results import Verdict
from tokenmeter.errors import ConfigurationError, MissingExtra
from tokenmeter.otel import semconv

if TYPE_CHECKING:
    from tokenmeter.collector.forward_queue import ForwardQueue

__all__ = ["meter_provider", "observe"]

_logger: Final = logging.getLogger("tokenmeter.collector")
_NO_METRICS_THERE: Final = frozenset({404, 405, 501})


def meter_provider(
    queue: Callable[[], ForwardQueue], memory: MemoryBudget, every: float | None, scrape: tuple[str, int] | None
) -> MeterProvider:
    """A meter provider that exports to the endpoint `every` so many seconds, and serves a Prometheus `scrape` address.

    Raises ConfigurationError for a port in use, MissingExtra without Prometheus's exporter.
    """
    readers: list[MetricReader] = []
    if every is not None:
        readers.append(PeriodicExportingMetricReader(_ToQueue(queue, memory), export_interval_millis=every * 1000))
    if scrape is not None:
        readers.append(_scraped(*scrape))
    named = os.environ.get("OTEL_SERVICE_NAME", "").strip() or "tokenmeter-collector"
    return MeterProvider(readers, Resource.create({"service.name": named}), shutdown_on_exit=False)


def observe(
    provider: MeterProvider, counts: SpanCounters, memory: MemoryBudget, queues: Iterable[ForwardQueue]
) -> None:
    """Register the metrics of the span counters and the queues."""
    meter = provider.get_meter(semconv.SCOPE_NAME, semconv.scope_version(), semconv.SCHEMA_URL)
    for name, (metric, unit, description) in semconv.COLLECTOR_COUNTERS.items():
        meter.create_observable_counter(metric, [_reader(counts, name)], unit, description)
    queues = tuple(queues)
    for (metric, unit, description), read in (
        (semconv.COLLECTOR_QUEUE_BYTES, lambda: memory.used),
        (semconv.COLLECTOR_QUEUE_REQUESTS, lambda: sum(queue.waiting for queue in queues)),
        (semconv.COLLECTOR_QUEUE_LIMIT, lambda: memory.size),
    ):
        meter.create_observable_gauge(metric, [_gauge(read)], unit, description)


def _reader(counts: SpanCounters, name: str) -> Callable[[CallbackOptions], list[Observation]]:
    return lambda options: [Observation(getattr(counts, name))]


def _gauge(read: Callable[[], int]) -> Callable[[CallbackOptions], list[Observation]]:
    return lambda options: [Observation(read())]


class _ToQueue(MetricExporter):
    """Exports metrics into a `ForwardQueue`, from the reader's thread."""

    def __init__(self, queue: Callable[[], ForwardQueue], memory: MemoryBudget) -> None:
        super().__init__()
        self._queue = queue
        self._memory = memory
        self._loop = asyncio.get_running_loop()
        self._unwanted = False

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        if self._unwanted or self._loop.is_closed():
            return MetricExportResult.SUCCESS
        body: bytes = encode_metrics(metrics_data).SerializeToString()
        asyncio.run_coroutine_threadsafe(self._deliver(body), self._loop)
        return MetricExportResult.SUCCESS

    async def _deliver(self, body: bytes) -> None:
        if self._memory.used + len(body) > self._memory.size:
            return  # the next export includes these sums: they are cumulative
        self._memory.change(len(body))
        outcome = await self._queue().deliver(body)
        if outcome.verdict is Verdict.REJECTED and outcome.http_status in _NO_METRICS_THERE:
            self._unwanted = True
            _logger.warning(
                "The endpoint accepts no metrics, so the collector's own metrics are sent no more: %s", outcome.message
            )

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Do nothing: the collector owns and closes the queue."""


def _scraped(host: str, port: int) -> MetricReader:
    try:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from prometheus_client import start_http_server
    except ImportError:
        raise MissingExtra("--prometheus needs OpenTelemetry's exporter for it", "collector") from None

    class Scraped(PrometheusMetricReader):
        """Closes its port when the meter provider shuts down."""

        def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
            server.shutdown()
            server.server_close()
            super().shutdown(timeout_millis, **kwargs)

    try:
        server, _ = start_http_server(port, host)
    except OSError as error:
        raise ConfigurationError(f"--prometheus: cannot listen on {host}:{port}: {error.strerror}") from None
    return Scraped()
