"""The queue in front of the OTLP endpoint: forwards requests at once, or queues and retries them while it is down.

Each signal has its own `ForwardQueue`, so that an endpoint which accepts no logs does not delay traces. All of them
share one `MemoryBudget`.

While the endpoint answers, a request is forwarded while its sender waits, and the sender gets the endpoint's answer:
a request is acknowledged only when the endpoint or this queue has it. A request whose forwarding fails temporarily is
queued and acknowledged, and so are later ones, so that none overtakes. `_drain` sends the queue in order, joins several
requests into one message (two concatenated export requests are one valid request), and backs off exponentially, or for
as long as the endpoint asked. An empty queue ends the draining, and requests are forwarded at once again. A request
that the endpoint rejects for good is dropped and counted; of a joined message, only the request that causes it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from bisect import insort
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from tokenmeter._support.guard import guard
from tokenmeter.collector.counters import SpanCounters
from tokenmeter.collector.results import KEPT, Outcome, Verdict, unavailable
from tokenmeter.collector.signals import Signal

__all__ = ["ForwardQueue", "MemoryBudget", "Reservation"]

_logger: Final = logging.getLogger("tokenmeter.collector")
_AT_ONCE: Final = 8  # requests forwarded at the same time
_JOINED_MOST: Final = 2 * 2**20  # bytes of a message that joins several requests
_BACKOFF: Final = (0.5, 30.0)
_LONGEST_ASKED: Final = 300.0  # seconds: a longer retry delay of the endpoint is cut to this


class MemoryBudget:
    """Memory limit, in bytes, for all requests that the collector has accepted and not yet delivered."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0

    def change(self, by: int) -> None:
        """Add to the memory in use; a negative number releases it. Does not check the limit."""
        self.used += by

    def fits(self, more: int) -> bool:
        """Whether so many bytes more stay within the limit."""
        return self.used + more <= self.size


class Reservation:
    """Memory of one request, from before its body is read until a queue takes it over."""

    def __init__(self, memory: MemoryBudget) -> None:
        self._memory = memory
        self.size = 0

    def resize(self, size: int, *, checked: bool = True) -> bool:
        """Hold `size` bytes; False, and no change, where that needs more than is left. Unchecked: hold it anyway."""
        if checked and size > self.size and not self._memory.fits(size - self.size):
            return False
        self._memory.change(size - self.size)
        self.size = size
        return True

    def release(self) -> None:
        """Hold nothing."""
        self.resize(0)

    def hand_over(self) -> None:
        """Leave the memory to the queue, which releases it."""
        self.size = 0


class _Item:
    __slots__ = ("body", "number", "spans")

    def __init__(self, number: int, body: bytes, spans: int) -> None:
        self.number = number
        self.body = body
        self.spans = spans

    def __lt__(self, other: _Item) -> bool:
        return self.number < other.number


