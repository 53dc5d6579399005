"""Cost for calls that other instrumentations trace: their spans are priced by our book as they end.

    provider.add_span_processor(CostSpanProcessor())      # in the process that makes the spans
    BatchSpanProcessor(CostSpanExporter(exporter))        # where spans come in that are over already

A priced span is a call like any other: it becomes a record, so metrics, ledger, scopes and every other sink get it,
and the span says what it cost. The spans' own tokens stay as they are.

One call has one owner, however many instrumentations saw it: `foreign_calls` says which for spans that end here, and
`foreign_ended` for those that are over.

Attributes of a span can be set until its `end`, and a processor's `on_end` comes after that. So the processor puts a
step in front of the `end` of each span of a GenAI instrumentation when it starts; where that span can't be reached,
the call is still recorded in `on_end`, and only the attributes are missing.

Spans that a sampler drops are never seen by a processor, so what they cost is not counted here: where traces are
sampled, meter the calls themselves with `tokenmeter.instrument()`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tokenmeter._support.guard import guard
from tokenmeter.errors import MissingExtra
from tokenmeter.otel import semconv
from tokenmeter.otel.before_end import before_end
from tokenmeter.otel.external.batches import EndedCalls
from tokenmeter.otel.external.live import ForeignCalls, Watched
from tokenmeter.otel.external.span_data import Told, attributes_at_once, key_of, told

try:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
    from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
except ImportError:  # pragma: no cover
    raise MissingExtra("pricing spans needs OpenTelemetry's SDK", "otel") from None

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

    from tokenmeter.otel.external.receiver import Receiver

__all__ = ["CostSpanExporter", "CostSpanProcessor"]


class CostSpanProcessor(SpanProcessor):
    """Prices spans of GenAI instrumentations in the process that makes them.

    `meter` takes the calls; None is the default meter of the moment. `scopes` names further instrumentation scopes
    whose spans follow the GenAI conventions, such as your own. `providers` says who bills behind a name where spans
    carry no address: OpenInference says `openai` of whatever the openai SDK calls, so `{"openai": "deepseek"}`. Add
    it to a `TracerProvider` beside what exports; in which order does not matter. Raises ConfigurationError for a
    provider that the catalog does not have.
    """

    def __init__(
        self,
        meter: Receiver | None = None,
        *,
        scopes: Iterable[str] = (),
        providers: Mapping[str, str] | None = None,
    ) -> None:
        self._calls = ForeignCalls(meter, scopes, providers)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Prepare for the end of a span that may be a call."""
        with guard("watching a span"):
            scope = span.instrumentation_scope
            if scope is not None and self._calls.knows(scope.name):
                before_end(span, _Step(self._calls, Watched(scope.name, parent_context)))

    def on_end(self, span: ReadableSpan) -> None:
        """Count a call whose span could not be told its cost, and note whose ancestors are priced."""
        with guard("pricing an ended span"):
            self._calls.ended(span)

    def shutdown(self) -> None:
        """Count what was held back for spans that never ended. Sinks are the meter's."""
        with guard("counting what was held back"):
            self._calls.release()


class CostSpanExporter(SpanExporter):
    """Wraps an exporter: spans that come without a cost leave with one.

    For spans that are over already, such as those received from another process. With `count` each of them becomes
    a record too; say False where a `CostSpanProcessor` has counted them. Nothing is lost by a failure of ours:
    the span then leaves as it came. A call whose span has no usage may belong to a span around it that comes in a later
    batch: it is counted half a minute later, or at `shutdown`.
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
        """Price what can be, and hand everything on in its order."""
        answer = list(spans)
        with guard("pricing spans to export"):
            candidates = [
                (position, seen) for position, span in enumerate(answer) if (seen := self._candidate(span)) is not None
            ]
            parents = {
                key_of(span.context): None if span.parent is None else key_of(span.parent)
                for span in answer
                if span.context is not None
            }
            for place, description in self._calls.batch(parents, [seen for _, seen in candidates]):
                if description is not None:
                    position = candidates[place][0]
                    answer[position] = _with_attributes(answer[position], description.attributes())
        return self._exporter.export(answer)

    def _candidate(self, span: ReadableSpan) -> Told | None:
        """What a span says, if it may be a call."""
        scope = span.instrumentation_scope
        if scope is None or span.context is None:
            return None
        if scope.name != semconv.SCOPE_NAME and not self._calls.knows(scope.name):
            return None
        return told(span, scope.name, attributes_at_once(span), span.end_time or 0)

    def shutdown(self) -> None:
        """Count what waits for spans that did not come, and shut the exporter down."""
        with guard("counting what was held back"):
            self._calls.release()
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Flush the exporter."""
        return self._exporter.force_flush(timeout_millis)


class _Step:
    """The step before the end of a span: it gets its cost while it can."""

    __slots__ = ("calls", "watched")

    def __init__(self, calls: ForeignCalls, watched: Watched) -> None:
        self.calls = calls
        self.watched = watched

    def __call__(self, span: Span, ended_ns: int) -> None:
        attributes = self.calls.ending(span, self.watched, ended_ns)
        if attributes:
            span.set_attributes(attributes)


def _with_attributes(span: ReadableSpan, attributes: Mapping[str, Any]) -> ReadableSpan:
    """The same span with further attributes; an ended one can't be changed."""
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
