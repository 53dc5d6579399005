"""`CostSpanProcessor`: prices the spans that other instrumentations make in this process, as they end.

    provider.add_span_processor(CostSpanProcessor())

A priced span becomes a record like any other call: metrics, ledger, scopes and all sinks get it, and the span gets the
cost. The tokens on the span stay unchanged. `exporter` is for spans that have ended already.

Attributes can be set until a span's `end`, and `on_end` comes after that. So `on_start` puts a step before the `end` of
each span of a GenAI instrumentation. Where a span cannot be reached, `on_end` still records the call, without the
attributes.

Several instrumentations may trace one call: a framework's span around an SDK's around the SDK's own. It counts once:

-   a span that carries a call metered by tokenmeter (`tokenmeter.call.id`, a cost) does not count;
-   a span with a counted span inside it is the same call seen from outside, and does not count;
-   a span directly inside a call of the official instrumentations (their context key is set) belongs to that call. Its
    record is kept back, and counts only if the outer span ends without usage. So is a record without usage;
-   of two spans side by side for one call (`same_call`) the first to end counts.

What is remembered of open spans is bounded, and dropped when they end.

A processor never sees spans that a sampler drops, so their cost is missing: where traces are sampled, meter the calls
themselves with `tokenmeter.instrument()`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import get_current

from tokenmeter._support.guard import absorbed, guard
from tokenmeter._support.ids import new_id
from tokenmeter.calls.context import TAGS
from tokenmeter.calls.scope import SCOPE
from tokenmeter.calls.usual_call import record_of
from tokenmeter.errors import MissingExtra
from tokenmeter.otel import semconv
from tokenmeter.otel.before_end import before_end, covered
from tokenmeter.otel.external.model_calls import is_priced, operation_of
from tokenmeter.otel.external.records import Recorder
from tokenmeter.otel.external.same_call import remember
from tokenmeter.otel.external.span_data import SpanData, SpanKey, attributes_at_once, key_of
from tokenmeter.usage import Source

try:
    from opentelemetry.sdk.trace import SpanProcessor
except ImportError:  # pragma: no cover
    raise MissingExtra("pricing spans needs OpenTelemetry's SDK", "otel") from None

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from tokenmeter.calls.scope import Scope
    from tokenmeter.calls.usual_call import Settled
    from tokenmeter.otel.external.receiver import Receiver

__all__ = ["CostSpanProcessor"]

_REMEMBERED_MOST: Final = 10_000


class CostSpanProcessor(SpanProcessor):
    """Prices spans of GenAI instrumentations in the process that makes them.

    `meter` takes the calls; None is the default meter of the moment. `scopes` names further instrumentation scopes
    whose spans follow the GenAI conventions, such as your own. `providers` maps a provider's name on spans without an
    address to the provider that bills: OpenInference writes `openai` for every host that the openai SDK calls, so
    `{"openai": "deepseek"}`. Add it to a `TracerProvider` beside the exporting processors, in any order. Raises
    ConfigurationError for a provider that the catalog does not have.
    """

    def __init__(
        self,
        meter: Receiver | None = None,
        *,
        scopes: Iterable[str] = (),
        providers: Mapping[str, str] | None = None,
    ) -> None:
        self._calls = _LiveCalls(Recorder(meter, scopes, providers))

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Put a step before the end of a span that may be a model call."""
        try:
            scope = span.instrumentation_scope
            if scope is not None and self._calls.knows(scope.name):
                before_end(span, _BeforeEnd(self._calls, _StartContext(scope.name, parent_context)))
        except BaseException as error:
            if not absorbed("watching a span", error):
                raise

    def on_end(self, span: ReadableSpan) -> None:
        """Count a call whose span could not be reached before its end, and note the parents of counted spans."""
        try:
            self._calls.ended(span)
        except BaseException as error:
            if not absorbed("pricing an ended span", error):
                raise

    def shutdown(self) -> None:
        """Count the records that were kept back for spans that never ended. The meter owns the sinks."""
        with guard("counting records kept back"):
            self._calls.release()


