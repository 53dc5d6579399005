"""Calls that are over and not yet settled, and pieces of long streams that are not yet read.

There are two queues, each of one meter. Calls whose record nothing waits for are settled in a batch: when the queue
is full, when sums are read, and at flush. What must not be settled where it ended goes to the process's background
thread, which takes it within `PATIENCE` seconds:

    streams that end inside a finalizer or a generator's `finally`: it may hold a lock of a sink
    pieces of streams past 64 KB, and calls whose text is longer than that: counting would hold up the caller

Whoever needs the records at once drains both queues on its own thread.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import guard
from tokenmeter._support.worker import worker
from tokenmeter.record import End

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall
    from tokenmeter.calls.stream_response import StreamReading

__all__ = ["PATIENCE", "DeferredCalls"]

PATIENCE: Final = 0.02
"""Seconds in which a stream that was collected may still turn out to be closed, by the `with` around it."""
_WAITING_MOST: Final = 64
_PIECES_MOST: Final = 256  # of 64 KB: a faster reader does the counting itself, or memory would have no bound
_DRAIN: Final = 5.0  # seconds that a drain waits for one that is under way


class DeferredCalls:
    """The queues of one meter. Appending takes no lock; draining runs on the background thread or the asking one."""

    def __init__(self) -> None:
        self._over: deque[tuple[OpenCall, End]] = deque()
        self._ended: deque[tuple[OpenCall, End, int]] = deque()
        self._long: deque[tuple[StreamReading, bytes] | tuple[OpenCall, End]] = deque()
        self._turn = threading.RLock()
        on_fork(self)

    def forked(self) -> None:
        """In a child process: what the parent has yet to settle is the parent's, and would be counted twice."""
        self._over.clear()
        self._ended.clear()
        self._long.clear()
        self._turn = threading.RLock()

    def put_off(self, call: OpenCall, end: End) -> None:
        """Take a claimed call that is over; a full queue is settled, but for long counts."""
        over = self._over
        over.append((call, end))
        if len(over) >= _WAITING_MOST and self._turn.acquire(blocking=False):
            try:
                for one, its_end in _taken(over):
                    one.lifecycle.finish(one, its_end)
            finally:
                self._turn.release()

    def end_later(self, call: OpenCall, end: End) -> None:
        """Take a call that ended now and is not claimed. Safe inside a finalizer: takes no lock, starts no thread.

        Of several ends `DROPPED` counts least: the iterator of a stream is collected before the stream is closed.
        """
        self._ended.append((call, end, call.lifecycle.monotonic()))
        worker.after(PATIENCE, self.drain)

    def fold(self, reading: StreamReading, piece: bytes) -> None:
        """Have a piece of a long stream read and counted in the background."""
        self._long.append((reading, piece))
        self._hand_over(len(self._long) < _PIECES_MOST)

    def finish_later(self, call: OpenCall, end: End) -> None:
        """Have a claimed call settled in the background, after the pieces of its stream."""
        self._long.append((call, end))
        self._hand_over(True)

    def _hand_over(self, in_time: bool) -> None:
        if in_time and worker.start():
            worker.put(self.drain)
        else:
            self.drain()

    def drain(self) -> None:
        """Settle all calls taken so far; where another thread is doing so, wait for it."""
        if not (self._over or self._ended or self._long) and self._turn.acquire(blocking=False):
            self._turn.release()
            return
        if not self._turn.acquire(timeout=_DRAIN):
            return  # it goes on there
        try:
            for first, second in _taken(self._long):
                if isinstance(second, bytes):
                    with guard("folding a long stream"):
                        first.fold(second)
                else:
                    first.lifecycle.finish(first, second, long=True)
            for call, end in _taken(self._over):
                call.lifecycle.finish(call, end, long=True)
            self._settle_ended()
        finally:
            self._turn.release()

    def _settle_ended(self) -> None:
        ends: dict[int, tuple[OpenCall, End, int]] = {}
        for call, end, at in _taken(self._ended):
            known = ends.get(id(call))
            if known is None or known[1] is End.DROPPED:
                ends[id(call)] = (call, end, at if known is None else known[2])
        for call, end, at in ends.values():
            if call.route.later:
                from tokenmeter.calls.later_answers import keep

                if keep(call, end):
                    continue
            if call.claim():
                call.ended_mono = at
                call.lifecycle.finish(call, end, long=True)


def _taken(queue: deque[Any]) -> Any:
    """The items of a queue, each removed as it is given; those that come meanwhile as well."""
    while queue:
        try:
            yield queue.popleft()
        except IndexError:  # the queue of a forked child was cleared
            return
