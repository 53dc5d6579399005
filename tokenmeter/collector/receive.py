"""Handles one export request, from HTTP or gRPC: admits it, parses it, prices its spans, queues it for forwarding.

Memory is reserved before any span is priced. A request that is not admitted changes no state, so its sender can send
it again and each of its calls is counted once.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from google.protobuf.message import DecodeError
from google.rpc.code_pb2 import Code

from tokenmeter._support.guard import guard
from tokenmeter.collector.counters import SpanCounters
from tokenmeter.collector.forward_queue import ForwardQueue, MemoryBudget
from tokenmeter.collector.json_bodies import BadBody, read_json
from tokenmeter.collector.price_spans import SpanPricer
from tokenmeter.collector.results import Outcome, delivered, full, rejected
from tokenmeter.collector.signals import TRACES, Signal

__all__ = ["RequestReceiver"]

_LONG: Final = 2**18  # bytes of a JSON body that is parsed in a thread
_ENDING: Final = 5.0  # retry delay in seconds: another collector may be started by then


class RequestReceiver:
    """Takes export requests and answers with an `Outcome`. `queues` are keyed by signal name."""

    def __init__(
        self, queues: dict[str, ForwardQueue], memory: MemoryBudget, pricer: SpanPricer, counts: SpanCounters
    ) -> None:
        self._queues = queues
        self._memory = memory
        self._pricer = pricer
        self._counts = counts
        self._working: set[asyncio.Task[Outcome]] = set()
        self.ending = False
        """True while the process shuts down: every request is refused."""

    def admit(self, signal: Signal, size: int) -> Outcome | None:
        """None if a request of `size` bytes is admitted, else the refusal; called before and after the body is read."""
        if self.ending:
            answer = full("the collector is ending", _ENDING)
        elif self._memory.used + size > self._memory.size:
            queue = self._queues[signal.name]
            problem = queue.problem or "more data arrive than the endpoint accepts"
            answer = full(f"the queue of {self._memory.size / 2**20:g} MiB is full: {problem}", queue.retry_after)
        else:
            return None
        self._counts.refused += 1
        return answer

    async def take(self, signal: Signal, body: bytes, *, json: bool = False) -> Outcome:
        """Price and forward one serialized request. The verdict is DELIVERED, KEPT, REJECTED or FULL.

        A sender that disconnects meanwhile stops nothing: a request whose pricing has begun is also forwarded.
        """
        work = asyncio.ensure_future(self._take(signal, body, json=json))
        self._working.add(work)
        work.add_done_callback(self._working.discard)
        return await asyncio.shield(work)

    async def _take(self, signal: Signal, body: bytes, *, json: bool) -> Outcome:
        refused = self.admit(signal, len(body))
        if refused is not None:
            return refused
        self._memory.change(len(body))
        taken = len(body)
        try:
            if json:  # parsing a long body is slow and would block the event loop
                long = len(body) > _LONG
                message = await asyncio.to_thread(read_json, signal, body) if long else read_json(signal, body)
            else:
                message = signal.request.FromString(body)
        except (BadBody, DecodeError) as error:
            self._memory.change(-taken)
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
            self._memory.change(len(body) - taken)
        if not body:
            return delivered(b"")
        return await self._queues[signal.name].deliver(body, spans)


def _count(message: Any) -> int:
    return sum(len(scope.spans) for resource in message.resource_spans for scope in resource.scope_spans)