class ForwardQueue:
    """Forwards the requests of one signal. `send` makes one attempt; failures of the endpoint are outcomes, not raised.

    `patience`: seconds that a sender waits for the endpoint before the request is queued. The caller adds each
    request's size to `memory`; the queue releases it.
    """

    def __init__(
        self,
        signal: Signal,
        send: Callable[[bytes], Awaitable[Outcome]],
        memory: MemoryBudget,
        counters: SpanCounters,
        *,
        patience: float,
        backoff: tuple[float, float] = _BACKOFF,
    ) -> None:
        self.signal = signal
        self._send = send
        self._memory = memory
        self._counters = counters
        self._patience = patience
        self._backoff = backoff
        self._numbers = itertools.count()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._queue: list[_Item] = []
        self._sending: list[_Item] = []  # taken from the queue, being sent
        self._first_attempts: set[_Item] = set()
        self._trying: set[asyncio.Task[Outcome]] = set()
        self._late = 0  # running attempts whose senders already have an acknowledgement
        self._drainer: asyncio.Task[None] | None = None
        self._singly = -1  # requests up to this number are sent one by one: a joined message with them was rejected
        self._hurry = asyncio.Event()
        self._again_at = 0.0
        self.problem: str | None = None
        """The endpoint's last error while requests are queued; None while it accepts everything."""

    @property
    def waiting(self) -> int:
        """Number of queued requests."""
        return len(self._queue)

    @property
    def retry_after(self) -> float:
        """Seconds until the next attempt: the retry delay for senders; at least 1."""
        return max(1.0, self._again_at - time.monotonic())

    async def deliver(self, body: bytes, spans: int = 0) -> Outcome:
        """Forward a serialized export request, or queue it. The verdict is DELIVERED, REJECTED or KEPT."""
        item = _Item(next(self._numbers), body, spans)
        if self._drainer is not None or self._late:
            self._keep(item)
            return KEPT
        attempt = asyncio.ensure_future(self._try(item))
        self._trying.add(attempt)
        attempt.add_done_callback(self._trying.discard)
        await asyncio.wait({attempt}, timeout=self._patience)
        if attempt.done():
            return attempt.result()
        self._late += 1
        attempt.add_done_callback(self._late_attempt_done)
        return KEPT

    def _late_attempt_done(self, attempt: asyncio.Task[Outcome]) -> None:
        self._late -= 1

    async def _try(self, item: _Item) -> Outcome:
        async with self._turns:
            if self._drainer is not None:  # the endpoint failed while this request waited for its turn
                self._keep(item)
                return KEPT
            self._first_attempts.add(item)
            outcome = await self._attempt(item.body)
            self._first_attempts.discard(item)
        if outcome.verdict is Verdict.UNAVAILABLE:
            self._keep(item)
            self._note(outcome)
            return KEPT
        self._done(item, outcome)
        return outcome

    # The queue ----------------------------------------------------------------------------------------------

    def _keep(self, item: _Item) -> None:
        insort(self._queue, item)
        if self._drainer is None:
            self._drainer = asyncio.ensure_future(self._drain())

    def _note(self, outcome: Outcome) -> None:
        if self.problem is None:
            _logger.warning("%s are queued, the endpoint does not accept them: %s", self.signal.name, outcome.message)
        self.problem = outcome.message
        if outcome.retry_after is not None:
            asked = min(outcome.retry_after, _LONGEST_ASKED)
            self._again_at = max(self._again_at, time.monotonic() + asked)

    async def _drain(self) -> None:
        """Send the queued requests in order until the queue is empty."""
        delay = self._backoff[0]
        while self._queue or self._late:
            await self._pause(delay)
            group = self._sending = self._next()
            if not group:  # an attempt under way may put back a request that is before all others
                continue
            outcome = await self._attempt(b"".join(item.body for item in group))
            self._sending = []
            if outcome.verdict is Verdict.UNAVAILABLE:
                self._counters.retried += sum(item.spans for item in group)
                self._put_back(group)
                delay = min(delay * 2 or self._backoff[0], self._backoff[1])
                self._note(outcome)
                continue
            delay = 0.0
            if self.problem is not None:
                self._report_recovery(outcome, (*group, *self._queue))
                self.problem = None
            if outcome.verdict is Verdict.REJECTED and len(group) > 1:
                self._put_back(group)
                self._singly = group[-1].number
                continue
            for item in group:
                self._done(item, outcome)
        self._drainer = None
        self._again_at = 0.0

    def _report_recovery(self, outcome: Outcome, queued: Sequence[_Item]) -> None:
        verb = "accepts" if outcome.verdict is Verdict.DELIVERED else "answers"
        spans = sum(item.spans for item in queued)
        what = f"{spans:,} queued spans" if spans else f"{len(queued):,} queued requests"
        _logger.warning("The endpoint %s %s again; %s are being sent.", verb, self.signal.name, what)

    async def _attempt(self, body: bytes) -> Outcome:
        with guard("forwarding a request"):
            return await self._send(body)
        return unavailable("forwarding failed in the collector; its log says why")

    def _put_back(self, group: list[_Item]) -> None:
        for item in group:
            insort(self._queue, item)

    async def _pause(self, delay: float) -> None:
        """Wait before an attempt; the end of the process cuts the wait short."""
        if delay or self._late:
            seconds = max(
                delay * random.uniform(0.8, 1.2), 0.05
            )  # jitter: many collectors do not retry at the same instant
            self._again_at = max(self._again_at, time.monotonic() + seconds)
            left = self._again_at - time.monotonic()
            if self._hurry.is_set():
                await asyncio.sleep(min(left, 0.2))
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), left)

    def _next(self) -> list[_Item]:
        """Take the first requests of the queue that are sent as one message."""
        if self._late or not self._queue:
            return []
        count = 1
        if self._queue[0].number > self._singly:
            sizes = itertools.accumulate(len(item.body) for item in self._queue)
            count = max(1, sum(1 for _ in itertools.takewhile(_JOINED_MOST.__ge__, sizes)))
        group, self._queue = self._queue[:count], self._queue[count:]
        return group

    def _done(self, item: _Item, outcome: Outcome) -> None:
        self._memory.change(-len(item.body))
        if outcome.verdict is Verdict.DELIVERED:
            self._counters.forwarded += item.spans
            return
        self._counters.rejected += item.spans
        _logger.warning("The endpoint rejected %s for good, they are dropped: %s", self.signal.name, outcome.message)

    # The end ------------------------------------------------------------------------------------------------

    async def close(self, timeout: float) -> tuple[int, int, int]:
        """Send the queue within `timeout` seconds. Returns the requests, spans and bytes that were not sent."""
        self._hurry.set()
        work = {*self._trying, *([self._drainer] if self._drainer is not None else [])}
        until = time.monotonic() + timeout
        while work and (left := until - time.monotonic()) > 0:
            await asyncio.wait(work, timeout=left)
            work = {task for task in (*self._trying, self._drainer) if task is not None and not task.done()}
        for task in work:
            task.cancel()
        unsent = [*self._queue, *self._sending, *self._first_attempts]
        self._counters.dropped += sum(item.spans for item in unsent)
        return len(unsent), sum(item.spans for item in unsent), sum(len(item.body) for item in unsent)
