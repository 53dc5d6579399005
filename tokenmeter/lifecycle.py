"""How a call becomes a record: opened once, settled once, handed to every sink.

Read this first. `Lifecycle.open` notes who calls whom; hooks and hand-made calls add attempts and what came back;
`Lifecycle.settle` reads the vendor's usage, counts only what was not reported, and writes one immutable record.
Pricing waits until somebody asks the record for its cost.

Who owns a call: a hand-made call, else an SDK call, else a request on the wire. Calls metered inside a hand-made
call are held until it settles: if it was given a usage of its own they are delegated to it, else it is delegated
to them. Either way each token is counted once.

Where nobody waits for the record (no scope, no span, no sink but the process's own sums), settling is put off: the
call is queued as it is and read with others, in a batch, when the queue is full or somebody asks for a number.

Nothing here may fail the host program: steps run under `guard`, apart, so that a call that cannot be priced is
still recorded, and a sink that breaks does not starve the next one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from tokenmeter._guard import guard
from tokenmeter._ids import new_id
from tokenmeter.record import Attempt, End, Record, Sink
from tokenmeter.usage import Source, Usage

if TYPE_CHECKING:
    from tokenmeter._reading import Reading
    from tokenmeter.pricing import Cost

__all__ = ["Lifecycle", "OpenCall", "Route"]

_NO_TAGS: Final[Mapping[str, str]] = MappingProxyType({})
_WAITING_MOST: Final = 64
NOT_REPORTED: Final = Usage(source=Source.NONE)


class SpanHandle(Protocol):
    """An open span of one call, as the OpenTelemetry sink gives it."""

    trace_id: str | None
    span_id: str | None
    telemetry: str

    def attach(self) -> None: ...
    def detach(self) -> None: ...
    def finish(self, record: Record) -> None: ...


class Spans(Protocol):
    """Makes spans; None where nobody listens."""

    def start(self, call: OpenCall) -> SpanHandle | None: ...


class Calibrates(Protocol):
    """Learns from calls whose usage is reported; what it says is noted on the record."""

    def seen(self, call: OpenCall, usage: Usage, end: End) -> tuple[str, ...]: ...


class ScopeNode(Protocol):
    """What a call needs of the scope it runs in."""

    path: tuple[str, ...]

    def opened(self) -> None: ...
    def settled(self, record: Record) -> None: ...


class Route:
    """Where calls of one kind go: everything about them that does not change from call to call."""

    __slots__ = ("api", "asks", "asks_null", "host", "operation", "otel_provider", "path", "port", "provider", "region")

    def __init__(
        self,
        *,
        provider: str | None,
        otel_provider: str | None,
        api: str | None,
        operation: str,
        host: str | None = None,
        port: int | None = None,
        path: str | None = None,
        region: str | None = None,
        asks: bool = False,
        asks_null: bool = False,
    ) -> None:
        self.provider = provider
        self.otel_provider = otel_provider
        self.api = api
        self.operation = operation
        self.host = host
        self.port = port
        self.path = path
        self.region = region
        self.asks = asks
        """Whether stream usage has to be asked for, and the provider takes the question."""
        self.asks_null = asks_null
        """Whether the question puts a null usage into every other chunk."""


class OpenCall:
    """One call between its start and its settlement. Mutable, private to the package, touched by one owner.

    What most calls never set is a default of the class: opening a call is on the path of every request.
    """

    client: int = 0
    """id of the SDK client whose request this is."""
    sender: object = None
    """The HTTP client of that SDK client: what it sends for this call is this call's, whatever its path."""
    span_due: bool = False
    """The SDK makes a span of its own before it sends: whose span the call has is decided at the first request."""
    by_hand: bool = False
    observed: bool = False
    """Given a usage by hand, on purpose: then this call carries it, not the calls inside."""
    children: int = 0
    held: list[tuple[OpenCall, Record]] | None = None
    """Records of calls inside, while this one is open; None for others, and once settled."""
    first_chunk_ns: int | None = None
    params: Mapping[str, Any] | None = None
    request: object = None
    """The body as sent, for counting; let go at settle."""
    reading: Reading | None = None
    """What came back; read and let go at settle."""
    usage_override: Usage | None = None
    calibrated: tuple[str, ...] = ()
    """Totals counted here that were corrected by what the user's own traffic taught."""
    status_code: int | None = None
    streaming: bool = False
    """A body is still being read by the caller: its tee settles the call."""
    span: SpanHandle | None = None
    scope: ScopeNode | None = None
    parent: OpenCall | None = None
    ended_mono: int = 0
    error_type: str | None = None

    def __init__(self, lifecycle: Lifecycle, route: Route, model: str | None, stream: bool) -> None:
        self.lifecycle = lifecycle
        self.route = route
        self.request_model = model
        self.stream = stream
        self.started_ns = lifecycle.clock()
        self.started_mono = lifecycle.monotonic()
        self.attempts: list[Attempt] = []
        self.tags: Mapping[str, str] = _NO_TAGS
        self._once = [None]

    # What spans and readings ask of a call
    @property
    def id(self) -> str:
        made = self.__dict__.get("_id")
        if made is None:
            made = self.__dict__["_id"] = new_id()
        return str(made)

    @property
    def provider(self) -> str | None:
        return self.route.provider

    @property
    def otel_provider(self) -> str | None:
        return self.route.otel_provider

    @property
    def operation(self) -> str:
        return self.route.operation

    @property
    def api(self) -> str | None:
        return self.route.api

    @property
    def host(self) -> str | None:
        return self.route.host

    @property
    def port(self) -> int | None:
        return self.route.port

    @property
    def settled(self) -> bool:
        return not self._once

    def claim(self) -> bool:
        """True for the first to ask: list.pop is atomic, so two threads never settle one call."""
        try:
            self._once.pop()
        except IndexError:
            return False
        return True


