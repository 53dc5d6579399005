"""A span that somebody else made, as pricing reads it, whoever holds it: the SDK, or a message off the wire.

What a span says is read from a `Told`. `told` makes one of a span of the SDK; `tokenmeter.collector.price_spans` makes
one of a span in an OTLP message. Nothing that decides about a call knows which of them it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from opentelemetry.trace import StatusCode

from tokenmeter._support.empty import EMPTY

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import SpanContext

__all__ = ["SpanKey", "Told", "attributes_at_once", "key_of", "told"]

SpanKey: TypeAlias = Any
"""Which span it is: the ids as its holder keeps them, compared with nothing but keys of the same holder."""


class Told:
    """What one span says. `trace_id` and `span_id` are hex, instants are nanoseconds since the epoch. `home` tells
    processes apart where spans of several come together."""

    __slots__ = (
        "attributes", "ended_ns", "failed", "home", "key", "parent", "scope", "span_id", "started_ns", "tags",
        "trace_id",
    )  # fmt: skip

    def __init__(
        self,
        key: SpanKey,
        parent: SpanKey | None,
        scope: str,
        attributes: Mapping[str, Any],
        started_ns: int,
        ended_ns: int,
        failed: bool,
        trace_id: str | None,
        span_id: str | None,
        tags: Mapping[str, str],
        home: object = None,
    ) -> None:
        self.key = key
        self.parent = parent
        self.scope = scope
        self.attributes = attributes
        self.started_ns = started_ns
        self.ended_ns = ended_ns
        self.failed = failed
        self.trace_id = trace_id
        self.span_id = span_id
        self.tags = tags
        self.home = home


def told(
    span: ReadableSpan,
    scope: str,
    attributes: Mapping[str, Any],
    ended_ns: int,
    tags: Mapping[str, str] = EMPTY,
) -> Told:
    """What a span of the SDK says."""
    where = span.get_span_context()
    around = span.parent
    return Told(
        None if where is None else key_of(where),
        None if around is None else key_of(around),
        scope,
        attributes,
        span.start_time or ended_ns,
        ended_ns,
        span.status.status_code is StatusCode.ERROR,
        None if where is None else f"{where.trace_id:032x}",
        None if where is None else f"{where.span_id:016x}",
        tags,
    )


def key_of(context: SpanContext) -> SpanKey:
    """Which span of the SDK it is."""
    return context.trace_id, context.span_id


def attributes_at_once(span: ReadableSpan) -> Mapping[str, Any]:
    """A span's attributes as a dict: reading them one by one from the SDK's mapping takes a lock and 0.5 µs each."""
    attributes: Any = span.attributes
    copy = getattr(attributes, "copy", None)
    if copy is not None:
        answer = copy()
        if type(answer) is dict:
            return answer
    return dict(attributes or {})
