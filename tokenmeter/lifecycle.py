"""How a call becomes a record: opened once, settled once, handed to every sink.

Read this first. `Lifecycle.open` notes who calls whom; hooks and hand-made calls add attempts and what came back;
`Lifecycle.settle` reads the vendor's usage, counts only what was not reported, and writes one immutable record.
Pricing waits until somebody asks the record for its cost.

Who owns a call: a hand-made call, else an SDK call, else a request on the wire. Calls metered inside a hand-made
call are held until it settles: if it was given a usage of its own they are delegated to it, else it is delegated
to them. Either way each token is counted once.

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

__all__ = ["Lifecycle", "OpenCall"]

_NO_TAGS: Final[Mapping[str, str]] = MappingProxyType({})
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


class ScopeNode(Protocol):
    """What a call needs of the scope it runs in."""

    path: tuple[str, ...]

    def opened(self) -> None: ...
    def settled(self, record: Record) -> None: ...


class OpenCall:
    """One call between its start and its settlement. Mutable, private to the package, touched by one owner."""

    __slots__ = (
        "_once",
        "api",
        "attempts",
        "by_hand",
        "children",
        "client",
        "first_chunk_ns",
        "held",
        "host",
        "id",
        "lifecycle",
        "model",
        "observed",
        "operation",
        "otel_provider",
        "params",
        "parent",
        "path",
        "port",
        "provider",
        "reading",
        "region",
        "request",
        "scope",
        "span",
        "started_mono",
        "started_ns",
        "status_code",
        "stream",
        "streaming",
        "tags",
        "usage_override",
    )

    def __init__(
        self,
        lifecycle: Lifecycle,
        *,
        provider: str | None,
        otel_provider: str | None,
        api: str | None,
        operation: str,
        model: str | None,
        host: str | None,
        port: int | None,
        path: str | None,
        region: str | None,
        stream: bool,
        scope: ScopeNode | None,
        tags: Mapping[str, str],
        parent: OpenCall | None,
        started_ns: int,
    ) -> None:
        self.id = new_id()
        self.lifecycle = lifecycle
        self.provider = provider
        self.otel_provider = otel_provider
        self.api = api
        self.operation = operation
        self.model = model
        self.host = host
        self.port = port
        self.path = path
        self.region = region
        self.stream = stream
        self.scope = scope
        self.tags = tags
        self.parent = parent
        self.started_ns = started_ns
        self.started_mono = lifecycle.monotonic()
        self.first_chunk_ns: int | None = None
        self.attempts: list[Attempt] = []
        self.params: dict[str, Any] | None = None
        self.request: object = None  # the body as sent (bytes or mapping), for counting; dropped at settle
        self.reading: Reading | None = None  # what came back, read at settle
        self.usage_override: Usage | None = None
        self.status_code: int | None = None
        self.streaming = False  # a body is still being read by the caller: its tee settles the call
        self.client = 0  # id of the SDK client whose request this is
        self.by_hand = False
        self.observed = False  # by hand, on purpose: then this call carries the usage, not the calls inside it
        self.span: SpanHandle | None = None
        self.children = 0
        self.held: list[tuple[OpenCall, Record]] | None = []  # None once settled: later calls inside emit themselves
        self._once = [None]

    @property
    def request_model(self) -> str | None:
        return self.model

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
    ) -> None:
        self.sinks: tuple[Sink, ...] = tuple(sinks)
        self.spans = spans
        self.price = price
        self.fill = fill
        self.clock = clock
        self.monotonic = monotonic
        self.successor: Lifecycle | None = None
        # Streams that the collector took: settled by the next one who comes by, never inside a finalizer, since
        # that may run while this thread holds a lock of a sink.
        self._dropped: deque[OpenCall] = deque()
        self._sinks_lock = threading.Lock()
        self._held_lock = threading.Lock()

    def add_sink(self, sink: Sink) -> None:
        with self._sinks_lock:
            self.sinks = (*self.sinks, sink)

    def remove_sink(self, sink: Sink) -> None:
        with self._sinks_lock:
            self.sinks = tuple(one for one in self.sinks if one is not sink)

    def open(
        self,
        *,
        provider: str | None,
        otel_provider: str | None = None,
        api: str | None = None,
        operation: str = "chat",
        model: str | None = None,
        host: str | None = None,
        port: int | None = None,
        path: str | None = None,
        region: str | None = None,
        stream: bool = False,
        scope: ScopeNode | None = None,
        tags: Mapping[str, str] = _NO_TAGS,
        parent: OpenCall | None = None,
    ) -> OpenCall:
        """Begin a call. The caller settles it, whatever happens."""
        if self._dropped:
            self.settle_dropped()
        call = OpenCall(
            self,
            provider=provider,
            otel_provider=otel_provider,
            api=api,
            operation=operation,
            model=model,
            host=host,
            port=port,
            path=path,
            region=region,
            stream=stream,
            scope=scope,
            tags=tags,
            parent=parent,
            started_ns=self.clock(),
        )
        if scope is not None:
            scope.opened()
        if parent is not None:
            parent.children += 1
        if self.spans is not None:
            with guard("starting a span"):
                call.span = self.spans.start(call)
        return call

    def settle(self, call: OpenCall, end: End, error: BaseException | None = None) -> None:
        """Turn a finished call into a record and hand it on, once; later calls do nothing."""
        if not call.claim():
            return
        with guard("settling a call"):
            record = self._record(call, end, error)
            call.request = call.reading = None  # whatever text was kept for counting is let go
            for child, held in self._release(call):
                self._emit(child, _delegated(held, call) if call.observed else held)
            if not self._hold(call, record):
                parent = call.parent
                late = parent is not None and parent.observed
                self._emit(call, _delegated(record, parent) if parent is not None and late else record)
        if self._dropped:
            self.settle_dropped()

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

    def drop(self, call: OpenCall) -> None:
        """Note a stream that was collected. Safe inside a finalizer: takes no lock and calls nobody."""
        self._dropped.append(call)

    def settle_dropped(self) -> None:
        """Settle the streams that were collected since last time."""
        while self._dropped:
            try:
                call = self._dropped.popleft()
            except IndexError:
                return
            self.settle(call, End.DROPPED)

    def _record(self, call: OpenCall, end: End, error: BaseException | None) -> Record:
        ended_ns = call.started_ns + (self.monotonic() - call.started_mono)
        reading = call.reading
        usage, reason = self._usage(call, end, reading)
        if reading is not None:
            end = reading.end(end)
        extracted = reading.extracted if reading is not None else None
        error_type = _error_type(error, call, reading, end)
        if call.children and not call.observed:
            end, usage, reason = End.DELEGATED, NOT_REPORTED, "the calls made inside carry the usage"
        span = call.span
        return Record(
            id=call.id,
            provider=call.provider,
            otel_provider=call.otel_provider,
            api=call.api,
            operation=call.operation,
            request_model=call.model,
            response_model=extracted.model if extracted is not None else None,
            started_ns=call.started_ns,
            ended_ns=ended_ns,
            end=end,
            host=call.host,
            port=call.port,
            region=call.region,
            time_to_first_chunk=None
            if call.first_chunk_ns is None or not call.stream
            else (call.first_chunk_ns - call.started_mono) / 1e9,
            stream=call.stream,
            usage=usage,
            usage_raw=extracted.raw if extracted is not None else None,
            unknown_fields=extracted.unknown_fields if extracted is not None else (),
            attempts=_attempts(call.attempts, usage),
            tags=call.tags,
            scope=call.scope.path if call.scope is not None else (),
            error_type=error_type,
            status_code=call.status_code,
            service_tier=extracted.service_tier if extracted is not None else None,
            vendor_cost=extracted.vendor_cost if extracted is not None else None,
            finish_reasons=extracted.finish_reasons if extracted is not None else (),
            response_id=extracted.response_id if extracted is not None else None,
            flags=(*reading.flags, *usage.contradictions()) if reading is not None else usage.contradictions(),
            reason=reason,
            trace_id=span.trace_id if span is not None else None,
            span_id=span.span_id if span is not None else None,
            params=_params(call, extracted.params if extracted is not None else None),
            parent_id=call.parent.id if call.parent is not None else None,
            telemetry=span.telemetry if span is not None else "own",
            pricer=self.price,
        )

    def _usage(self, call: OpenCall, end: End, reading: Reading | None) -> tuple[Usage, str | None]:
        if call.usage_override is not None:
            return call.usage_override, None
        usage = NOT_REPORTED
        reason: str | None = _no_answer(call)
        if reading is not None:
            with guard("reading usage"):
                usage, reason = reading.usage(end)
        missing = usage.input_tokens is None or usage.output_tokens is None
        if missing and self.fill is not None and reading is not None and (call.observed or not call.children):
            with guard("counting what was not reported"):
                usage = self.fill(call, usage, reading)
        if usage.input_tokens is not None and usage.output_tokens is not None:
            return usage, reason if usage.worst_source is not Source.REPORTED else None
        return usage, reason

    def _emit(self, call: OpenCall, record: Record) -> None:
        if call.span is not None:
            with guard("ending a span"):
                call.span.finish(record)
        if call.scope is not None:
            with guard("adding to a scope"):
                call.scope.settled(record)
        for sink in (self.successor or self).sinks:
            with guard(f"writing to {type(sink).__name__}"):
                sink.write(record)


def _no_answer(call: OpenCall) -> str:
    if call.status_code is not None and call.status_code >= 400:
        return f"the vendor answered {call.status_code}"
    return "no answer was seen"


def _delegated(record: Record, owner: OpenCall) -> Record:
    """The same call, without usage: a hand-made call around it was given the usage."""
    from dataclasses import replace

    return replace(
        record,
        end=End.DELEGATED,
        usage=NOT_REPORTED,
        usage_raw=None,
        reason=f"the call {owner.id} around it carries the usage",
    )


def _error_type(error: BaseException | None, call: OpenCall, reading: Reading | None, end: End) -> str | None:
    if error is not None:
        return type(error).__qualname__
    if reading is not None and reading.error is not None:
        return reading.error
    if end is End.ERROR and call.status_code is not None:
        return str(call.status_code)
    return None


def _attempts(attempts: list[Attempt], usage: Usage) -> tuple[Attempt, ...]:
    """Mark the attempt that carried the usage: the last one, if the vendor reported any."""
    if not attempts:
        return ()
    last = attempts[-1]
    if last.status is not None and last.status < 400 and usage.source is not Source.NONE:
        attempts[-1] = Attempt(last.status, last.error, last.started_at, last.duration, last.request_id, True, None)
    return tuple(attempts)


def _params(call: OpenCall, read: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Facts that pricing needs: those of the request, then those of the answer, which bill."""
    params: dict[str, Any] = dict(call.params) if call.params else {}
    if call.region is not None:
        params.setdefault("region", call.region)
    if read:
        params.update(read)
    return params