class Lifecycle:
    """Opens and settles calls for one `Tokenmeter`.

    `spans` makes spans or is None. `price` turns a record into a cost; `fill` completes usage by counting, or is
    None where estimates are off. `clock` gives nanoseconds since the epoch, `monotonic` those of a steady clock.
    `quiet` says that no sink waits for records.
    """

    def __init__(
        self,
        *,
        sinks: Iterable[Sink] = (),
        spans: Spans | None = None,
        price: Callable[[Record], Cost],
        fill: Callable[[OpenCall, Usage, Reading | None], Usage] | None = None,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.perf_counter_ns,
        quiet: Callable[[], bool] | None = None,
    ) -> None:
        self.sinks: tuple[Sink, ...] = tuple(sinks)
        self.spans = spans
        self.price = price
        self.fill = fill
        self.clock = clock
        self.monotonic = monotonic
        self.quiet = quiet
        self.calibrator: Calibrates | None = None  # set where the user asked for it
        self.successor: Lifecycle | None = None
        # Calls that are over and not yet read: those nobody waits for, and streams that the collector took, which are
        # never settled inside a finalizer, since that may run while this thread holds a lock of a sink.
        self._waiting: deque[tuple[OpenCall, End]] = deque()
        self._dropped: deque[OpenCall] = deque()
        self._sinks_lock = threading.Lock()
        self._held_lock = threading.Lock()
        _forget_in_children(self)

    def add_sink(self, sink: Sink) -> None:
        self.drain()
        with self._sinks_lock:
            self.sinks = (*self.sinks, sink)

    def remove_sink(self, sink: Sink) -> None:
        self.drain()
        with self._sinks_lock:
            self.sinks = tuple(one for one in self.sinks if one is not sink)

    # Opening ------------------------------------------------------------------------------------------------

    def open(
        self,
        route: Route,
        model: str | None,
        *,
        stream: bool = False,
        scope: ScopeNode | None = None,
        tags: Mapping[str, str] = _NO_TAGS,
        parent: OpenCall | None = None,
        span_later: bool = False,
    ) -> OpenCall:
        """Begin a call. The caller settles it, whatever happens. With `span_later` the caller also starts its span."""
        if self._dropped:
            self.drain()
        call = OpenCall(self, route, model, stream)
        if tags:
            call.tags = tags
        if scope is not None:
            call.scope = scope
            scope.opened()
        if parent is not None:
            call.parent = parent
            parent.children += 1
        if self.spans is not None:
            if span_later:
                call.span_due = True
            else:
                with guard("starting a span"):
                    call.span = self.spans.start(call)
        return call

    def start_span(self, call: OpenCall) -> None:
        """Start a span that was put off: our own, or the one that the SDK has made by now."""
        call.span_due = False
        if self.spans is not None:
            with guard("starting a span"):
                call.span = self.spans.start(call)

    # Settling -----------------------------------------------------------------------------------------------

    def settle(self, call: OpenCall, end: End, error: BaseException | None = None) -> None:
        """Turn a finished call into a record and hand it on, once; later calls do nothing."""
        if not call.claim():
            return
        if call.span_due:
            self.start_span(call)  # nothing was sent
        call.ended_mono = self.monotonic()
        if error is not None:
            call.error_type = type(error).__qualname__
        if self._nobody_waits(call):
            self._waiting.append((call, end))
            if len(self._waiting) >= _WAITING_MOST:
                self.drain()
            return
        self._settle(call, end)
        if self._dropped:
            self.drain()

    def _nobody_waits(self, call: OpenCall) -> bool:
        if call.span is not None or call.scope is not None or call.parent is not None or call.by_hand:
            return False
        if self.quiet is None or not self.quiet():
            return False
        reading = call.reading
        return reading is None or reading.small

    def drop(self, call: OpenCall) -> None:
        """Note a stream that was collected. Safe inside a finalizer: takes no lock and calls nobody."""
        self._dropped.append(call)

    def drain(self) -> None:
        """Settle what was put off: calls that nobody waited for, and streams that were collected."""
        while self._waiting:
            try:
                call, end = self._waiting.popleft()
            except IndexError:
                break
            self._settle(call, end)
        while self._dropped:
            try:
                call = self._dropped.popleft()
            except IndexError:
                break
            if call.claim():
                call.ended_mono = self.monotonic()
                self._settle(call, End.DROPPED)

    def _settle(self, call: OpenCall, end: End) -> None:
        with guard("settling a call"):
            record = self._record(call, end)
            call.request = call.reading = None  # whatever text was kept for counting is let go
            for child, held in self._release(call):
                self._emit(child, _delegated(held, call) if call.observed else held)
            if not self._hold(call, record):
                parent = call.parent
                late = parent is not None and parent.observed
                self._emit(call, _delegated(record, parent) if parent is not None and late else record)

    def _hold(self, call: OpenCall, record: Record) -> bool:
        """Keep a record until the hand-made call around it settles and says whose usage it is."""
        parent = call.parent
        if parent is None:
            return False
        with self._held_lock:
            if parent.held is None:
                return False
            parent.held.append((call, record))
            return True

    def _release(self, call: OpenCall) -> list[tuple[OpenCall, Record]]:
        if not call.by_hand:
            return []
        with self._held_lock:
            held, call.held = call.held, None
        return held or []

    def _record(self, call: OpenCall, end: End) -> Record:
        route = call.route
        reading = call.reading
        usage, reason = self._usage(call, end, reading)
        facts: dict[str, Any] = {
            "id": call.id,
            "provider": route.provider,
            "otel_provider": route.otel_provider,
            "api": route.api,
            "operation": route.operation,
            "host": route.host,
            "port": route.port,
            "region": route.region,
            "request_model": call.request_model,
            "response_model": None,
            "started_ns": call.started_ns,
            "ended_ns": call.started_ns + call.ended_mono - call.started_mono,
            "stream": call.stream,
            "tags": call.tags,
            "params": _params(call, None),
            "status_code": call.status_code,
            "attempts": _attempts(call.attempts, usage),
            "pricer": self.price,
        }
        flags: tuple[str, ...] = ()
        if reading is not None:
            end = reading.end(end)
            flags = reading.flags
            extracted = reading.extracted
            if extracted is not None:
                facts.update(
                    response_model=extracted.model,
                    usage_raw=extracted.raw,
                    unknown_fields=extracted.unknown_fields,
                    service_tier=extracted.service_tier,
                    vendor_cost=extracted.vendor_cost,
                    finish_reasons=extracted.finish_reasons,
                    response_id=extracted.response_id,
                    params=_params(call, extracted.params),
                )
        if call.usage_override is not None:
            flags = (*flags, *(f"contradiction: {text}" for text in usage.contradictions()))
        if call.scope is not None:
            facts["scope"] = call.scope.path
        if call.parent is not None:
            facts["parent_id"] = call.parent.id
        if call.stream and call.first_chunk_ns is not None:
            facts["time_to_first_chunk"] = (call.first_chunk_ns - call.started_mono) / 1e9
        if call.span is not None:
            facts.update(trace_id=call.span.trace_id, span_id=call.span.span_id, telemetry=call.span.telemetry)
        error_type = _error_type(call, reading, end)
        if call.children and not call.observed:
            end, usage, reason = End.DELEGATED, NOT_REPORTED, "the calls made inside carry the usage"
        if self.calibrator is not None:
            with guard("calibrating"):
                flags = (*flags, *self.calibrator.seen(call, usage, end))
        facts.update(end=end, usage=usage, reason=reason, error_type=error_type, flags=flags)
        return Record.of(facts)

    def _usage(self, call: OpenCall, end: End, reading: Reading | None) -> tuple[Usage, str | None]:
        if call.usage_override is not None:
            return call.usage_override, None
        if reading is None:
            return NOT_REPORTED, _no_answer(call)
        usage: Usage = NOT_REPORTED
        reason: str | None = "what came back could not be read"
        with guard("reading usage"):
            usage, reason = reading.usage(end)
        whole = usage.input_tokens is not None and usage.output_tokens is not None
        if whole and usage.source_of("output_tokens") is not Source.PARTIAL:
            return usage, reason
        if self.fill is not None and (call.observed or not call.children):
            with guard("counting what was not reported"):
                usage = self.fill(call, usage, reading)
        return usage, reason

    def _emit(self, call: OpenCall, record: Record) -> None:
        if call.span is not None:
            with guard("ending a span"):
                call.span.finish(record)
        if call.scope is not None:
            with guard("adding to a scope"):
                call.scope.settled(record)
        for sink in (self.successor or self).sinks:
            with guard("writing to a sink"):
                sink.write(record)


