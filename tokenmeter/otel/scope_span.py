"""The span of a scope, and the base of all our spans: made current for a while, then given attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import Span

from tokenmeter._support.guard import guard
from tokenmeter.money import plain
from tokenmeter.otel import semconv
from tokenmeter.otel.attributes import Attributes, number

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from tokenmeter.money import Money

__all__ = ["Attachable", "OpenScopeSpan", "ScopeSums", "set_all"]


class ScopeSums(Protocol):
    """What a scope's span says at its end."""

    @property
    def cost(self) -> Mapping[str, Money]: ...
    @property
    def usage(self) -> Mapping[str, int]: ...
    @property
    def sources(self) -> Mapping[str, int]: ...
    @property
    def calls(self) -> int: ...
    @property
    def attempts(self) -> int: ...
    @property
    def unpriced(self) -> int: ...
    @property
    def pending(self) -> int: ...
    @property
    def complete(self) -> bool: ...


class Attachable:
    """A span that can be made current for a while."""

    __slots__ = ("_before", "_mine", "_span")

    def __init__(self, span: Span | None, before: Context) -> None:
        self._span = span
        self._before = before
        self._mine: Context | None = None

    def attach(self) -> None:
        """Make the span current, so that what happens on the wire becomes its child."""
        if self._span is not None:
            self.make_current(self._span)

    def make_current(self, span: Span) -> None:
        """Make a span current until `detach`."""
        self._before = contexts.get_current()
        self._mine = trace.set_span_in_context(span, self._before)
        contexts.attach(self._mine)

    def detach(self) -> None:
        """Make current what was before, unless other code has changed it since."""
        mine, self._mine = self._mine, None
        if mine is not None and contexts.get_current() is mine:
            contexts.attach(self._before)


class OpenScopeSpan(Attachable):
    """The open span of a scope."""

    def finish(self, scope: ScopeSums, ended_ns: int) -> None:
        """End the span at the block's end with the scope's exact sums, each currency apart."""
        span = self._span
        if span is None:
            return
        attributes: Attributes = {}
        with guard("summing up a scope"):
            for currency, money in scope.cost.items():
                attributes[semconv.SCOPE_COST + currency] = plain(money.amount)
                as_float = number(money.amount)
                if as_float is not None:
                    attributes[semconv.SCOPE_COST_FLOAT + currency] = as_float
            attributes[semconv.SCOPE_CALLS] = scope.calls
            attributes[semconv.SCOPE_ATTEMPTS] = scope.attempts
            attributes[semconv.SCOPE_UNPRICED] = scope.unpriced
            attributes[semconv.SCOPE_PENDING] = scope.pending
            attributes[semconv.SCOPE_COMPLETE] = scope.complete
            attributes.update({semconv.SCOPE_USAGE + name: tokens for name, tokens in scope.usage.items()})
            attributes.update({semconv.SCOPE_SOURCES + name: calls for name, calls in scope.sources.items()})
        set_all(span, attributes)
        span.end(ended_ns)


def set_all(span: Span, attributes: Attributes) -> None:
    """Set attributes, all at once if the span lets us, else each for itself: one bad value loses no other."""
    done = False
    with guard("setting span attributes"):
        span.set_attributes(attributes)
        done = True
    if not done:
        for name, value in attributes.items():
            with guard("setting a span attribute"):
                span.set_attribute(name, value)
