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
from opentelemetry.trace import NoOpTracer, ProxyTracer, SpanKind, Tracer, TracerProvider

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.guard import absorbed, guard
from tokenmeter.calls.usual_call import Settled, UsualCall
from tokenmeter.otel import semconv
from tokenmeter.otel.attributes import (
    Attributes,
    SettledForm,
    converted_attributes,
    cost_attributes,
    end_attributes,
    settled_attributes,
    text,
)
from tokenmeter.otel.call_span import SUPPRESSED, Began, CallSpan, EnrichingSpan, LateSpan, LiveSpan, add_tags
from tokenmeter.otel.external.model_calls import attributes_of, inference_span
from tokenmeter.otel.late_span import SpanHandover
from tokenmeter.otel.providers import tracer_provider
from tokenmeter.otel.scope_span import OpenScopeSpan, ScopeSums
from tokenmeter.record import End, Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tokenmeter.exchange import Converted, ExchangeRates
    from tokenmeter.otel.dialects import BackendDialect

__all__ = ["MODES", "CallSpan", "CallSpans", "OpenScopeSpan", "ScopeSums"]

MODES: Final = ("auto", "own", "enrich", "none")
_CACHED_MOST: Final = 1000
_NOTE: Final = "span"
_new: Final = tuple.__new__
_SUPPRESSING: Final = tuple(
    key for key in (semconv.SUPPRESS, getattr(contexts, "_SUPPRESS_INSTRUMENTATION_KEY", None)) if key is not None
)


