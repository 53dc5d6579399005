"""Our own span of a call, made when the call is over, all at once.

The SDK takes 250,000 instructions to start a span, fill it and end it, and 35,000 to take one that is finished. So
while a call is on the wire, what is current is a stand-in, which becomes the call's span as soon as it is asked
anything: the spans of HTTP libraries are its children, as ever. Where it was not asked, the finished span goes to the
provider's processors, as they would get it from a span that ends.

That is done where it makes no difference: with the SDK's own tracer, and with processors that do nothing when a span
starts. Else the span of a call starts when the call does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry import trace
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer

from tokenmeter.otel.attributes import Attributes

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.util import types
    from opentelemetry.util.types import AttributeValue

__all__ = ["Identity", "SpanHandover", "StandIn"]

_UNSET: Final = Status(StatusCode.UNSET)
_ERROR: Final = Status(StatusCode.ERROR)
_CLIENT: Final = SpanKind.CLIENT
_SAMPLED: Final = 1
_RANDOM: Final = 2
"""The flags of a trace: sampled, and with a random id."""


class Identity(NamedTuple):
    """Who a span is, and what the sampler lets it say: None where it is not recorded."""

    parent: SpanContext | None
    context: SpanContext
    attributes: Mapping[str, Any] | None


class SpanHandover:
    """The way by which finished spans reach the processors of one provider. Made by `of`."""

    def __init__(self, tracer: Any, provider: Any) -> None:
        """Raises AttributeError or ImportError for a version of the SDK that is built otherwise."""
        from opentelemetry.attributes import BoundedAttributes
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
        from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

        self._make, self._bound = ReadableSpan, BoundedAttributes
        self._idle_at_start = (BatchSpanProcessor, SimpleSpanProcessor)
        self._queueing, self._plain_ids = BatchSpanProcessor, RandomIdGenerator
        self.quiet = False
        """Whether sampler, ids and processors run no code of others on the caller's thread; see `possible`."""
        self._tracer = tracer
        self._processor = provider._active_span_processor
        self._processors: object = None
        self._sampler, self._ids, self._enabled = tracer.sampler, tracer.id_generator, tracer._is_enabled
        self._scope, self._library = tracer._instrumentation_scope, tracer.instrumentation_info
        self._most = tracer._span_limits.max_span_attributes
        self._longest = tracer._span_limits.max_span_attribute_length
        self._random = getattr(self._ids, "is_trace_id_random", None)
        self._takes_all = _takes_all(tracer.sampler)
        _ = tracer.resource, self._processor._span_processors

    @classmethod
    def of(cls, tracer: Tracer, provider: object) -> SpanHandover | None:
        """The handover for a tracer; None where a finished span could be told from one that ended."""
        try:
            from opentelemetry.sdk.trace import SynchronousMultiSpanProcessor, TracerProvider
            from opentelemetry.sdk.trace import Tracer as SdkTracer

            if type(provider) is not TracerProvider or type(tracer) is not SdkTracer:
                return None
            if "start_span" in vars(tracer) or "get_tracer" in vars(provider):
                return None  # others have put a function of theirs between: it is to see the span start
            counted = getattr(tracer, "_tracer_metrics", None)
            if counted is not None and type(counted).__name__ != "NoOpTracerMetrics":
                return None  # the SDK counts the spans that start
            made = cls(tracer, provider)
        except (AttributeError, ImportError):
            return None
        return made if type(made._processor) is SynchronousMultiSpanProcessor else None

    @property
    def possible(self) -> bool:
        """Whether no processor acts when a span starts. They may be added at any time."""
        processors = self._processor._span_processors
        if processors is not self._processors:
            if any(type(one) not in self._idle_at_start for one in processors):
                return False
            self._processors = processors
            plain = self._takes_all and type(self._ids) is self._plain_ids
            self.quiet = plain and all(type(one) is self._queueing for one in processors)
        return bool(self._enabled())

    def identity(self, name: str, before: Context, attributes: Attributes) -> Identity:
        """The ids of a span below what was current, and the sampler's decision on it, as the SDK makes them."""
        parent: SpanContext | None = trace.get_current_span(before).get_span_context()
        random = self._random
        if parent is None or not parent.is_valid:
            parent = None
            trace_id = self._ids.generate_trace_id()
            flags = _RANDOM if random is not None and random() else 0
        else:
            trace_id = parent.trace_id
            flags = parent.trace_flags & _RANDOM if random is not None else 0
        if self._takes_all and (parent is None or parent.trace_flags & _SAMPLED):
            state = None if parent is None else parent.trace_state
            where = SpanContext(trace_id, self._ids.generate_span_id(), False, _FLAGS[flags | _SAMPLED], state)
            return Identity(parent, where, attributes)
        sampled = self._sampler.should_sample(before, trace_id, name, _CLIENT, attributes, ())
        decision = sampled.decision
        if decision.is_sampled():
            flags |= _SAMPLED
        where = SpanContext(trace_id, self._ids.generate_span_id(), False, _FLAGS[flags], sampled.trace_state)
        return Identity(parent, where, sampled.attributes if decision.is_recording() else None)

    def hand_over(
        self,
        name: str,
        identity: Identity,
        attributes: Attributes,
        times: tuple[int, int],
        *,
        failed: bool,
        clean: bool,
    ) -> None:
        """Give a finished span to the processors; `clean`: its attributes are such as the SDK makes of any."""
        if not clean or self._longest is not None or (self._most is not None and len(attributes) > self._most):
            attributes = self._bound(self._most, attributes, immutable=True, max_value_len=self._longest)  # type: ignore[assignment]
        span = self._make(
            name, identity.context, identity.parent, self._tracer.resource, attributes, (), (), _CLIENT,
            self._library, _ERROR if failed else _UNSET, times[0], times[1], self._scope,
        )  # fmt: skip
        self._processor.on_end(span)


def _takes_all(sampler: Any) -> bool:
    """Whether this is the SDK's default sampler, which takes whatever has no parent or a sampled one, unasked.

    Raises AttributeError for a version of the SDK that is built otherwise.
    """
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON, DEFAULT_ON

    if type(sampler) is not type(DEFAULT_ON):
        return sampler is ALWAYS_ON
    asked = (sampler._root, sampler._remote_parent_sampled, sampler._local_parent_sampled)
    return all(one is ALWAYS_ON for one in asked)


_FLAGS: Final = tuple(TraceFlags(flags) for flags in range(4))


class StandIn(Span):
    """What is current while a call is on the wire: asked anything, it becomes the call's span.

    `live` gives that span, and makes it if it is not there.
    """

    def __init__(self, live: Callable[[], Span]) -> None:
        self._live = live

    def get_span_context(self) -> SpanContext:
        return self._live().get_span_context()

    def is_recording(self) -> bool:
        return self._live().is_recording()

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self._live().set_attribute(key, value)

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        self._live().set_attributes(attributes)

    def add_event(self, name: str, attributes: types.Attributes = None, timestamp: int | None = None) -> None:
        self._live().add_event(name, attributes, timestamp)

    def add_link(self, context: SpanContext, attributes: types.Attributes = None) -> None:
        self._live().add_link(context, attributes)

    def update_name(self, name: str) -> None:
        self._live().update_name(name)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self._live().set_status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: types.Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        self._live().record_exception(exception, attributes, timestamp, escaped)

    def end(self, end_time: int | None = None) -> None:
        self._live().end(end_time)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._live(), name)  # what the SDK's spans have beyond the API's

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return _span_class()  # of the class of spans that it becomes, to whoever asks


@functools.cache
def _span_class() -> type:
    from opentelemetry.sdk.trace import _Span

    return _Span
