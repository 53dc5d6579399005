"""`CountedCalls`: whether a span belongs to a call that was counted by a span of another instrumentation.

Two instrumentations may each make a span for one call, side by side. They are one call if both carry the same response
id and overlap in time (small servers repeat their ids). Where one of them has no response id, they are one call if they
agree in everything else (`_CountedCall`).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tokenmeter.otel.external.usage import is_stated_elsewhere
from tokenmeter.usage import Source

if TYPE_CHECKING:
    from tokenmeter.calls.usual_call import Settled
    from tokenmeter.otel.external.span_data import SpanData

__all__ = ["CountedCalls", "remember"]

_REMEMBERED_MOST: Final = 10_000
_SIMILAR_MOST: Final = 50
_RECENT_MOST: Final = 200
_REPORTED_AFTER: Final = 2 * 10**9  # nanoseconds: Logfire marks a stream's end within them
_Name = TypeVar("_Name")
_Value = TypeVar("_Value")


class CountedCalls:
    """The latest counted calls, by response id and by what else identifies them."""

    def __init__(self) -> None:
        self._by_response: OrderedDict[str, tuple[str, int, int]] = OrderedDict()  # scope, start and end
        self._similar: OrderedDict[tuple[Any, ...], list[_CountedCall]] = OrderedDict()
        self._recent: deque[_CountedCall] = deque(maxlen=_RECENT_MOST)
        self._scopes: set[str] = set()  # of all counted calls: of one alone, no span is another's call

    def add(self, span: SpanData, record: Settled) -> None:
        """Remember a counted call. One without usage is not: another span may state the usage of the same call."""
        if record.usage.source is Source.NONE:
            return
        if record.response_id is not None:
            stated = (span.scope, record.started_ns, record.ended_ns)
            remember(self._by_response, record.response_id, stated, _REMEMBERED_MOST)
        self._scopes.add(span.scope)
        key, call = _similarity(span, record), _CountedCall(span, record)
        self._recent.append(call)
        similar = self._similar.get(key)
        if similar is None:
            remember(self._similar, key, [call], _REMEMBERED_MOST)
        else:
            similar.append(call)
            del similar[:-_SIMILAR_MOST]

    def include(self, span: SpanData, record: Settled) -> bool:
        """Whether the call of this span is among them. If so, the span is assigned to it."""
        id = record.response_id
        before = self._by_response.get(id) if id is not None else None
        if before is not None:
            scope, started_ns, ended_ns = before
            if scope != span.scope and started_ns <= record.ended_ns and record.started_ns <= ended_ns:
                return True
        if record.usage.source is Source.NONE:
            return False
        if record.started_ns == record.ended_ns and is_stated_elsewhere(span.scope):
            return any(call.is_reported_by(span, record) for call in self._recent)
        if self._scopes <= {span.scope}:
            return False
        return any(call.is_same_as(span, record) for call in self._similar.get(_similarity(span, record), ()))


class _CountedCall:
    """A counted call as compared with spans of other instrumentations, of which one may lack the response id.

    OpenInference's span of a stream of Anthropic's SDK, which traces itself as well, has none. Such spans are one call
    if one contains the other in time, they have the same parent or are both roots in one process, model and all tokens
    are equal, and no response ids contradict. Each instrumentation can have one such span for each call.
    """

    __slots__ = ("ended_ns", "home", "models", "response_id", "scopes", "started_ns", "tokens")

    def __init__(self, span: SpanData, record: Settled) -> None:
        self.scopes = {span.scope}
        self.started_ns, self.ended_ns = record.started_ns, record.ended_ns
        self.response_id = record.response_id
        self.home, self.tokens = span.home, _tokens(record)
        self.models = {record.request_model, record.response_model} - {None}

    def is_same_as(self, span: SpanData, record: Settled) -> bool:
        """Whether a span is of this call; then no further span of its instrumentation is."""
        inside = self.started_ns <= record.started_ns and record.ended_ns <= self.ended_ns
        around = record.started_ns <= self.started_ns and self.ended_ns <= record.ended_ns
        if span.scope in self.scopes or not (inside or around):
            return False
        if None not in (self.response_id, record.response_id):
            return False
        return self._assign(span, record)

    def is_reported_by(self, span: SpanData, record: Settled) -> bool:
        """Whether a span without duration after this call reports it, as Logfire's does at the end of a stream."""
        if span.scope in self.scopes or span.home != self.home or self.tokens != _tokens(record):
            return False
        if not (0 <= record.started_ns - self.ended_ns < _REPORTED_AFTER):
            return False
        return self._assign(span, record)

    def _assign(self, span: SpanData, record: Settled) -> bool:
        if not self.models & {record.request_model, record.response_model}:
            return False
        self.scopes.add(span.scope)
        return True


def _tokens(record: Settled) -> tuple[int | None, ...]:
    usage = record.usage
    return usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens


def _similarity(span: SpanData, record: Settled) -> tuple[Any, ...]:
    return span.home if span.parent is None else span.parent, _tokens(record)


def remember(where: OrderedDict[_Name, _Value], key: _Name, value: _Value, most: int) -> None:
    """Store a value and drop the oldest beyond `most`, in constant time."""
    where[key] = value
    if len(where) > most:
        where.popitem(last=False)