def _forget_in_children(lifecycle: Lifecycle) -> None:
    """What the parent has yet to settle is the parent's: a forked child would count it twice."""
    import os
    import weakref

    if not hasattr(os, "register_at_fork"):
        return
    found = weakref.ref(lifecycle)

    def forget() -> None:
        alive = found()
        if alive is not None:
            alive._waiting = deque()
            alive._dropped = deque()

    os.register_at_fork(after_in_child=forget)


def _no_answer(call: OpenCall) -> str:
    if call.status_code is not None and call.status_code >= 400:
        return f"the vendor answered {call.status_code}"
    return "no answer was seen"


def _delegated(record: Record, owner: OpenCall) -> Record:
    """The same call, without usage: a hand-made call around it was given the usage."""
    reason = f"the call {owner.id} around it carries the usage"
    return record.but(end=End.DELEGATED, usage=NOT_REPORTED, usage_raw=None, reason=reason)


def _error_type(call: OpenCall, reading: Reading | None, end: End) -> str | None:
    if call.error_type is not None:
        return call.error_type
    if reading is not None and reading.error is not None:
        return reading.error
    if end is End.ERROR and call.status_code is not None:
        return str(call.status_code)
    return None


def _attempts(attempts: list[Attempt], usage: Usage) -> tuple[Attempt, ...]:
    """The attempts, the one that carried the usage marked: the last, if the vendor reported any."""
    if attempts and usage.source is not Source.NONE:
        last = attempts[-1]
        if last.status is not None and last.status < 400:
            attempts[-1] = last._replace(usage=True, reason=None)
    return tuple(attempts)


def _params(call: OpenCall, read: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Facts that pricing needs: those of the request, then those of the answer, which bill."""
    region = call.route.region
    if not call.params and region is None:
        return read or {}
    return {**({"region": region} if region is not None else {}), **(call.params or {}), **(read or {})}
