"""Records of spans that other instrumentations made, each call once.

Several instrumentations may see one call: a framework's around an SDK's around the SDK's own. Who of them counts:

-   a span that carries a call of ours (`tokenmeter.call.id`, a cost) never does;
-   a span inside which another one was priced is that call seen from further out, and does not;
-   a span directly inside a call of the official instrumentations (their context key is there) belongs to that call:
    it is held back, and counts only if the outer span ends without usage. So is one that has no usage itself;
-   spans of two instrumentations that carry one response id and overlap in time are one call, side by side or not.

What is remembered of open spans is bounded, and let go when they end.
"""

from __future__ import annotations

import importlib
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opentelemetry import trace
from opentelemetry.context import get_value
from opentelemetry.trace import StatusCode

from tokenmeter._context import NO_TAGS, SCOPE, TAGS
from tokenmeter._guard import guard
from tokenmeter._ids import new_id
from tokenmeter.catalog.providers import load_providers
from tokenmeter.clients import _hooks
from tokenmeter.errors import ConfigurationError
from tokenmeter.record import End, Record
from tokenmeter.sinks import semconv
from tokenmeter.sinks._ending import covered
from tokenmeter.sinks.foreign import is_genai_scope, operation_of
from tokenmeter.sinks.foreign_usage import facts_of, is_ours
from tokenmeter.usage import Source

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span
    from opentelemetry.trace import SpanContext

    from tokenmeter.meter import Tokenmeter
    from tokenmeter.scopes import Scope

__all__ = ["ForeignCalls", "Watched"]

_REMEMBERED_MOST: Final = 10_000
SpanKey = tuple[int, int]
"""Trace id and span id."""
_Name = TypeVar("_Name")
_Value = TypeVar("_Value")


class Watched:
    """What was current when a span of a GenAI instrumentation began."""

    __slots__ = ("owner", "scope", "shared", "tags", "within")

    def __init__(self, scope: str, parent_context: Context | None) -> None:
        self.scope = scope
        self.tags: Mapping[str, str] = TAGS.get()
        self.within: Scope | None = SCOPE.get()
        around = trace.get_current_span(parent_context)
        self.owner = key_of(around.get_span_context()) if covered(around) else None
        """The span directly around this one, if it may be the same call."""
        self.shared = get_value(semconv.INFERENCE_CONTEXT, parent_context) is not None