class _StartContext:
    """What was current when a span began."""

    __slots__ = ("in_inference", "owner", "scope", "scope_name", "tags")

    def __init__(self, scope_name: str, parent_context: Context | None) -> None:
        self.scope_name = scope_name
        self.tags: Mapping[str, str] = TAGS.get()
        self.scope: Scope | None = SCOPE.get()
        self.owner: SpanKey | None = None  # the parent, if it may be a span of the same call
        self.in_inference = False  # the official instrumentations' context key is set
        context = get_current() if parent_context is None else parent_context
        if context:
            parent = trace.get_current_span(context)
            if covered(parent):
                self.owner = key_of(parent.get_span_context())
            self.in_inference = context.get(semconv.INFERENCE_CONTEXT) is not None


class _BeforeEnd:
    """The step before the end of a span: sets the cost attributes while that is possible."""

    __slots__ = ("calls", "started_in")

    def __init__(self, calls: _LiveCalls, started_in: _StartContext) -> None:
        self.calls = calls
        self.started_in = started_in

    def __call__(self, span: Span, ended_ns: int) -> None:
        attributes = self.calls.ending(span, self.started_in, ended_ns)
        if attributes:
            span.set_attributes(attributes)


class _LiveCalls:
    """Counts each call once whose span ends in this process."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self.knows = recorder.knows
        self._around: OrderedDict[SpanKey, None] = OrderedDict()  # open spans with a counted call inside
        self._kept_back: OrderedDict[SpanKey, list[Settled]] = OrderedDict()  # by the span that may own them
        self._decided: OrderedDict[SpanKey, None] = OrderedDict()  # ending spans that `ended` need not look at

    def ending(self, span: Span, started_in: _StartContext, ended_ns: int) -> Mapping[str, Any] | None:
        """Price a span that is about to end. Returns the attributes to set, if any."""
        key = key_of(span.get_span_context())
        inner = self._kept_back.pop(key, None)
        attributes = attributes_at_once(span)
        if is_priced(attributes):
            return None
        if key in self._around:
            if inner is not None and operation_of(attributes) is None:
                self.release(inner)
            return None
        data = SpanData.of(span, started_in.scope_name, attributes, ended_ns, started_in.tags)
        record = self._recorder.record(data, new_id())
        if inner is not None:
            if record is None:
                self.release(inner)
            elif record.usage.source is Source.NONE:
                record = record_of(inner.pop())._replace(trace_id=record.trace_id, span_id=record.span_id)
                self.release(inner)
        remember(self._decided, key, None, _REMEMBERED_MOST)
        if record is None or self._recorder.is_counted(data, record):
            return None
        if started_in.owner is not None and (started_in.in_inference or record.usage.source is Source.NONE):
            self._keep_back(started_in.owner, record)
            return None
        if record.usage.source is not Source.NONE:
            self._note_parent(span)
        return self._recorder.count(record, data, started_in.scope).attributes()

    def ended(self, span: ReadableSpan) -> None:
        """Follow a span that has ended, and count its call if `ending` did not see it."""
        if span.context is None:
            return
        key = key_of(span.context)
        if self._decided and self._decided.pop(key, key) is None:
            return
        if self._around and self._around.pop(key, key) is None:
            self._note_parent(span)
            return
        scope = span.instrumentation_scope
        if scope is None or not (scope.name == semconv.SCOPE_NAME or self.knows(scope.name)):
            return
        attributes = attributes_at_once(span)
        if is_priced(attributes):
            if attributes.get(semconv.USAGE_SOURCE) != Source.NONE:
                self._note_parent(span)
            return
        data = SpanData.of(span, scope.name, attributes, span.end_time or 0)
        record = self._recorder.record(data, new_id())
        if record is None or self._recorder.is_counted(data, record):
            return
        if record.usage.source is not Source.NONE:
            self._note_parent(span)
        self._recorder.count(record, data)

    def release(self, records: Iterable[Settled] | None = None) -> None:
        """Count records that were kept back for a span that is another call; None means all there are."""
        if records is None:
            every, self._kept_back = self._kept_back, OrderedDict()
            records = [record for kept in every.values() for record in kept]
        for record in records:
            self._recorder.count(record)

    def _note_parent(self, span: ReadableSpan) -> None:
        parent = span.parent
        if parent is not None and not parent.is_remote:
            remember(self._around, key_of(parent), None, _REMEMBERED_MOST)

    def _keep_back(self, owner: SpanKey, record: Settled) -> None:
        kept = self._kept_back.get(owner)
        if kept is not None:
            kept.append(record)
            return
        if len(self._kept_back) >= _REMEMBERED_MOST:
            self.release(self._kept_back.popitem(last=False)[1])
        self._kept_back[owner] = [record]
