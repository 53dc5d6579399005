"""Span processors: the cost of a trace on its local root span, and conversation ids on every span.

    provider.add_span_processor(TraceCostProcessor())      # opt-in
    provider.add_span_processor(ConversationProcessor())   # opt-in

`TraceCostProcessor` sums every span of the trace that carries a cost: calls metered here, and those
that a `CostSpanProcessor` priced. The sums stand beside those of scopes, under names of their own, and no backend
takes them for a call. Currencies stay apart. What ends after the local root, such as a stream that outlives a request,
is not in it, and what a sampler dropped was never seen: for bills there are the ledger and the metrics.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import baggage

from tokenmeter._support.guard import guard
from tokenmeter.calls.context import TAGS
from tokenmeter.errors import MissingExtra
from tokenmeter.money import EXACT, exact_decimal, plain
from tokenmeter.otel import semconv
from tokenmeter.otel.attributes import number, text
from tokenmeter.otel.before_end import before_end

try:
    from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
except ImportError:  # pragma: no cover
    raise MissingExtra("summing traces needs OpenTelemetry's SDK", "otel") from None

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

__all__ = ["ConversationProcessor", "TraceCostProcessor"]

_TRACES_MOST: Final = 10_000
_ZERO: Final = Decimal(0)


class _Sums:
    """Of one trace, as far as this process saw it."""

    __slots__ = ("calls", "cost", "open", "unpriced")

    def __init__(self) -> None:
        self.open = 0
        self.calls = 0
        self.unpriced = 0
        self.cost: dict[str, Decimal] = {}

    def add(self, span: ReadableSpan) -> None:
        """Add a span, if it says a cost or that there is none known."""
        attributes = span.attributes or {}
        status = attributes.get(semconv.COST_STATUS)
        if status is None:
            return
        self.calls += 1
        amount, currency = attributes.get(semconv.COST_AMOUNT), attributes.get(semconv.COST_CURRENCY)
        if status == "unpriced" or not isinstance(amount, str) or not isinstance(currency, str):
            self.unpriced += 1
            return
        self.cost[currency] = EXACT.add(self.cost.get(currency, _ZERO), exact_decimal(amount))

    def attributes(self) -> dict[str, Any]:
        answer: dict[str, Any] = {semconv.TRACE_CALLS: self.calls, semconv.TRACE_UNPRICED: self.unpriced}
        for currency, amount in self.cost.items():
            answer[semconv.TRACE_COST + currency] = plain(amount)
            as_float = number(amount)
            if as_float is not None:
                answer[semconv.TRACE_COST_FLOAT + currency] = as_float
        return answer


class TraceCostProcessor(SpanProcessor):
    """Puts the cost of the trace so far on each local root span as it ends; on none where nothing was called."""

    def __init__(self) -> None:
        self._traces: OrderedDict[int, _Sums] = OrderedDict()
        self._lock = threading.Lock()

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Begin a sum where a trace enters the process."""
        if span.parent is not None and not span.parent.is_remote:
            return
        with guard("watching a trace"):
            with self._lock:
                sums = self._traces.setdefault(span.get_span_context().trace_id, _Sums())
                sums.open += 1
                if len(self._traces) > _TRACES_MOST:
                    self._traces.popitem(last=False)
            before_end(span, self._say, last=True)

    def on_end(self, span: ReadableSpan) -> None:
        """Add what a span says it cost."""
        with guard("summing a trace"):
            where = span.context
            sums = self._traces.get(where.trace_id) if where is not None else None
            if sums is not None:
                with self._lock:
                    sums.add(span)

    def _say(self, span: Span, ended_ns: int) -> None:
        trace_id = span.get_span_context().trace_id
        with self._lock:
            sums = self._traces.get(trace_id)
            if sums is None:
                return
            sums.open -= 1
            whole = _Sums()
            whole.calls, whole.unpriced, whole.cost = sums.calls, sums.unpriced, dict(sums.cost)
            if sums.open <= 0:
                del self._traces[trace_id]
        whole.add(span)  # the root may be a call itself
        if whole.calls:
            span.set_attributes(whole.attributes())


class ConversationProcessor(SpanProcessor):
    """Puts the ids of conversation, session and user on every span, from tags or from OpenTelemetry's baggage.

    `tokenmeter.tags(conversation=…, session=…, user=…)`, or baggage entries named as the attributes. An attribute
    that a span has already is kept.
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Set what is known when the span begins."""
        with guard("naming a conversation"):
            tags = TAGS.get()
            for attribute, tag in semconv.CONVERSATION.items():
                value = tags.get(tag)
                if value is None:
                    value = baggage.get_baggage(attribute, parent_context)  # type: ignore[assignment]
                if value is not None and attribute not in (span.attributes or {}):
                    span.set_attribute(attribute, text(value))
