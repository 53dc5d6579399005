"""`CostSpanExporter`: wraps a span exporter and adds the cost to spans that have ended without one.

    BatchSpanProcessor(CostSpanExporter(exporter))

For spans received from another process. Each priced span becomes a record, as in `processor`. `batches` decides which
of several spans for one call counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokenmeter._support.guard import guard
from tokenmeter.errors import MissingExtra
from tokenmeter.otel import semconv
from tokenmeter.otel.external.batches import EndedCalls
from tokenmeter.otel.external.span_data import SpanData, attributes_at_once, key_of

try:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
except ImportError:  # pragma: no cover
    raise MissingExtra("pricing spans needs OpenTelemetry's SDK", "otel") from None

if TYPE_CHECKING:
    from tokenmeter.otel.external.receiver import Receiver

__all__ = ["CostSpanExporter"]


class CostSpanExporter(SpanExporter):
    """Exports through `exporter`, with a cost on each span of a model call.

    `meter`, `scopes` and `providers` are those of `CostSpanProcessor`. `count=False` makes no records: for spans that a
    `CostSpanProcessor` has counted. A span that cannot be priced is exported unchanged. A call whose span has no usage
    may belong to a parent span in a later batch: it is counted half a minute later, or at `shutdown`.
    """

    def __init__(
        self,
        exporter: SpanExporter,
        meter: Receiver | None = None,
        *,
        count: bool = True,
        scopes: Iterable[str] = (),
        providers: Mapping[str, str] | None = None,
    ) -> None:
        self._exporter = exporter
        self._calls = EndedCalls(meter, scopes, providers, count=count)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Price the batch, and export all its spans in their order."""
        answer = list(spans)
        with guard("pricing spans to export"):
            candidates = [
                (position, data) for position, span in enumerate(answer) if (data := self._candidate(span)) is not None
            ]
            parents = {
                key_of(span.context): None if span.parent is None else key_of(span.parent)
                for span in answer
                if span.context is not None
            }
            for place, cost in self._calls.batch(parents, [data for _, data in candidates]):
                if cost is not None:
                    position = candidates[place][0]
                    answer[position] = _with_attributes(answer[position], cost.attributes())
        return self._exporter.export(answer)

    def _candidate(self, span: ReadableSpan) -> SpanData | None:
        """The data of a span that may be a model call."""
        scope = span.instrumentation_scope
        if scope is None or span.context is None:
            return None
        if scope.name != semconv.SCOPE_NAME and not self._calls.knows(scope.name):
            return None
        return SpanData.of(span, scope.name, attributes_at_once(span), span.end_time or 0)

    def shutdown(self) -> None:
        """Count the calls that wait for parent spans, and shut the exporter down."""
        with guard("counting waiting calls"):
            self._calls.release()
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the exporter."""
        return self._exporter.force_flush(timeout_millis)


def _with_attributes(span: ReadableSpan, attributes: Mapping[str, Any]) -> ReadableSpan:
    """A copy of an ended span with further attributes."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={**(span.attributes or {}), **attributes},
        events=span.events,
        links=span.links,
        kind=span.kind,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )
