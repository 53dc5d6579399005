"""Calls of spans that other instrumentations make in this process, each counted once as its span ends.

Several instrumentations may see one call: a framework's around an SDK's around the SDK's own. Who of them counts:

-   a span that carries a call of ours (`tokenmeter.call.id`, a cost) never does;
-   a span inside which another one was priced is that call seen from further out, and does not;
-   a span directly inside a call of the official instrumentations (their context key is there) belongs to that call:
    it is held back, and counts only if the outer span ends without usage. So is one that has no usage itself;
-   spans of two instrumentations that carry one response id and overlap in time are one call, side by side or not; so
    are two of which one has no id, if they are alike in all else (`foreign_records`).

What is remembered of open spans is bounded, and let go when they end. Spans that come in when they are over are
`foreign_ended`'s.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace
from opentelemetry.context import get_current

from tokenmeter._support.empty import EMPTY
from tokenmeter._support.ids import new_id
from tokenmeter.calls.context import TAGS
from tokenmeter.calls.scope import SCOPE
from tokenmeter.otel import semconv
from tokenmeter.otel.before_end import covered
from tokenmeter.otel.external.recognise import operation_of
from tokenmeter.otel.external.records import Recorder, remember
from tokenmeter.otel.external.span_data import SpanKey, attributes_at_once, key_of, told
from tokenmeter.otel.external.usage import is_ours
from tokenmeter.record import Record
from tokenmeter.usage import Source

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from tokenmeter.calls.scope import Scope
    from tokenmeter.otel.external.receiver import Receiver

__all__ = ["ForeignCalls", "Watched"]

_REMEMBERED_MOST: Final = 10_000


class Watched:
    """What was current when a span of a GenAI instrumentation began."""

    __slots__ = ("owner", "scope", "shared", "tags", "within")

    def __init__(self, scope: str, parent_context: Context | None) -> None:
        self.scope = scope
        self.tags: Mapping[str, str] = TAGS.get()
        self.within: Scope | None = SCOPE.get()
        self.owner: SpanKey | None = None
        """The span directly around this one, if it may be the same call."""
        self.shared = False
        context = get_current() if parent_context is None else parent_context
        if context:
            around = trace.get_current_span(context)
            if covered(around):
                self.owner = key_of(around.get_span_context())
            self.shared = context.get(semconv.INFERENCE_CONTEXT) is not None


class ForeignCalls:
    """Sees to it that each call whose span ends here is counted once. Arguments are those of `Recorder`."""

    def __init__(self, meter: Receiver | None, scopes: Iterable[str], providers: Mapping[str, str] | None) -> None:
        self._recorder = Recorder(meter, scopes, providers)
        self.knows = self._recorder.knows
        self._around: OrderedDict[SpanKey, None] = OrderedDict()  # open spans inside which a call was counted
        self._held: OrderedDict[SpanKey, list[Record]] = OrderedDict()  # by the span that may own them
        self._left: OrderedDict[SpanKey, None] = OrderedDict()  # spans about to end that need no second look

    def ending(self, span: Span, watch: Watched, ended_ns: int) -> Mapping[str, Any] | None:
        """Price a span that is about to end. Returns the attributes it should get, if any."""
        key = key_of(span.get_span_context())
        held = self._held.pop(key, None)
        attributes = attributes_at_once(span)
        if is_ours(attributes):
            return None
        if key in self._around:
            if held is not None and operation_of(attributes) is None:
                self.release(held)
            return None
        seen = told(span, watch.scope, attributes, ended_ns, watch.tags)
        record = self._recorder.record(seen, new_id())
        if held is not None:
            if record is None:
                self.release(held)
            elif record.usage.source is Source.NONE:
                own = held.pop()
                record = own._replace(trace_id=record.trace_id, span_id=record.span_id)
                self.release(held)
        if record is None or self._recorder.seen(seen, record):
            remember(self._left, key, None, _REMEMBERED_MOST)
            return None
        if watch.owner is not None and (watch.shared or record.usage.source is Source.NONE):
            remember(self._left, key, None, _REMEMBERED_MOST)
            self._hold(watch.owner, record)
            return None
        remember(self._left, key, None, _REMEMBERED_MOST)
        if record.usage.source is not Source.NONE:
            self._note(span)
        return self._recorder.count(record, seen, watch.within).attributes()

    def ended(self, span: ReadableSpan) -> None:
        """Follow a span that is over, and count its call if that was not done."""
        where = span.context
        if where is None:
            return
        key = key_of(where)
        if self._left and self._left.pop(key, key) is None:
            return
        if self._around and self._around.pop(key, key) is None:
            self._note(span)
            return
        scope = span.instrumentation_scope
        if scope is None or not (scope.name == semconv.SCOPE_NAME or self.knows(scope.name)):
            return
        attributes = attributes_at_once(span)
        if is_ours(attributes):
            if attributes.get(semconv.USAGE_SOURCE) != Source.NONE:
                self._note(span)
            return
        seen = told(span, scope.name, attributes, span.end_time or 0, EMPTY)
        record = self._recorder.record(seen, new_id())
        if record is None or self._recorder.seen(seen, record):
            return
        if record.usage.source is not Source.NONE:
            self._note(span)
        self._recorder.count(record, seen)

    def release(self, records: Iterable[Record] | None = None) -> None:
        """Count what was held back for spans that did not claim it; None means all there is."""
        if records is None:
            every, self._held = self._held, OrderedDict()
            records = [record for held in every.values() for record in held]
        for record in records:
            self._recorder.count(record)

    def _note(self, span: ReadableSpan) -> None:
        parent = span.parent
        if parent is not None and not parent.is_remote:
            remember(self._around, key_of(parent), None, _REMEMBERED_MOST)

    def _hold(self, owner: SpanKey, record: Record) -> None:
        held = self._held.get(owner)
        if held is not None:
            held.append(record)
            return
        if len(self._held) >= _REMEMBERED_MOST:
            self.release(self._held.popitem(last=False)[1])
        self._held[owner] = [record]
