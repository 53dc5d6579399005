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
from typing import TYPE_CHECKING, Final

from tokenmeter._support.empty import EMPTY
from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import guard
from tokenmeter.calls.opencall import Calibrates, OpenCall, Route, ScopeNode, Spans
from tokenmeter.calls.settle import delegated, make_record
from tokenmeter.record import End, Record, Sink

if TYPE_CHECKING:
    from tokenmeter.calls.settle import Fill
    from tokenmeter.cost import Cost

__all__ = ["Lifecycle", "OpenCall", "Route"]

_WAITING_MOST: Final = 64


class Lifecycle:
    """Opens and settles calls for one `Tokenmeter`, and takes records that were made elsewhere.

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
        fill: Fill | None = None,
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
        self.successor: Lifecycle | None = None  # set by `configure`: calls still open settle into that one
        # Calls that are over and not yet read: those nobody waits for, and streams that the collector took, which are
        # never settled inside a finalizer, since that may run while this thread holds a lock of a sink.
        self._waiting: deque[tuple[OpenCall, End]] = deque()
        self._dropped: deque[OpenCall] = deque()
        self._sinks_lock = threading.Lock()
        self._streaming: dict[int, OpenCall] = {}
        on_fork(self)

    def forked(self) -> None:
        """In a child process: what the parent has yet to settle is the parent's, and would be counted twice."""
        for call in self._streaming.values():
            call.claim()
        self._streaming = {}
        self._waiting = deque()
        self._dropped = deque()
        self._sinks_lock = threading.Lock()

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
        tags: Mapping[str, str] = EMPTY,
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
        self.finish(call, end)
        if self._dropped:
            self.drain()

    def _nobody_waits(self, call: OpenCall) -> bool:
        if call.span is not None or call.scope is not None or call.parent is not None or call.by_hand:
            return False
        if self.quiet is None or not self.quiet():
            return False
        reading = call.reading
        return reading is None or reading.small

    def body_opened(self, call: OpenCall) -> None:
        """Note that a call's body is being read by the caller from now on."""
        call.streaming = True
        self._streaming[id(call)] = call

    def body_closed(self, call: OpenCall) -> None:
        """Note that this is over. Safe inside a finalizer."""
        call.streaming = False
        self._streaming.pop(id(call), None)

    def drop(self, call: OpenCall) -> None:
        """Note a stream that was collected. Safe inside a finalizer: takes no lock and calls nobody."""
        self._latest()._dropped.append(call)  # nobody asks the one that was replaced

    def _latest(self) -> Lifecycle:
        latest = self
        while latest.successor is not None:
            latest = latest.successor
        return latest

    def abandon(self) -> None:
        """Settle the streams that nobody will read on, since the process ends."""
        for call in list(self._streaming.values()):
            self.drop(call)
        self._streaming.clear()
        self.drain()

    def drain(self) -> None:
        """Settle what was put off: calls that nobody waited for, and streams that were collected."""
        while self._waiting:
            try:
                call, end = self._waiting.popleft()
            except IndexError:
                break
            self.finish(call, end)
        while self._dropped:
            try:
                call = self._dropped.popleft()
            except IndexError:
                break
            if call.claim():
                call.ended_mono = self.monotonic()
                call.lifecycle.finish(call, End.DROPPED)
        if self.successor is not None:
            self.successor.drain()  # calls of a scope that began before `configure`

    def finish(self, call: OpenCall, end: End) -> None:
        """Make the record of a call that is claimed and over, and hand it on."""
        with guard("settling a call"):
            record = make_record(call, end, price=self.price, fill=self.fill, calibrator=self.calibrator)
            call.request = call.reading = None  # whatever text was kept for counting is let go
            for child, held in call.release() if call.by_hand else ():
                _hand_on(child, delegated(held, call) if call.observed else held, call.parent)
            _hand_on(call, record, call.parent)

    # Handing on ---------------------------------------------------------------------------------------------

    def take(self, record: Record, *, scope: ScopeNode | None = None) -> None:
        """Hand on a record that was made elsewhere, such as from another instrumentation's span.

        `scope` is the scope that the call ran in, and `record.scope` its path: the record is added to its sums.
        """
        if scope is not None:
            with guard("adding to a scope"):
                scope.opened()
                scope.settled(record)
        self._write(record)

    def emit(self, call: OpenCall, record: Record) -> None:
        """Hand a record to the call's span and scope, and to the sinks."""
        if call.span is not None:
            with guard("ending a span"):
                call.span.finish(record)
        if call.scope is not None:
            with guard("adding to a scope"):
                call.scope.settled(record)
        self._write(record)

    def _write(self, record: Record) -> None:
        for sink in self._latest().sinks:
            with guard("writing to a sink"):
                sink.write(record)


def _hand_on(call: OpenCall, record: Record, around: OpenCall | None) -> None:
    """Hand a record to the innermost hand-made call around it that is still open, else to the sinks."""
    while around is not None:
        if around.hold(call, record):
            return
        if around.observed:  # it has settled, with a usage of its own
            record = delegated(record, around)
        around = around.parent
    call.lifecycle.emit(call, record)
