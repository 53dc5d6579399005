"""The open span of one call, from its start to the attributes that it gets at the end."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, StatusCode, Tracer

from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import guard
from tokenmeter.calls.usual_call import Settled, record_of
from tokenmeter.otel import semconv
from tokenmeter.otel.attributes import TEXT_MOST, Attributes, call_attributes, text
from tokenmeter.otel.external.model_calls import attributes_of
from tokenmeter.otel.late_span import Identity, SpanHandover, StandIn
from tokenmeter.otel.scope_span import Attachable, set_all
from tokenmeter.record import End, Record

if TYPE_CHECKING:
    from opentelemetry.context import Context

__all__ = ["SUPPRESSED", "Began", "CallSpan", "EnrichingSpan", "LateSpan", "LiveSpan", "add_tags"]


class SpanWords(Protocol):
    """What a span asks of those that make it, `otel.spans.CallSpans`: what to say at its end."""

    @property
    def dialects(self) -> Sequence[object]:
        """The dialects that are spoken beside our own names."""

    def settled(self, settled: Settled) -> Attributes:
        """The attributes that a span of ours gets when its call has settled."""

    def whole(self, settled: Settled, started: Mapping[str, Any]) -> Attributes:
        """The same after those that it had from the start."""

    def enriching(self, record: Record) -> Attributes:
        """The attributes added to a span of another instrumentation."""

    def tracer(self) -> Tracer | None:
        """A tracer that records somewhere, or None."""


class CallSpan(Attachable):
    """The open span of one call. `trace_id` and `span_id` are hex, None where nothing is recorded."""

    __slots__ = ("span_id", "telemetry", "trace_id")
    quiet: Final = False

    def __init__(self, span: Span | None, before: Context, telemetry: str) -> None:
        super().__init__(span, before)
        self.telemetry = telemetry
        self.trace_id: str | None = None
        self.span_id: str | None = None
        if span is not None and span.is_recording():
            where = span.get_span_context()
            self.trace_id = f"{where.trace_id:032x}"
            self.span_id = f"{where.span_id:016x}"

    def finish(self, settled: Settled) -> None:
        """Say on the span how the call went, and end it if it is ours."""


class Began(NamedTuple):
    """What the SDK is told when a span of ours starts."""

    tracer: Tracer
    name: str
    attributes: Attributes
    started_ns: int

    def span(self, parent: Context) -> Span:
        """The span, started below what is current in `parent`."""
        return self.tracer.start_span(
            self.name, parent, SpanKind.CLIENT, self.attributes, (), self.started_ns, record_exception=False
        )


class LiveSpan(CallSpan):
    """A span of ours that started with its call."""

    __slots__ = ("_spans",)

    def __init__(self, spans: SpanWords, span: Span, before: Context) -> None:
        super().__init__(span, before, "own")
        self._spans = spans

    def finish(self, settled: Settled) -> None:
        if self._span is not None and self.trace_id is not None:  # sampled out: nothing to say, nothing to end
            _end(self._span, settled, self._spans)


class LateSpan(Attachable):
    """A span of ours that is made when its call is over, or before if anything asks for it (`late_span.py`)."""

    __slots__ = ("_began", "_handover", "_identity", "_parent", "_spans", "_where")
    telemetry: Final = "own"

    def __init__(self, spans: SpanWords, began: Began, parent: Context, handover: SpanHandover) -> None:
        self._span: Span | None = None
        self._before = parent
        self._mine: Context | None = None
        self._spans = spans
        self._began = began
        self._parent = parent
        self._handover = handover
        self._identity: Identity | None = None
        self._where: SpanContext | bool | None = False

    @property
    def quiet(self) -> bool:
        """Whether `finish` runs no code of others: a finished span is put into a queue."""
        return self._span is None and self._handover.possible and self._handover.quiet

    @property
    def trace_id(self) -> str | None:
        """Hex; None where nothing is recorded. Asked for when the call is over: now the sampler decides."""
        where = self._decided()
        return None if where is None else f"{where.trace_id:032x}"

    @property
    def span_id(self) -> str | None:
        where = self._decided()
        return None if where is None else f"{where.span_id:016x}"

    def attach(self) -> None:
        self.make_current(StandIn(self._live))

    def finish(self, settled: Settled) -> None:
        if self._decided() is None:
            return
        identity = self._identity
        if identity is None:
            assert self._span is not None
            _end(self._span, settled, self._spans)
        elif identity.attributes is not None:
            spans, began = self._spans, self._began
            self._handover.hand_over(
                began.name,
                identity,
                spans.whole(settled, identity.attributes),
                (began.started_ns, settled.ended_ns),
                failed=settled.end is End.ERROR,
                clean=not spans.dialects and len(identity.attributes) == len(began.attributes),
            )

    def _live(self) -> Span:
        """The span as others see it."""
        span = self._span
        if span is None:
            with _making.lock:
                span = self._span
                if span is None:
                    span = self._span = self._began.span(self._parent)
        return span

    def _decided(self) -> SpanContext | None:
        """Where the span is, decided when it is first asked for; None where nothing is recorded."""
        where = self._where
        if where is False:
            with _making.lock:
                span = self._span
                if span is None and self._handover.possible:
                    began = self._began
                    self._identity = made = self._handover.identity(began.name, self._parent, began.attributes)
                    self._span = NonRecordingSpan(made.context)  # whoever asks for it later finds it ended
                    where = made.context if made.attributes is not None else None
                else:
                    if span is None:
                        span = self._span = self._began.span(self._parent)
                    where = span.get_span_context() if span.is_recording() else None
                self._where = where
        return where  # type: ignore[return-value]


class _Making:
    """The lock under which late spans are made: threads may ask for one at the same time."""

    def __init__(self) -> None:
        self.forked()
        on_fork(self)

    def forked(self) -> None:
        self.lock = threading.RLock()  # processors and samplers run under it, and may meter a call


_making: Final = _Making()


def _end(span: Span, settled: Settled, spans: SpanWords) -> None:
    """Say on a live span of ours how its call went, and end it."""
    try:
        set_all(span, spans.settled(settled))
        if settled.end is End.ERROR:
            span.set_status(StatusCode.ERROR)  # no description: an exception's message may quote the prompt
    finally:
        span.end(settled.ended_ns)


class EnrichingSpan(CallSpan):
    """The span of another instrumentation for this call, or one below it that carries the cost alone."""

    __slots__ = ("_spans",)

    def __init__(self, spans: SpanWords, span: Span | None, before: Context) -> None:
        super().__init__(span, before, "enriched")
        self._spans = spans

    def attach(self) -> None:
        """Nothing to do: the foreign span is current already."""

    def finish(self, settled: Settled) -> None:
        record = record_of(settled)
        attributes = {**self._spans.enriching(record), **call_attributes(record)}
        span = self._span
        if span is not None and span.is_recording() and semconv.COST_STATUS not in attributes_of(span):
            set_all(span, attributes)
            return
        # Their span has ended, carries another call's cost or cannot be reached. No tokens on ours: they count them.
        tracer = self._spans.tracer()
        if tracer is not None and record.end is not End.DELEGATED:
            parent = self._before if span is None else trace.set_span_in_context(span, self._before)
            late = tracer.start_span("tokenmeter.cost", parent, SpanKind.INTERNAL, None, (), record.started_ns)
            set_all(late, attributes)
            late.end(record.ended_ns)


SUPPRESSED: Final = CallSpan(None, contexts.Context(), "suppressed")


def add_tags(attributes: Attributes, tags: Mapping[str, str]) -> None:
    """Add whose spend it is."""
    for key, value in tags.items():
        if type(value) is str and value.isascii() and len(value) <= TEXT_MOST and key.isascii():
            attributes[semconv.TAG + key] = value
        else:
            with guard("reading a tag"):
                attributes[text(semconv.TAG + key)] = text(value)