class MeteredCall(Protocol):
    """What a span needs of a call that opens."""

    started_ns: int

    @property
    def route(self) -> object: ...
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
        self._handover: SpanHandover | None = None
        self._starts: dict[tuple[Any, ...], tuple[str, Attributes]] = {}
        self._tagged: BoundedDict[tuple[Any, ...], tuple[Attributes, Attributes]] = BoundedDict(_CACHED_MOST)
        self.dialects: Sequence[BackendDialect] = ()
        self.names: Mapping[str, str] = semconv.USAGE
        if dialects is None or (dialects := tuple(dialects)):
            from tokenmeter.otel.dialects import chosen, steps, usage_names

            self.dialects = chosen(dialects)
            self.names = usage_names(self.dialects)
            self._steps = {foreign: steps(self.dialects, foreign=foreign) for foreign in (False, True)}
        self.export_estimates = export_estimates
        self._exchange = exchange

    # Calls --------------------------------------------------------------------------------------------------

    def start(self, call: MeteredCall) -> CallSpan | LateSpan | None:
        """Begin the span of a call that opens, below whatever span is current."""
        mode = self._mode
        if mode == "none":
            return SUPPRESSED if semconv.sdk_disabled() else None
        current = contexts.get_current()
        if current:
            if mode != "own":
                foreign = inference_span(trace.get_current_span(current))
                if foreign is not None:
                    if semconv.CALL_ID not in attributes_of(
                        foreign
                    ):  # or a processor would price it by its tokens as well
                        foreign.set_attribute(semconv.CALL_ID, call.id)
                    return EnrichingSpan(self, foreign, current)
            for key in _SUPPRESSING:
                if current.get(key):
                    return SUPPRESSED
            if mode != "own" and semconv.INFERENCE_CONTEXT in current:
                return EnrichingSpan(
                    self, None, current
                )  # foreign, and out of reach: sampled out, or above another span
        if mode == "enrich":
            return None
        tracer = self.tracer()
        if tracer is None:
            return None
        name, attributes = self._start_of(call)
        if call.tags:
            attributes = self._with_tags(attributes, call.tags)
        began: Began = _new(Began, (tracer, name, attributes, call.started_ns))
        if self._handover is not None and self._handover.possible:
            return LateSpan(self, began, current, self._handover)
        return LiveSpan(self, began.span(current), current)

    def _with_tags(self, attributes: Attributes, tags: Mapping[str, str]) -> Attributes:
        """The attributes with those of the tags: one object for calls that have the same of both."""
        key = (id(attributes), *tags.items())
        known = self._tagged.get(key)
        if known is not None and known[0] is attributes:
            return known[1]
        tagged = attributes.copy()
        add_tags(tagged, tags)
        self._tagged.put(key, (attributes, tagged))
        return tagged

    def enriching(self, record: Record) -> Attributes:
        """The attributes added to a call's span that another instrumentation made."""
        attributes: Attributes = {}
        if record.provider is not None:
            attributes[semconv.SITE] = text(record.provider)
        add_tags(attributes, record.tags)
        with guard("describing how a call ended"):
            end_attributes(attributes, record)
        self.add_cost(attributes, record, foreign=True)
        return attributes

    def settled(self, settled: Settled) -> Attributes:
        """The attributes that a span of ours gets when its call has settled."""
        return self._whole(settled, None)

    def whole(self, settled: Settled, started: Mapping[str, Any]) -> Attributes:
        """The same after those that it had from the start."""
        return self._whole(settled, started)

    def _whole(self, settled: Settled, started: Mapping[str, Any] | None) -> Attributes:
        if isinstance(settled, UsualCall):
            try:
                known = self._usual(settled)
                if known is not None:
                    return known.of(settled, started)
            except BaseException as error:
                if not absorbed("describing a call", error):
                    raise
            settled = settled.record
        attributes = self._settled(settled)
        return attributes if started is None else {**started, **attributes}

    def _usual(self, usual: UsualCall) -> SettledForm | None:
        """What usual calls of a form say alike; None where the attributes must be made of the record."""
        bill = usual.bill
        if bill is None or self.dialects or self._exchange is not None or usual.operation == semconv.EMBEDDINGS:
            return None
        notes = usual.form.notes
        known: SettledForm | None = notes.get(_NOTE)
        if known is None or not known.fits(bill, usual.usage):
            record = usual.record
            known = SettledForm(record, self._settled(record), self.names, export_estimates=self.export_estimates)
            notes[_NOTE] = known
        return known

    def _settled(self, record: Record) -> Attributes:
        attributes: Attributes = {}
        with guard("describing a call"):
            end_attributes(attributes, record)
            settled_attributes(attributes, record, names=self.names, export_estimates=self.export_estimates)
        self.add_cost(attributes, record, foreign=False)
        return attributes

    def add_cost(self, attributes: Attributes, record: Record, *, foreign: bool) -> None:
        """Add what a call cost, in our names and in those of the dialects; the calls inside a delegated one say it."""
        if record.end is End.DELEGATED:
            return
        converted: Converted | None = None
        with guard("describing a cost"):
            cost_attributes(attributes, record.cost)
            if self._exchange is not None:
                from tokenmeter.otel.dialects import in_dollars

                converted = in_dollars(record, self._exchange)
                if converted is not None:
                    converted_attributes(attributes, converted)
        if self.dialects:
            with guard("speaking a dialect"):
                from tokenmeter.otel.dialects import speak

                speak(
                    attributes,
                    self._steps[foreign],
                    record,
                    export_estimates=self.export_estimates,
                    rate=None if converted is None else converted.rate,
                )

    def _start_of(self, call: MeteredCall) -> tuple[str, Attributes]:
        """A call's span name and the attributes that samplers see; the same for every call to one model."""
        key = (call.route, call.request_model, call.stream)
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

    def tracer(self) -> Tracer | None:
        """A tracer that records somewhere, or None."""
        provider = self._given if self._given is not None else tracer_provider()
        if provider is None:
            return None
        if provider is not self._provider:
            tracer = provider.get_tracer(semconv.SCOPE_NAME, semconv.scope_version(), semconv.SCHEMA_URL)
            # The API's own tracers do nothing. A proxy's provider is replaced when a real one is set.
            self._tracer = None if isinstance(tracer, NoOpTracer | ProxyTracer) else tracer
            self._handover = SpanHandover.of(tracer, provider)
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
        tracer = self.tracer()
        if tracer is None or any(current.get(key) for key in _SUPPRESSING):
            return None
        attributes: Attributes = {semconv.SCOPE: text(name)}
        path = [text(part) for part in path]
        if len(path) > 1:
            attributes[semconv.SCOPE_PATH] = path
        add_tags(attributes, tags)
        span = tracer.start_span(text(name), current, SpanKind.INTERNAL, attributes, (), started_ns)
        return OpenScopeSpan(span, current)
