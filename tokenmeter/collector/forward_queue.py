"""Requests on their way to the endpoint: at once while it answers, in order from a queue while it does not.

One `Lane` for each signal, so that an endpoint which takes no logs does not hold up traces; one `Room`, the stated
amount of memory, for all of them.

While the endpoint answers, a request is forwarded while its sender waits, and the endpoint's answer is what the sender
gets: nothing is acknowledged that nobody has. A request whose forwarding fails for now is kept and acknowledged, and
so are those after it, so that no later one overtakes: `_drain` sends them in order, several in one message (two
export requests behind one another are one), and waits between attempts for longer and longer, or for as long as the
endpoint asked. When nothing is left the lane is open again. A request that the endpoint refuses for good is dropped
and counted; out of a joined message only the one that is to blame.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from bisect import insort
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from tokenmeter._support.guard import guard
from tokenmeter.collector.counters import Counts
from tokenmeter.collector.results import KEPT, Outcome, Verdict, away
from tokenmeter.collector.signals import Signal

__all__ = ["Lane", "Room"]

_logger: Final = logging.getLogger("tokenmeter.collector")
_AT_ONCE: Final = 8  # requests that are forwarded at the same time
_JOINED_MOST: Final = 2 * 2**20  # bytes of a message joined of several
_BACKOFF: Final = (0.5, 30.0)
_LONGEST_ASKED: Final = 300.0  # seconds: no endpoint can ask us to stay away for longer


class Room:
    """The memory that requests in hand may take, in bytes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.used = 0

    def change(self, by: int) -> None:
        """Take more, or give back, without asking."""
        self.used += by


class _Item:
    __slots__ = ("body", "number", "spans")

    def __init__(self, number: int, body: bytes, spans: int) -> None:
        self.number = number
        self.body = body
        self.spans = spans

    def __lt__(self, other: _Item) -> bool:
        return self.number < other.number


class Lane:
    """Forwards the requests of one signal. `send` makes one attempt and never raises for what the endpoint does.

    `patience` is how long a sender is kept waiting for the endpoint, in seconds; `room` must have been taken for each
    request, and is given back here.
    """

    def __init__(
        self,
        signal: Signal,
        send: Callable[[bytes], Awaitable[Outcome]],
        room: Room,
        counts: Counts,
        *,
        patience: float,
        backoff: tuple[float, float] = _BACKOFF,
    ) -> None:
        self.signal = signal
        self._send = send
        self._room = room
        self._counts = counts
        self._patience = patience
        self._backoff = backoff
        self._numbers = itertools.count()
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._queue: list[_Item] = []
        self._in_hand: list[_Item] = []  # taken from the queue, being sent
        self._first: set[_Item] = set()  # being sent for the first time
        self._trying: set[asyncio.Task[Outcome]] = set()
        self._late = 0  # attempts whose senders were told that we keep the data
        self._drainer: asyncio.Task[None] | None = None
        self._singly = -1  # up to this request each is sent alone: one of them was refused in company
        self._hurry = asyncio.Event()
        self._again_at = 0.0
        self.problem: str | None = None
        """Why the endpoint does not take what waits; None while it takes everything."""

    @property
    def waiting(self) -> int:
        """Requests that are kept."""
        return len(self._queue)

    @property
    def retry_after(self) -> float:
        """Seconds until it is worth coming again."""
        return max(1.0, self._again_at - time.monotonic())

    async def deliver(self, body: bytes, spans: int = 0) -> Outcome:
        """Forward a request, or keep it. The answer is DELIVERED, REJECTED or KEPT."""
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
        attempt.add_done_callback(self._in_time)
        return KEPT

    def _in_time(self, attempt: asyncio.Task[Outcome]) -> None:
        self._late -= 1

    async def _try(self, item: _Item) -> Outcome:
        async with self._turns:
            if self._drainer is not None:  # the endpoint went away while this one waited for its turn
                self._keep(item)
                return KEPT
            self._first.add(item)
            outcome = await self._attempt(item.body)
            self._first.discard(item)
        if outcome.verdict is Verdict.AWAY:
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
            _logger.warning("%s wait here: %s", self.signal.name, outcome.message)
        self.problem = outcome.message
        if outcome.retry_after is not None:
            asked = min(outcome.retry_after, _LONGEST_ASKED)
            self._again_at = max(self._again_at, time.monotonic() + asked)

    async def _drain(self) -> None:
        """Send what is kept, in order, until nothing is left."""
        delay = self._backoff[0]
        while self._queue or self._late:
            await self._pause(delay)
            group = self._in_hand = self._next()
            if not group:  # an attempt under way may put back a request that is before all others
                continue
            outcome = await self._attempt(b"".join(item.body for item in group))
            self._in_hand = []
            if outcome.verdict is Verdict.AWAY:
                self._counts.retried += sum(item.spans for item in group)
                self._put_back(group)
                delay = min(delay * 2 or self._backoff[0], self._backoff[1])
                self._note(outcome)
                continue
            delay = 0.0
            if self.problem is not None:
                _logger.warning("%s go on: the endpoint is back, %d requests wait", self.signal.name, len(self._queue))
                self.problem = None
            if outcome.verdict is Verdict.REJECTED and len(group) > 1:
                self._put_back(group)
                self._singly = group[-1].number
                continue
            for item in group:
                self._done(item, outcome)
        self._drainer = None
        self._again_at = 0.0

    async def _attempt(self, body: bytes) -> Outcome:
        with guard("forwarding a request"):
            return await self._send(body)
        return away("forwarding failed here; the log says why")

    def _put_back(self, group: list[_Item]) -> None:
        for item in group:
            insort(self._queue, item)

    async def _pause(self, delay: float) -> None:
        """Wait before an attempt; cut short when the process ends."""
        if delay or self._late:
            seconds = max(delay * random.uniform(0.8, 1.2), 0.05)  # so that many collectors do not come all at once
            self._again_at = max(self._again_at, time.monotonic() + seconds)
            left = self._again_at - time.monotonic()
            if self._hurry.is_set():
                await asyncio.sleep(min(left, 0.2))
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), left)

    def _next(self) -> list[_Item]:
        """Take the first requests of the queue, those that are sent together."""
        if self._late or not self._queue:
            return []
        count = 1
        if self._queue[0].number > self._singly:
            sizes = itertools.accumulate(len(item.body) for item in self._queue)
            count = max(1, sum(1 for _ in itertools.takewhile(_JOINED_MOST.__ge__, sizes)))
        group, self._queue = self._queue[:count], self._queue[count:]
        return group

    def _done(self, item: _Item, outcome: Outcome) -> None:
        self._room.change(-len(item.body))
        if outcome.verdict is Verdict.DELIVERED:
            self._counts.forwarded += item.spans
            return
        self._counts.rejected += item.spans
        _logger.warning("the endpoint refused %s for good: %s", self.signal.name, outcome.message)

    # The end ------------------------------------------------------------------------------------------------

    async def close(self, timeout: float) -> tuple[int, int, int]:
        """Send what is kept within `timeout` seconds. Returns the requests, spans and bytes that could not be."""
        self._hurry.set()
        work = {*self._trying, *([self._drainer] if self._drainer is not None else [])}
        until = time.monotonic() + timeout
        while work and (left := until - time.monotonic()) > 0:
            await asyncio.wait(work, timeout=left)
            work = {task for task in (*self._trying, self._drainer) if task is not None and not task.done()}
        for task in work:
            task.cancel()
        unsent = [*self._queue, *self._in_hand, *self._first]
        self._counts.dropped += sum(item.spans for item in unsent)
        return len(unsent), sum(item.spans for item in unsent), sum(len(item.body) for item in unsent)
