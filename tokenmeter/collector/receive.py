"""Handles one export request, from HTTP or gRPC: admits it, parses it, prices its spans, queues it for forwarding.

Memory is reserved before a body is read. A request that is not admitted changes no state, so its sender can send it
again and each of its calls is counted once. A request is answered when its calls are in the ledger, too, so that what
is acknowledged survives a process that is killed. Bodies are unpacked, parsed and priced in one worker thread, one at a
time: the event loop stays free to answer, and what counts calls sees one request after the other.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from google.protobuf.message import DecodeError
from google.rpc.code_pb2 import Code

from tokenmeter._support.guard import guard
from tokenmeter.collector.counters import SpanCounters
from tokenmeter.collector.elements import SPAN_WEIGHT, TooManyElements, check_json, check_protobuf
from tokenmeter.collector.forward_queue import ForwardQueue, MemoryBudget, Reservation
from tokenmeter.collector.json_bodies import BadBody, read_json
from tokenmeter.collector.options import Options
from tokenmeter.collector.price_spans import SpanPricer
from tokenmeter.collector.results import Outcome, delivered, full, rejected
from tokenmeter.collector.signals import TRACES, Signal

if TYPE_CHECKING:
    from tokenmeter.ledger.writer import Ledger

__all__ = ["ENCODINGS", "RequestReceiver", "too_large"]

ENCODINGS: Final = {"gzip": 31, "deflate": 15}
"""Content encodings that are taken, with their window bits for zlib."""
_COMMITS_AT_ONCE: Final = 8  # requests that wait for the ledger at the same time
_ENDING: Final = 5.0  # retry delay in seconds: another collector may be started by then
_Value = TypeVar("_Value")


class _TooLarge(Exception):
    """A body is longer than the limit when unpacked."""


class _Priced(NamedTuple):
    body: bytes
    spans: int


class RequestReceiver:
    """Takes export requests and answers with an `Outcome`. `queues` are keyed by signal name."""

    def __init__(
        self,
        queues: dict[str, ForwardQueue],
        memory: MemoryBudget,
        pricer: SpanPricer,
        counts: SpanCounters,
        options: Options,
        *,
        ledger: Ledger | None = None,
    ) -> None:
        self._queues = queues
        self._memory = memory
        self._pricer = pricer
        self._counts = counts
        self._largest = options.largest
        self._elements = options.elements
        self._patience = options.patience
        self._ledger = ledger
        self._commits = ThreadPoolExecutor(_COMMITS_AT_ONCE, "tokenmeter-collector-commit")
        self._worker = ThreadPoolExecutor(1, "tokenmeter-collector")
        self._working: set[asyncio.Task[Outcome]] = set()
        self.ending = False
        """True while the process shuts down: every request is refused."""

    def reserve(self, signal: Signal, size: int, held: Reservation | None = None) -> Reservation | Outcome:
        """Memory for a request of `size` bytes, in all if some is `held`; else the refusal, with nothing held."""
        reservation = held or Reservation(self._memory)
        if self.ending:
            answer = full("the collector is ending", _ENDING)
        elif not reservation.resize(size):
            queue = self._queues[signal.name]
            problem = queue.problem or "more data arrive than the endpoint accepts"
            answer = full(f"the queue of {self._memory.size / 2**20:g} MiB is full: {problem}", queue.retry_after)
        else:
            return reservation
        reservation.release()
        self._counts.refused += 1
        return answer

    async def take(
        self, signal: Signal, body: bytes, reservation: Reservation, *, json: bool = False, encoding: str = ""
    ) -> Outcome:
        """Price and forward one serialized request. The verdict is DELIVERED, KEPT, REJECTED or FULL.

        The reservation is this method's from now on. `encoding` is one of ENCODINGS, or "" for a body as it is. A
        sender that disconnects meanwhile stops nothing: a request whose pricing has begun is also forwarded.
        """
        work = asyncio.ensure_future(self._take(signal, body, reservation, json, encoding))
        self._working.add(work)
        work.add_done_callback(self._working.discard)
        return await asyncio.shield(work)

    async def run(self, work: Callable[..., _Value], *arguments: Any) -> _Value:
        """Call a function in the worker thread."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *arguments)

    def close(self) -> None:
        """End the worker thread when its work is done; nothing can be taken any more."""
        self._worker.shutdown(wait=False)
        self._commits.shutdown(wait=False)

    async def _take(self, signal: Signal, body: bytes, reservation: Reservation, json: bool, encoding: str) -> Outcome:
        try:
            if encoding:
                body = await self.run(_unpacked, body, encoding, self._largest)
            refused = self.reserve(signal, len(body), reservation)
            if isinstance(refused, Outcome):
                return refused
            priced = await self.run(self._price, signal, body, json)
            del body
            self._counts.received += priced.spans
            if not priced.body:
                return delivered(b"")
            reservation.resize(len(priced.body), checked=False)
            reservation.hand_over()
        except _TooLarge:
            return too_large(self._largest)
        except TooManyElements as error:
            return rejected(Code.INVALID_ARGUMENT, str(error), 413)
        except BadBody as error:
            return rejected(Code.INVALID_ARGUMENT, str(error))
        finally:
            reservation.release()
        # The sender is answered when its calls are in the ledger: what is acknowledged is there.
        committed = asyncio.ensure_future(self._commit()) if signal is TRACES else None
        outcome = await self._queues[signal.name].deliver(*priced)
        if committed is not None:
            await committed
        return outcome

    async def _commit(self) -> None:
        """Wait until the calls taken so far are in the ledger, or it is known that it cannot be written."""
        ledger = self._ledger
        if ledger is not None and ledger.health()["waiting"]:
            with guard("committing the ledger"):
                await asyncio.get_running_loop().run_in_executor(self._commits, ledger.flush, self._patience)

    # In the worker thread -----------------------------------------------------------------------------------

    def _price(self, signal: Signal, body: bytes, json: bool) -> _Priced:
        """The request with its costs. Raises BadBody and TooManyElements."""
        if json:
            check_json(body, self._elements)
            message = read_json(signal, body)
        else:
            check_protobuf(signal, body, self._elements)
            try:
                message = signal.request.FromString(body)
            except DecodeError as error:
                raise BadBody(f"the body is no export request for {signal.name}: {error}") from None
        spans, changed = 0, json
        if signal is TRACES:
            spans = _count(message)
            if spans * SPAN_WEIGHT > self._elements:
                raise TooManyElements(self._elements)
            with guard("pricing spans"):
                changed = bool(self._pricer.price(message)) or json
        return _Priced(message.SerializeToString() if changed else body, spans)


def too_large(largest: int) -> Outcome:
    """Outcome of a body that is longer than the limit."""
    said = f"the body is longer than {largest} bytes; send less at once, or raise --largest"
    return rejected(Code.INVALID_ARGUMENT, said, 413)


def _unpacked(body: bytes, encoding: str, largest: int) -> bytes:
    """Decompress a body, and stop at the limit. Raises _TooLarge, and BadBody for damaged data."""
    decompressor = zlib.decompressobj(wbits=ENCODINGS[encoding])
    try:
        answer = decompressor.decompress(body, largest + 1)
    except zlib.error as error:
        raise BadBody(f"the body is not {encoding}: {error}") from None
    if len(answer) > largest:
        raise _TooLarge
    if not decompressor.eof:
        raise BadBody(f"the body is not {encoding}: it ends too early")
    return answer


def _count(message: Any) -> int:
    return sum(len(scope.spans) for resource in message.resource_spans for scope in resource.scope_spans)
