"""The way of one request, however it came: room is found, it is read, priced and handed on.

Room is taken before anything is priced. A request that is turned away has left no trace, so its sender can send it
again and each of its calls is counted once.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.message import DecodeError
from google.rpc.code_pb2 import Code

from tokenmeter._guard import guard
from tokenmeter.collector.counts import Counts
from tokenmeter.collector.json_bodies import BadBody, read_json
from tokenmeter.collector.lanes import Lane, Room
from tokenmeter.collector.outcomes import Outcome, delivered, full, rejected
from tokenmeter.collector.signals import TRACES, Signal
from tokenmeter.collector.spans import SpanPricer

__all__ = ["Intake"]

_ENDING: Final = 5.0  # seconds after which another collector may be here


class Intake:
    """Takes requests. `lanes` by the name of their signal."""

    def __init__(self, lanes: dict[str, Lane], room: Room, pricer: SpanPricer, counts: Counts) -> None:
        self._lanes = lanes
        self._room = room
        self._pricer = pricer
        self._counts = counts
        self.ending = False
        """Set when the process ends: nothing is taken any more."""

    def turned_away(self, signal: Signal, size: int) -> Outcome | None:
        """The answer to a request of so many bytes if there is no room for it now, told before it is read."""
        if self.ending:
            return full("the collector is ending", _ENDING)
        if self._room.used + size > self._room.size:
            return self._full(signal)
        return None

    async def take(self, signal: Signal, body: bytes, *, json: bool = False) -> Outcome:
        """Price and hand on one request. The answer is DELIVERED, KEPT, REJECTED or FULL."""
        refused = self.turned_away(signal, len(body))
        if refused is not None or not self._room.take(len(body)):
            if signal is TRACES:
                self._counts.refused += _spans_in(body, json)
            return refused or self._full(signal)
        taken = len(body)
        try:
            message = read_json(signal, body) if json else signal.request.FromString(body)
        except (BadBody, DecodeError) as error:
            self._room.change(-taken)
            reason = str(error) if json else f"the body is no export request for {signal.name}: {error}"
            return rejected(Code.INVALID_ARGUMENT, reason)
        spans, changed = 0, json
        if signal is TRACES:
            spans = _count(message)
            self._counts.received += spans
            with guard("pricing spans"):
                changed = bool(await self._pricer.price(message)) or json
        if changed:
            body = message.SerializeToString()
            self._room.change(len(body) - taken)
        if not body:
            self._room.change(-len(body))
            return delivered(b"")
        return await self._lanes[signal.name].deliver(body, spans)

    def _full(self, signal: Signal) -> Outcome:
        lane = self._lanes[signal.name]
        size = self._room.size / 2**20
        problem = lane.problem or "more comes in than goes out"
        return full(f"the queue of {size:g} MiB is full: {problem}", lane.retry_after)


def _count(message: Any) -> int:
    return sum(len(scope.spans) for resource in message.resource_spans for scope in resource.scope_spans)


def _spans_in(body: bytes, json: bool) -> int:
    """The spans of a request that is turned away, as far as it can be read."""
    try:
        return _count(read_json(TRACES, body) if json else TRACES.request.FromString(body))
    except (BadBody, DecodeError):
        return 0