class ForeignCalls:
    """Makes records of spans, and sees to it that each call is counted once."""

    def __init__(self, meter: Tokenmeter | None, scopes: Iterable[str], providers: Mapping[str, str] | None) -> None:
        self._meter = meter
        if meter is None:
            importlib.import_module("tokenmeter.meter")  # which says what the default one is
        self._renamed = {name.lower(): provider for name, provider in (providers or {}).items()}
        known = load_providers() if self._renamed else None
        for provider in self._renamed.values():
            if known is not None and known.get(provider) is None:
                raise ConfigurationError(f"providers: there is no provider {provider!r}; give an id such as 'deepseek'")
        self._scopes = frozenset(scopes)
        self._around: OrderedDict[SpanKey, None] = OrderedDict()  # open spans inside which a call was counted
        self._held: OrderedDict[SpanKey, list[Record]] = OrderedDict()  # by the span that may own them
        self._left: OrderedDict[SpanKey, None] = OrderedDict()  # spans about to end that are held, or no calls
        self._answers: OrderedDict[str, tuple[str, int, int]] = OrderedDict()  # response ids, with scope and times

    def knows(self, scope: str) -> bool:
        """Whether spans of this instrumentation scope may be calls."""
        return is_genai_scope(scope) or scope in self._scopes

    def ending(self, span: Span, watch: Watched, ended_ns: int) -> Mapping[str, Any] | None:
        """Price a span that is about to end. Returns the attributes it should get, if any."""
        key = key_of(span.get_span_context())
        held = self._held.pop(key, None)
        attributes = _all_of(span)
        if is_ours(attributes):
            return None
        if key in self._around:
            if held is not None and operation_of(attributes) is None:
                self.release(held)
            return None
        record = self._record(watch.scope, span, attributes, ended_ns, watch.tags)
        if held is not None:
            if record is None:
                self.release(held)
            elif record.usage.source is Source.NONE:
                own = held.pop()
                record = own.but(trace_id=record.trace_id, span_id=record.span_id)
                self.release(held)
        if record is None or self._seen(watch.scope, record):
            _remember(self._left, key, None)
            return None
        if watch.owner is not None and (watch.shared or record.usage.source is Source.NONE):
            _remember(self._left, key, None)
            self._hold(watch.owner, record)
            return None
        return self._count(record, watch.scope, watch.within)

    def ended(self, span: ReadableSpan, *, to_sinks: bool = True) -> Mapping[str, Any] | None:
        """Follow a span that is over, and price it if that was not done. Returns the attributes it lacks, if any."""
        where = span.context
        if where is None:
            return None
        key = key_of(where)
        if self._left and self._left.pop(key, key) is None:
            return None
        if self._around and self._around.pop(key, key) is None:
            self._note(span)
            return None
        scope = span.instrumentation_scope
        if scope is None or not (scope.name == semconv.SCOPE_NAME or self.knows(scope.name)):
            return None
        attributes = span.attributes or {}
        if is_ours(attributes):
            if attributes.get(semconv.USAGE_SOURCE) != Source.NONE:
                self._note(span)
            return None
        record = self._record(scope.name, span, _all_of(span), span.end_time or 0, NO_TAGS)
        if record is None or self._seen(scope.name, record):
            return None
        if record.usage.source is not Source.NONE:
            self._note(span)
        return self._count(record, scope.name, to_sinks=to_sinks)

    def release(self, records: Iterable[Record] | None = None) -> None:
        """Count what was held back for spans that did not claim it; None means all there is."""
        if records is None:
            every, self._held = self._held, OrderedDict()
            records = [record for held in every.values() for record in held]
        for record in records:
            self._count(record)

    def meter(self) -> Tokenmeter:
        """Who takes the calls."""
        if self._meter is not None:
            return self._meter._latest()
        return _hooks.default_meter()

    def _record(
        self,
        scope: str,
        span: ReadableSpan,
        attributes: Mapping[str, Any],
        ended_ns: int,
        tags: Mapping[str, str],
    ) -> Record | None:
        """The record of a span, or None if it is no call to a model, or ours."""
        meter = self.meter()
        failed = span.status.status_code is StatusCode.ERROR
        facts = facts_of(scope, attributes, meter.providers, self._renamed, failed=failed)
        if facts is None:
            return None
        where = span.get_span_context()
        facts.update(
            id=new_id(),
            started_ns=span.start_time or ended_ns,
            ended_ns=ended_ns,
            end=End.ERROR if failed or facts["error_type"] is not None else End.COMPLETE,
            tags=tags,
            trace_id=None if where is None else f"{where.trace_id:032x}",
            span_id=None if where is None else f"{where.span_id:016x}",
            telemetry="enriched",
            pricer=meter._billing.price,
        )
        return Record.of(facts)

    def _seen(self, scope: str, record: Record) -> bool:
        """Whether another instrumentation's span of this very answer was counted. Small servers repeat their ids."""
        before = self._answers.get(record.response_id) if record.response_id is not None else None
        if before is None:
            return False
        other, started_ns, ended_ns = before
        return other != scope and started_ns <= record.ended_ns and record.started_ns <= ended_ns

    def _count(
        self, record: Record, scope: str | None = None, within: Scope | None = None, *, to_sinks: bool = True
    ) -> Mapping[str, Any]:
        """Hand a record to scope and sinks. Returns what its span should say."""
        if record.response_id is not None and scope is not None:
            _remember(self._answers, record.response_id, (scope, record.started_ns, record.ended_ns))
        if within is not None:
            with guard("adding to a scope"):
                record = record.but(scope=within.path)
                within.opened()
                within.settled(record)
        meter = self.meter()
        if to_sinks:
            for sink in meter._lifecycle.sinks:
                with guard("writing to a sink"):
                    sink.write(record)
        return {**meter._scope_spans.enriching(record), semconv.CALL_ID: record.id}

    def _note(self, span: ReadableSpan) -> None:
        parent = span.parent
        if parent is not None and not parent.is_remote:
            _remember(self._around, key_of(parent), None)

    def _hold(self, owner: SpanKey, record: Record) -> None:
        held = self._held.get(owner)
        if held is not None:
            held.append(record)
            return
        if len(self._held) >= _REMEMBERED_MOST:
            self.release(self._held.popitem(last=False)[1])
        self._held[owner] = [record]


def _remember(where: OrderedDict[_Name, _Value], key: _Name, value: _Value) -> None:
    where[key] = value
    if len(where) > _REMEMBERED_MOST:
        where.popitem(last=False)


def _all_of(span: ReadableSpan) -> Mapping[str, Any]:
    """A span's attributes as a dict: reading them one by one from the SDK's mapping takes a lock and 0.5 µs each."""
    attributes: Any = span.attributes
    copy = getattr(attributes, "copy", None)
    if copy is not None:
        answer = copy()
        if type(answer) is dict:
            return answer
    return dict(attributes or {})


def key_of(context: SpanContext) -> SpanKey:
    return context.trace_id, context.span_id
