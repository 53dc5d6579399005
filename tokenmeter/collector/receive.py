"""The way of one request, however it came: room is found, it is read, priced and handed on.

Room is taken before anything is priced. A request that is turned away has left no trace, so its sender can send it
again and each of its calls is counted once.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from google.protobuf.message import DecodeError
from google.rpc.code_pb2 import Code

from tokenmeter._support.guard import guard
from tokenmeter.collector.counters import Counts
from tokenmeter.collector.forward_queue import Lane, Room
from tokenmeter.collector.json_bodies import BadBody, read_json
from tokenmeter.collector.price_spans import SpanPricer
from tokenmeter.collector.results import Outcome, delivered, full, rejected
from tokenmeter.collector.signals import TRACES, Signal

__all__ = ["Intake"]

_LONG: Final = 2**18
_ENDING: Final = 5.0  # seconds after which another collector may be here


class Intake:
    """Takes requests. `lanes` by the name of their signal."""

    def __init__(self, lanes: dict[str, Lane], room: Room, pricer: SpanPricer, counts: Counts) -> None:
        self._lanes = lanes
        self._room = room
        self._pricer = pricer
        self._counts = counts
        self._working: set[asyncio.Task[Outcome]] = set()
        self.ending = False
        """Set when the process ends: nothing is taken any more."""

    def turned_away(self, signal: Signal, size: int) -> Outcome | None:
        """The answer to a request of so many bytes if it cannot be taken now; asked before it is read, and after."""
        if self.ending:
            answer = full("the collector is ending", _ENDING)
        elif self._room.used + size > self._room.size:
            lane = self._lanes[signal.name]
            problem = lane.problem or "more comes in than goes out"
            answer = full(f"the queue of {self._room.size / 2**20:g} MiB is full: {problem}", lane.retry_after)
        else:
            return None
        self._counts.refused += 1
        return answer

    async def take(self, signal: Signal, body: bytes, *, json: bool = False) -> Outcome:
        """Price and hand on one request. The answer is DELIVERED, KEPT, REJECTED or FULL.

        A sender that goes away meanwhile stops nothing: what was begun to be priced is forwarded too.
        """
        work = asyncio.ensure_future(self._take(signal, body, json=json))
        self._working.add(work)
        work.add_done_callback(self._working.discard)
        return await asyncio.shield(work)

    async def _take(self, signal: Signal, body: bytes, *, json: bool) -> Outcome:
        refused = self.turned_away(signal, len(body))
        if refused is not None:
            return refused
        self._room.change(len(body))
        taken = len(body)
        try:
            if json:  # slow where it is long, and others should not wait for it
                long = len(body) > _LONG
                message = await asyncio.to_thread(read_json, signal, body) if long else read_json(signal, body)
            else:
                message = signal.request.FromString(body)
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
            return delivered(b"")
        return await self._lanes[signal.name].deliver(body, spans)


def _count(message: Any) -> int:
    return sum(len(scope.spans) for resource in message.resource_spans for scope in resource.scope_spans)
