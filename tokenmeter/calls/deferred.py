"""Calls that are over and not yet read: those whose record nothing waits for, and streams that were collected unread.

They are settled in a batch, by the lifecycle that opened each: when the queue is full, when sums are read, and at
flush. A stream is never settled inside a finalizer, since that may run while its thread holds a lock of a sink.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from tokenmeter._support.fork import on_fork
from tokenmeter.record import End

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall

__all__ = ["DeferredCalls"]

_WAITING_MOST: Final = 64


class DeferredCalls:
    """The queue of one meter. Appending to it takes no lock; draining it runs on whichever thread asks."""

    def __init__(self) -> None:
        self._over: deque[tuple[OpenCall, End]] = deque()
        self.dropped: deque[OpenCall] = deque()
        """Streams that were collected unread. Appending is safe inside a finalizer."""
        on_fork(self)

    def forked(self) -> None:
        """In a child process: what the parent has yet to settle is the parent's, and would be counted twice."""
        self._over.clear()
        self.dropped.clear()

    def put_off(self, call: OpenCall, end: End) -> None:
        """Take a claimed call that is over; a full queue is drained."""
        over = self._over
        over.append((call, end))
        if len(over) >= _WAITING_MOST:
            self.drain()

    def drain(self) -> None:
        """Settle all calls taken so far."""
        while self._over:
            try:
                call, end = self._over.popleft()
            except IndexError:  # another thread drains as well
                break
            call.lifecycle.finish(call, end)
        while self.dropped:
            try:
                call = self.dropped.popleft()
            except IndexError:
                break
            if call.claim():
                call.ended_mono = call.lifecycle.monotonic()
                call.lifecycle.finish(call, End.DROPPED)
