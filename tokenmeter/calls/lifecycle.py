"""How a call becomes a record: opened once, settled once, handed to every sink.

Read this first. `Lifecycle.open` notes who calls whom; hooks and hand-made calls add attempts and what came back;
`Lifecycle.settle` reads the vendor's usage, counts only what was not reported, and writes one immutable record.
Pricing waits until the record is asked for its cost.

Who owns a call: a hand-made call, else an SDK call, else a request on the wire. Records of calls metered inside a
hand-made call are kept until it settles: if it was given a usage of its own they are delegated to it, else it is
delegated to them. Either way each token is counted once.

Where nothing waits for the record (no scope, no span, no sink but the process's own sums), settling is deferred: the
call is queued as it is and read with others, in a batch. Long texts are counted in the background, and streams that
end inside a finalizer are settled there (`calls/deferred.py`).

Nothing here may fail the host program: steps run under `guard`, apart, so that a call that cannot be priced is
still recorded, and a sink that breaks does not starve the next one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from tokenmeter._support.bounded import NAME_MOST, short_name
from tokenmeter._support.empty import EMPTY
from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import absorbed, guard
from tokenmeter._support.worker import worker
from tokenmeter.calls.context import HANDING_ON, OPEN_SCOPES, handing_on
from tokenmeter.calls.deferred import DeferredCalls
from tokenmeter.calls.hints import outside_scopes, sink_calls_itself
from tokenmeter.calls.opencall import Calibrates, OpenCall, ScopeNode, Spans
from tokenmeter.calls.recipients import Recipients, Sums, hand_on
from tokenmeter.calls.response import BodyReading
from tokenmeter.calls.route import Route
from tokenmeter.calls.settle import LongCount, make_record
from tokenmeter.calls.sink_threads import runs_for_a_sink
from tokenmeter.calls.usual_call import Settled, UsualCall, UsualCalls
from tokenmeter.record import End, Record, Sink
from tokenmeter.wire.request_body import json_copy

if TYPE_CHECKING:
    from tokenmeter.calls.accounts import Accounts
    from tokenmeter.cost import Cost

__all__ = ["Lifecycle", "OpenCall", "Sums"]


class Lifecycle:
    """Opens and settles calls for one `Tokenmeter`, and takes records that were made elsewhere.

    `sums` and `sinks` get every record, first those that make no calls to models. `spans` makes the spans of calls;
    None where there are none.
    `price` turns a record into a cost, when the record is asked for it. With `estimate`, totals that the vendor does
    not report are counted; `calibrator` corrects those counts, and looks at every call that settles. `deferred` is
    the queue of calls that may be read later, `usual` makes the records of usual calls; without it all go the general
    way. `accounts` tells whose key pays. `clock` gives nanoseconds since the epoch, `monotonic` those of a steady
    clock.
    """

    def __init__(
        self,
        *,
        price: Callable[[Record], Cost],
        sums: Sums | None = None,
        sinks: Iterable[Sink] = (),
        spans: Spans | None = None,
        estimate: bool = False,
        calibrator: Calibrates | None = None,
        deferred: DeferredCalls | None = None,
        usual: UsualCalls | None = None,
        accounts: Accounts | None = None,
        clock: Callable[[], int] = time.time_ns,
        monotonic: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self.recipients = Recipients(sums, sinks)
        self.clock = clock if clock is time.time_ns else _apart(clock, time.time_ns)
        self.monotonic = monotonic if monotonic is time.perf_counter_ns else _apart(monotonic, time.perf_counter_ns)
        self.spans = spans
        self.price = price
        self.estimate = estimate
        self.calibrator = calibrator
        self.accounts = accounts
        self._deferred = deferred if deferred is not None else DeferredCalls()
        self._usual = usual
        self._successor: Lifecycle | None = None
        self._reading: dict[OpenCall, None] = {}  # calls whose body the caller is reading
        on_fork(self)

    def forked(self) -> None:
        """In a child process: streams that the parent reads are the parent's, and would be counted twice."""
        for call in self._reading:
            call.claim()
        self._reading = {}
        self.recipients.forked()

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """The sinks that get every record."""
        return self.recipients.sinks

    def add_sink(self, sink: Sink) -> None:
        """Hand every later record to this sink too."""
        self.drain()
        self.recipients.add(sink)

    def remove_sink(self, sink: Sink) -> None:
        """Stop handing records to this sink."""
        self.drain()
        self.recipients.remove(sink)
        if self._successor is not None:
            self._successor.remove_sink(sink)

    def hand_over(self, successor: Lifecycle) -> None:
        """Have the records of calls still open here go to the sinks of the successor, and give it the added ones."""
        for sink in self.recipients.added:
            successor.add_sink(sink)
        self._successor = successor

    def _latest(self) -> Lifecycle:
        latest = self
        while latest._successor is not None:
            latest = latest._successor
        return latest

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
        if model is not None and len(model) > NAME_MOST:
            model = short_name(model)
        call = OpenCall(self, route, model, stream)
        if tags:
            call.tags = tags
        if scope is not None:
            call.scope = scope
            scope.opened()
        elif OPEN_SCOPES:
            outside_scopes()
        if parent is not None:
            call.parent = parent
            parent.children += 1
        inside = HANDING_ON.get()
        if inside is not None:
            call.inner = True
        elif self.recipients.code and runs_for_a_sink(self.recipients.code):
            call.inner = True
            sink_calls_itself()
        if self.spans is not None and inside in (None, "sink"):
            if span_later:
                call.span_due = True
            else:
                try:
                    call.span = self.spans.start(call)
                except BaseException as error:
                    if not absorbed("starting a span", error):
                        raise
        return call

    def start_span(self, call: OpenCall) -> None:
        """Start a span that was put off: our own, or the one that the SDK has made by now."""
        call.span_due = False
        if self.spans is not None:
            with guard("starting a span"):
                call.span = self.spans.start(call)

    def body_opened(self, call: OpenCall) -> None:
        """Note that the caller reads a call's body from now on."""
        call.streaming = True
        self._reading[call] = None
        if not worker.running and not worker.start():
            self.drain()  # no thread takes the streams that were collected

    def body_grew(self, call: OpenCall) -> None:
        """Pack what has come of a long body; a stream too long for that is read, in the background."""
        from tokenmeter.calls.stream_response import StreamReading

        reading = call.reading
        if isinstance(reading, StreamReading):
            if reading.pack():
                return
            call.long = True
            self._latest()._deferred.fold(reading, reading.take())
        elif isinstance(reading, BodyReading):
            reading.fold()

    def body_closed(self, call: OpenCall) -> None:
        """Note that the caller reads no more of it. Safe inside a finalizer."""
        call.streaming = False
        self._reading.pop(call, None)

    # Settling -----------------------------------------------------------------------------------------------

    def settle(self, call: OpenCall, end: End, error: BaseException | None = None) -> None:
        """Turn a finished call into a record and hand it on, once; later calls do nothing.

        A call whose answer is still to come stays open.
        """
        if call.route.later or call.by_hand:
            from tokenmeter.calls.later_answers import forget_announcement, keep

            if call.route.later and keep(call, end, self.drain):
                return
            if call.by_hand:
                forget_announcement(call)
        if not call.claim():
            return
        if call.span_due:
            self.start_span(call)  # nothing was sent
        call.ended_mono = self.monotonic()
        if error is not None:
            call.error_type = type(error).__qualname__
        if call.long:
            self._latest()._deferred.finish_later(call, end)
            return
        if self._deferrable(call):
            self._deferred.put_off(call, end)
            return
        self.finish(call, end)

    def _deferrable(self, call: OpenCall) -> bool:
        """Whether nothing waits for the call's record, and little enough is kept of the call to leave it unread."""
        if call.span is not None or call.scope is not None or call.parent is not None or call.by_hand:
            return False
        if call.budget is not None:  # its hold ends now
            return False
        sums = self.recipients.sums
        if sums is None or len(self.recipients.sinks) != 1 or self._successor is not None or sums.listened_to:
            return False
        reading = call.reading
        return reading is None or reading.small

    def end_later(self, call: OpenCall, end: End) -> None:
        """Settle a call that ends now, soon and elsewhere. Safe inside a finalizer: it runs no code of others.

        For streams that were collected, and for those that a generator closes, which the garbage collector may do.
        """
        self._latest()._deferred.end_later(call, end)  # the queue of a meter that was replaced is not drained

    def abandon(self) -> None:
        """Settle the streams that will not be read on, since the process ends."""
        while self._reading:  # a background answer whose stream is dropped waits first
            for call in list(self._reading):
                self.end_later(call, End.DROPPED)
            self._reading.clear()
            self.drain()

    def drain(self) -> None:
        """Settle the deferred calls, those of the successor too: a scope that began before `configure` has some."""
        self._deferred.drain()
        if self._successor is not None:
            self._successor.drain()

    def finish(self, call: OpenCall, end: End, *, long: bool = False) -> None:
        """Make the record of a claimed call that is over, and hand it on with the records that it kept.

        Where more than 64 KB of text would be counted, the background thread does it: that one passes `long`.
        """
        try:
            settled = self._settled(call, end, long)
            call.request = call.reading = None  # no text outlives its counting
            if call.by_hand:
                for child, kept in call.release():
                    hand_on(child, call.delegate(kept) if call.observed else kept, around=call.parent)
            hand_on(call, settled, around=call.parent)
        except LongCount:
            with guard("settling a call"):
                call.request = json_copy(call.request)  # the caller may add to its messages meanwhile
                self._latest()._deferred.finish_later(call, end)
        except BaseException as error:
            if not absorbed("settling a call", error):
                raise

    def _settled(self, call: OpenCall, end: End, long: bool) -> Settled:
        if self.calibrator is None or call.inner:
            usual = self._usual if self.calibrator is None else None
            found = usual.read(call, end) if usual is not None else None
            if isinstance(found, UsualCall):
                return found
            record = make_record(call, end, price=self.price, estimate=self.estimate, calibrator=None, long=long)
            if usual is not None and found is not None:
                usual.learn(found, record)
            return record
        with handing_on("sink"):  # the store of what was learnt may be the program's own
            return make_record(
                call, end, price=self.price, estimate=self.estimate, calibrator=self.calibrator, long=long
            )

    def take(self, settled: Settled, *, scope: ScopeNode | None = None, inner: bool | None = None) -> None:
        """Hand a call to the sinks, such as one that was made from another instrumentation's span.

        `scope` is the scope that the call ran in, and `record.scope` its path: the record is added to its sums. An
        `inner` call was made by a sink: sinks that make calls do not get it. None: the context says so.
        """
        if scope is not None:
            with guard("adding to a scope"):
                scope.opened()
                scope.settled(settled)
        latest = self if self._successor is None else self._latest()
        latest.recipients.take(settled, inner)


def _apart(clock: Callable[[], int], other: Callable[[], int]) -> Callable[[], int]:
    """A clock of the program's own. Calls to a model that it makes are inner calls, timed by the other clock."""

    def read() -> int:
        if HANDING_ON.get() == "clock":
            return other()
        with handing_on("clock"):
            return clock()

    return read
