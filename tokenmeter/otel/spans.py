"""Spans: one per call, or cost on the span that another instrumentation made for it.

`CallSpans.start` decides when a call opens who its span belongs to (`CallSpan.telemetry`, which the record should
carry so that `Metrics` can follow):

    own         we make a CLIENT span `{operation} {model}`. None is returned where no tracer listens.
    enriched    another instrumentation's span of this very call is current: it gets the cost, and no second span or
                token count appears. If it has ended by the time we know, or already carries the cost of another
                call, the cost goes on a span below it that names no tokens.
    suppressed  `suppress_instrumentation` or OTEL_SDK_DISABLED: nothing, except that a span which is being recorded
                for this call is still enriched (Logfire suppresses whatever runs inside its own LLM spans).

A span is attached to the context only around the request on the wire, never while the caller holds a stream.
Detaching restores what was current before, and only if ours still is: a token is never used from a context that it
was not made in, so "Failed to detach context" cannot be logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.trace import NoOpTracer, ProxyTracer, Span, SpanKind, StatusCode, Tracer, TracerProvider

from tokenmeter._support.guard import guard
from tokenmeter.otel import semconv
from tokenmeter.otel.attributes import (
    TEXT_MOST,
    Attributes,
    converted_attributes,
    cost_attributes,
    end_attributes,
    settled_attributes,
    text,
)
from tokenmeter.otel.dialects import chosen, in_dollars, speak, steps, usage_names
from tokenmeter.otel.external.span_data import attributes_of, inference_span
from tokenmeter.otel.providers import tracer_provider
from tokenmeter.otel.scope_span import Attachable, OpenScopeSpan, ScopeSums, set_all
from tokenmeter.record import End, Record

if TYPE_CHECKING:
    from collections.abc import Iterable

    from opentelemetry.context import Context

    from tokenmeter.exchange import Converted, ExchangeRates

__all__ = ["MODES", "CallSpan", "CallSpans", "OpenScopeSpan", "ScopeSums"]

MODES: Final = ("auto", "own", "enrich", "none")
_CACHED_MOST: Final = 1000
_SUPPRESSING: Final = tuple(
    key for key in (semconv.SUPPRESS, getattr(contexts, "_SUPPRESS_INSTRUMENTATION_KEY", None)) if key is not None
)


class MeteredCall(Protocol):
    """What a span needs of a call that opens."""

    started_ns: int

    @property
    def id(self) -> str: ...
    @property
    def provider(self) -> str | None: ...
    @property
    def otel_provider(self) -> str | None: ...
    @property
    def operation(self) -> str: ...
    @property
    def request_model(self) -> str | None: ...
    @property
    def host(self) -> str | None: ...
    @property
    def port(self) -> int | None: ...
    @property
    def stream(self) -> bool: ...
    @property
    def tags(self) -> Mapping[str, str]: ...


class CallSpans:
    """Makes spans with the given provider, or the global one, also if that is set later.

    `mode` is one of `MODES`: `auto` enriches a foreign span of the same model call and else makes our own, `own`
    always makes ours, `enrich` never does. `export_estimates` lets counted tokens wear the standard names. `dialects`
    are names of `dialects.DIALECTS`, by default those of TOKENMETER_DIALECTS. `exchange` holds the user's own rates:
    a cost in another currency is said in dollars too, marked as converted, where a rate of its day or before is there.
    """

    def __init__(
        self,
        tracer_provider: TracerProvider | None = None,
        mode: str = "auto",
        *,
        export_estimates: bool = False,
        dialects: Iterable[str] | None = None,
        exchange: ExchangeRates | None = None,
    ) -> None:
        if mode not in MODES:
            raise ValueError(f"spans={mode!r}: it is one of {', '.join(MODES)}")
        self._given = tracer_provider
        self._mode = "none" if semconv.sdk_disabled() else mode
        self._provider: object = None
        self._tracer: Tracer | None = None
        self._starts: dict[tuple[Any, ...], tuple[str, Attributes]] = {}
        self.dialects = chosen(dialects)
        self.names = usage_names(self.dialects)
        self._steps = {foreign: steps(self.dialects, foreign=foreign) for foreign in (False, True)}
        self.export_estimates = export_estimates
        self._exchange = exchange

    # Calls --------------------------------------------------------------------------------------------------

    def start(self, call: MeteredCall) -> CallSpan | None:
        """Begin the span of a call that opens, below whatever span is current."""
        mode = self._mode
        if mode == "none":
            return _SUPPRESSED if semconv.sdk_disabled() else None
        current = contexts.get_current()
        if current:
            if mode != "own":
                foreign = inference_span(trace.get_current_span(current))
                if foreign is not None:
                    if semconv.CALL_ID not in attributes_of(
                        foreign
                    ):  # or a processor would price it by its tokens as well
                        foreign.set_attribute(semconv.CALL_ID, call.id)
                    return _Enriching(self, foreign, current)
            for key in _SUPPRESSING:
                if current.get(key):
                    return _SUPPRESSED
            if mode != "own" and semconv.INFERENCE_CONTEXT in current:
                return _Enriching(self, None, current)  # foreign, and out of reach: sampled out, or above another span
        if mode == "enrich":
            return None
        tracer = self._tracing()
        if tracer is None:
            return None
        name, attributes = self._start_of(call)
        if call.tags:
            attributes = attributes.copy()
            _add_tags(attributes, call.tags)
        span = tracer.start_span(
            name, current, SpanKind.CLIENT, attributes, (), call.started_ns, record_exception=False
        )
        return _Own(self, span, current)

    def enriching(self, record: Record) -> Attributes:
        """The attributes added to a call's span that another instrumentation made."""
        attributes: Attributes = {}
        if record.provider is not None:
            attributes[semconv.SITE] = text(record.provider)
        _add_tags(attributes, record.tags)
        with guard("describing how a call ended"):
            end_attributes(attributes, record)
        self.add_cost(attributes, record, foreign=True)
        return attributes

    def add_cost(self, attributes: Attributes, record: Record, *, foreign: bool) -> None:
        """Add what a call cost, in our names and in those of the dialects; the calls inside a delegated one say it."""
        if record.end is End.DELEGATED:
            return
        converted: Converted | None = None
        with guard("describing a cost"):
            cost_attributes(attributes, record.cost)
            if self._exchange is not None:
                converted = in_dollars(record, self._exchange)
                if converted is not None:
                    converted_attributes(attributes, converted)
        if self.dialects:
            with guard("speaking a dialect"):
                speak(
                    attributes,
                    self._steps[foreign],
                    record,
                    export_estimates=self.export_estimates,
                    rate=None if converted is None else converted.rate,
                )

    def _start_of(self, call: MeteredCall) -> tuple[str, Attributes]:
        """A call's span name and the attributes that samplers see; the same for every call to one model."""
        key = (
            call.operation, call.request_model, call.provider, call.otel_provider, call.host, call.port, call.stream
        )  # fmt: skip
        known = self._starts.get(key)
        if known is not None:
            return known
        attributes: Attributes = {semconv.OPERATION: text(call.operation)}
        for name, value in (
            (semconv.PROVIDER, call.otel_provider or call.provider),
            (semconv.REQUEST_MODEL, call.request_model),
            (semconv.SERVER_ADDRESS, call.host),
            (semconv.SITE, call.provider),
        ):
            if value is not None:
                attributes[name] = text(value)
        if call.host is not None and call.port is not None:
            attributes[semconv.SERVER_PORT] = call.port
        if call.stream:
            attributes[semconv.REQUEST_STREAM] = True
        name = text(f"{call.operation} {call.request_model}" if call.request_model else call.operation)
        if len(self._starts) < _CACHED_MOST:
            self._starts[key] = (name, attributes)
        return name, attributes

    def _tracing(self) -> Tracer | None:
        """A tracer that records somewhere, or None."""
        provider = self._given if self._given is not None else tracer_provider()
        if provider is None:
            return None
        if provider is not self._provider:
            tracer = provider.get_tracer(semconv.SCOPE_NAME, semconv.scope_version(), semconv.SCHEMA_URL)
            # The API's own tracers do nothing. A proxy's provider is replaced when a real one is set.
            self._tracer = None if isinstance(tracer, NoOpTracer | ProxyTracer) else tracer
            self._provider = provider
        return self._tracer

    # Scopes -------------------------------------------------------------------------------------------------

    def start_scope(
        self, name: str, tags: Mapping[str, str], *, path: Iterable[str] = (), started_ns: int | None = None
    ) -> OpenScopeSpan | None:
        """Begin the span of a scope; None where no tracer listens or telemetry is suppressed."""
        if self._mode in ("none", "enrich"):
            return None
        current = contexts.get_current()
        tracer = self._tracing()
        if tracer is None or any(current.get(key) for key in _SUPPRESSING):
            return None
        attributes: Attributes = {semconv.SCOPE: text(name)}
        path = [text(part) for part in path]
        if len(path) > 1:
            attributes[semconv.SCOPE_PATH] = path
        _add_tags(attributes, tags)
        span = tracer.start_span(text(name), current, SpanKind.INTERNAL, attributes, (), started_ns)
        return OpenScopeSpan(span, current)


