"""The collector's own metrics: what it priced, as every tokenmeter reports it, and what became of the spans.

They leave as requests like any other, through the lane of the metrics, so the same endpoint, headers, retries and
queue hold for them. An endpoint that takes no metrics is asked once. With a port they can be scraped as well.
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

from tokenmeter.collector.counters import Counts
from tokenmeter.collector.forward_queue import Room
from tokenmeter.collector.results import Verdict
from tokenmeter.errors import ConfigurationError, MissingExtra
from tokenmeter.otel import semconv

if TYPE_CHECKING:
    from tokenmeter.collector.forward_queue import Lane

__all__ = ["meter_provider", "observe"]

_logger: Final = logging.getLogger("tokenmeter.collector")
_NO_METRICS_THERE: Final = frozenset({404, 405, 501})


def meter_provider(
    lane: Callable[[], Lane], room: Room, every: float | None, scrape: tuple[str, int] | None
) -> MeterProvider:
    """A provider whose metrics go to the endpoint every so many seconds, and to those who scrape.

    Raises ConfigurationError for a port that is taken, MissingExtra without Prometheus's exporter.
    """
    readers: list[MetricReader] = []
    if every is not None:
        readers.append(PeriodicExportingMetricReader(_ToLane(lane, room), export_interval_millis=every * 1000))
    if scrape is not None:
        readers.append(_scraped(*scrape))
    named = os.environ.get("OTEL_SERVICE_NAME", "").strip() or "tokenmeter-collector"
    return MeterProvider(readers, Resource.create({"service.name": named}), shutdown_on_exit=False)


def observe(provider: MeterProvider, counts: Counts, room: Room, lanes: Iterable[Lane]) -> None:
    """Report the spans' counts and the queue."""
    meter = provider.get_meter(semconv.SCOPE_NAME, semconv.scope_version(), semconv.SCHEMA_URL)
    for name, (metric, unit, description) in semconv.COLLECTOR_COUNTERS.items():
        meter.create_observable_counter(metric, [_reader(counts, name)], unit, description)
    lanes = tuple(lanes)
    for (metric, unit, description), read in (
        (semconv.COLLECTOR_QUEUE_BYTES, lambda: room.used),
        (semconv.COLLECTOR_QUEUE_REQUESTS, lambda: sum(lane.waiting for lane in lanes)),
        (semconv.COLLECTOR_QUEUE_LIMIT, lambda: room.size),
    ):
        meter.create_observable_gauge(metric, [_gauge(read)], unit, description)


def _reader(counts: Counts, name: str) -> Callable[[CallbackOptions], list[Observation]]:
    return lambda options: [Observation(getattr(counts, name))]


def _gauge(read: Callable[[], int]) -> Callable[[CallbackOptions], list[Observation]]:
    return lambda options: [Observation(read())]


class _ToLane(MetricExporter):
    """Hands metrics to a lane, from the reader's thread."""

    def __init__(self, lane: Callable[[], Lane], room: Room) -> None:
        super().__init__()
        self._lane = lane
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._unwanted = False

    def export(self, metrics_data: MetricsData, timeout_millis: float = 10_000, **kwargs: Any) -> MetricExportResult:
        if self._unwanted or self._loop.is_closed():
            return MetricExportResult.SUCCESS
        body: bytes = encode_metrics(metrics_data).SerializeToString()
        asyncio.run_coroutine_threadsafe(self._deliver(body), self._loop)
        return MetricExportResult.SUCCESS

    async def _deliver(self, body: bytes) -> None:
        if self._room.used + len(body) > self._room.size:
            return  # the next ones say the same and more: sums only grow
        self._room.change(len(body))
        outcome = await self._lane().deliver(body)
        if outcome.verdict is Verdict.REJECTED and outcome.http_status in _NO_METRICS_THERE:
            self._unwanted = True
            _logger.warning(
                "the endpoint takes no metrics, so the collector's own are sent no more: %s", outcome.message
            )

    def force_flush(self, timeout_millis: float = 10_000) -> bool:
        return True

    def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
        """Nothing to let go of: the lane is the collector's."""


def _scraped(host: str, port: int) -> MetricReader:
    try:
        from opentelemetry.exporter.prometheus import PrometheusMetricReader
        from prometheus_client import start_http_server
    except ImportError:
        raise MissingExtra("--prometheus needs OpenTelemetry's exporter for it", "collector") from None

    class Scraped(PrometheusMetricReader):
        """Closes its port with the provider."""

        def shutdown(self, timeout_millis: float = 30_000, **kwargs: Any) -> None:
            server.shutdown()
            server.server_close()
            super().shutdown(timeout_millis, **kwargs)

    try:
        server, _ = start_http_server(port, host)
    except OSError as error:
        raise ConfigurationError(f"--prometheus: cannot listen on {host}:{port}: {error.strerror}") from None
    return Scraped()
