"""An exporter that counts the spans it delivered and lost.

    provider.add_span_processor(BatchSpanProcessor(CountedExporter(OTLPSpanExporter())))     # opt-in

OpenTelemetry's SDK can count for itself (OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED=true), and says there what its queue
had no room for; but its HTTP exporter counts a batch that the backend answered with 4xx or 5xx as exported (seen in
1.45), so who wants to know what is missing counts the results. Money is never missing with a span: the ledger and the
metrics have every call.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry import metrics

from tokenmeter._support.guard import guard
from tokenmeter.errors import MissingExtra
from tokenmeter.otel import semconv

try:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
except ImportError:  # pragma: no cover
    raise MissingExtra("counting exported spans needs OpenTelemetry's SDK", "otel") from None

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

__all__ = ["CountedExporter"]


class CountedExporter(SpanExporter):
    """Wraps an exporter and counts its spans as `tokenmeter.export.spans`, by `tokenmeter.export.outcome`.

    `delivered` and `lost` are the sums so far. The exporter's answers and exceptions pass through unchanged.
    """

    def __init__(self, exporter: SpanExporter, meter_provider: MeterProvider | None = None) -> None:
        self._exporter = exporter
        self.delivered = 0
        self.lost = 0
        name, unit, description = semconv.EXPORTED
        meter = metrics.get_meter(semconv.SCOPE_NAME, semconv.scope_version(), meter_provider)
        self._counter = meter.create_counter(name, unit, description)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Export, and count what came of it."""
        lost = True
        try:
            result = self._exporter.export(spans)
            lost = result is not SpanExportResult.SUCCESS
            return result
        finally:
            with guard("counting exported spans"):
                self._count(len(spans), lost)

    def _count(self, spans: int, lost: bool) -> None:
        if lost:
            self.lost += spans
        else:
            self.delivered += spans
        self._counter.add(spans, {semconv.OUTCOME: "lost" if lost else "delivered"})

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the exporter."""
        return self._exporter.force_flush(timeout_millis)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exporter, name)