class CallSpan(Attachable):
    """The open span of one call. `trace_id` and `span_id` are hex, None where nothing is recorded."""

    __slots__ = ("span_id", "telemetry", "trace_id")

    def __init__(self, span: Span | None, before: Context, telemetry: str) -> None:
        super().__init__(span, before)
        self.telemetry = telemetry
        self.trace_id: str | None = None
        self.span_id: str | None = None
        if span is not None and span.is_recording():
            where = span.get_span_context()
            self.trace_id = f"{where.trace_id:032x}"
            self.span_id = f"{where.span_id:016x}"

    def finish(self, record: Record) -> None:
        """Say on the span how the call went, and end it if it is ours."""


class _Own(CallSpan):
    __slots__ = ("_spans",)

    def __init__(self, spans: CallSpans, span: Span, before: Context) -> None:
        super().__init__(span, before, "own")
        self._spans = spans

    def finish(self, record: Record) -> None:
        span = self._span
        if span is None or self.trace_id is None:  # sampled out: nothing to say, nothing to end
            return
        attributes: Attributes = {}
        try:
            with guard("describing a call"):
                end_attributes(attributes, record)
                settled_attributes(
                    attributes, record, names=self._spans.names, export_estimates=self._spans.export_estimates
                )
            self._spans.add_cost(attributes, record, foreign=False)
            set_all(span, attributes)
            if record.end is End.ERROR:
                span.set_status(StatusCode.ERROR)  # no description: an exception's message may quote the prompt
        finally:
            span.end(record.ended_ns)


class _Enriching(CallSpan):
    __slots__ = ("_spans",)

    def __init__(self, spans: CallSpans, span: Span | None, before: Context) -> None:
        super().__init__(span, before, "enriched")
        self._spans = spans

    def attach(self) -> None:
        """Nothing to do: the foreign span is current already."""

    def finish(self, record: Record) -> None:
        attributes = self._spans.enriching(record)
        span = self._span
        if span is not None and span.is_recording() and semconv.COST_STATUS not in attributes_of(span):
            set_all(span, attributes)
            return
        # Their span has ended, carries another call's cost or cannot be reached. No tokens on ours: they count them.
        tracer = self._spans._tracing()
        if tracer is not None and record.end is not End.DELEGATED:
            parent = self._before if span is None else trace.set_span_in_context(span, self._before)
            late = tracer.start_span(
                "tokenmeter.cost", parent, SpanKind.INTERNAL, {semconv.CALL_ID: record.id}, (), record.started_ns
            )
            set_all(late, attributes)
            late.end(record.ended_ns)


_SUPPRESSED: Final = CallSpan(None, contexts.Context(), "suppressed")


def _add_tags(attributes: Attributes, tags: Mapping[str, str]) -> None:
    for key, value in tags.items():
        if type(value) is str and value.isascii() and len(value) <= TEXT_MOST and key.isascii():
            attributes[semconv.TAG + key] = value
        else:
            with guard("reading a tag"):
                attributes[text(semconv.TAG + key)] = text(value)
