"""Reads streamed bodies as they pass to the caller, and settles their call at the end.

A tee stands in the response's byte source, below every SDK and decoder: it sees the end of a stream however it came
about, also where the caller never touches the iterator again. It hands each chunk on as it came, notes it with one
append, and settles the call when the body ends.

How a body ends says how the call ended:

    exhausted                      complete, if the protocol's terminator went by
    an exception                   error: from the network here, from the SDK in `support/stream_errors.py`
    closed                         complete if the terminator went by, else closed_early, or cancelled if the
                                   exception under way is the cancellation of the task
    closed by a generator's end    closed_early; settled by the background thread: a finalizer may close it
    collected                      dropped; settled there, too
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import absorbed, guard
from tokenmeter.calls.context import CALL
from tokenmeter.calls.response import FOLD_BYTES
from tokenmeter.clients.support.stream_errors import left_to_step
from tokenmeter.clients.table import READERS
from tokenmeter.errors import BudgetExceeded
from tokenmeter.record import End, end_of

if TYPE_CHECKING:
    from types import TracebackType

    from tokenmeter.calls.opencall import OpenCall
    from tokenmeter.calls.response import BodyReading
    from tokenmeter.calls.stream_response import StreamReading

_BUDGET_STEP: Final = 2048
_FIRST: Final = -1
"""The size at which the first chunk is noted, though it may be empty."""
_DOING: Final = "settling a stream"

__all__ = ["BodyTee", "call_of_body", "make_tees"]


class BodyTee:
    """Listens to one body for one call. The classes made by `make_tees` add the HTTP library's interface."""

    _inner: Any
    _call: OpenCall
    _reading: BodyReading | StreamReading

    def listen(self, inner: Any, call: OpenCall, reading: BodyReading | StreamReading) -> None:
        self._inner = inner
        self._call = call
        self._reading = reading
        call.reading = reading
        call.lifecycle.body_opened(call)

    _step = FOLD_BYTES
    _asked = 0

    def _pause(self, size: int) -> int:
        """What is done at the first chunk and at every 64 KB, or 2 KB where a budget holds; the size kept after it."""
        call = self._call
        if call.first_chunk_ns is None:
            call.first_chunk_ns = call.lifecycle.monotonic()
            if call.budget is not None:
                self._step = _BUDGET_STEP
        if call.budget is not None:
            self._grow(call)
            self._step = min(FOLD_BYTES, size + _BUDGET_STEP)
        if size <= FOLD_BYTES:
            return size
        call.lifecycle.body_grew(call)
        self._asked = 0
        if call.budget is not None:
            self._step = _BUDGET_STEP
        return 0

    def _grow(self, call: OpenCall) -> None:
        """Have the call's budgets hold more; raises BudgetExceeded where one of them ends the stream."""
        chunks = self._reading.chunks
        new, self._asked = chunks[self._asked :], len(chunks)
        with guard("holding more for a stream"):
            error = call.budget.grow(new) if call.budget is not None else None
            if error is not None:
                self._ended(End.CLOSED_EARLY)  # what has come is charged, whoever reads on or closes
                raise error

    # How it ended: none of these three raises ------------------------------------------------------------------

    def _ended(self, end: End, error: BaseException | None = None) -> None:
        """It is over, in this way."""
        try:
            self._end(end, error)
        except BaseException as raised:
            if not absorbed(_DOING, raised):
                raise

    def _failed(self, error: BaseException) -> None:
        """Reading it raised an exception."""
        try:
            if isinstance(error, BudgetExceeded):  # raised by `_grow`
                self._end(End.CLOSED_EARLY)
            elif isinstance(error, GeneratorExit):  # a generator that is being closed may run inside a finalizer
                self._end(End.DROPPED)
            else:
                self._end(end_of(error), error)
        except BaseException as raised:
            if not absorbed(_DOING, raised):
                raise

    def _closed(self) -> None:
        """It was closed, at its end or before."""
        call = self._call
        if not call.settled or call.streaming:
            try:
                self._close(call, sys.exception())
            except BaseException as raised:
                if not absorbed(_DOING, raised):
                    raise

    def _close(self, call: OpenCall, error: BaseException | None) -> None:
        if error is None or isinstance(error, StopIteration | StopAsyncIteration):  # litellm closes while it stops
            self._end(End.CLOSED_EARLY)
        elif call.awaits:
            return
        elif isinstance(error, GeneratorExit):
            # The caller's generator was closed, or the SDK's own was collected. Either may run inside a finalizer.
            call.lifecycle.body_closed(call)
            self._later(End.DROPPED if _of_the_stream(_raised_at(error)) else End.CLOSED_EARLY)
        else:
            end = end_of(error)
            if end is not End.CANCELLED and not _of_the_stream(error.__traceback__):
                end = End.CLOSED_EARLY  # the caller left for a reason of its own
            self._end(end, None if end is End.CLOSED_EARLY else error)

    def _end(self, end: End, error: BaseException | None = None) -> None:
        call = self._call
        if call.awaits:
            return  # the body is over, the call waits for another
        if call.streaming:
            call.lifecycle.body_closed(call)
        if call.settled:
            return
        if end is End.DROPPED:
            self._later(end)
        elif not (self._reading.whole and (end is End.COMPLETE or end is End.CLOSED_EARLY) and self._in_method()):
            call.lifecycle.settle(call, end, error)

    def _later(self, end: End) -> None:
        """End the call on the background thread; where the SDK's own iterator dropped the body, after its step."""
        if not left_to_step(self._call, end):
            self._call.lifecycle.end_later(self._call, end)

    def _in_method(self) -> bool:
        """Whether a whole answer was read by the SDK's own method, which has yet to say what it makes of it."""
        current = CALL.get()
        return current is not None and getattr(current, "call", current) is self._call

    def __del__(self) -> None:
        call = getattr(self, "_call", None)
        if call is not None and not call.settled and not call.awaits:
            call.lifecycle.body_closed(call)
            call.lifecycle.end_later(call, End.DROPPED)

    def __getattr__(self, name: str) -> Any:
        if name in ("_inner", "_call"):
            raise AttributeError(name)
        return getattr(self._inner, name)


def call_of_body(source: object) -> OpenCall | None:
    """The call whose body this byte source reads; None where no tee stands in it."""
    return source._call if isinstance(source, BodyTee) else None


def _of_the_stream(traceback: TracebackType | None) -> bool:
    """Whether an exception under way comes out of the SDK's or the HTTP library's own reading of the stream.

    The traceback then begins in their frame; where the caller left a `with` block, it begins in the caller's.
    """
    if traceback is None:
        return False
    module = str(traceback.tb_frame.f_globals.get("__name__", ""))
    return any(f"{module}.".startswith(f"{reader}.") for reader in READERS)


def _raised_at(error: BaseException) -> TracebackType | None:
    """The frame that an exception was raised in: a GeneratorExit passes through the generators of `with` blocks."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback


def make_tees(sync_base: type, async_base: type) -> tuple[type[BodyTee], type[BodyTee]]:
    """The two tees for one HTTP library (httpx or httpx2), whose own types its responses insist on."""

    class Tee(BodyTee, sync_base):  # type: ignore[misc]
        def __iter__(self) -> Iterator[bytes]:
            chunks, size, step = self._reading.chunks, 0, _FIRST
            try:
                for chunk in self._inner:
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > step:
                        size = self._pause(size)
                        step = self._step
                    yield chunk
            except BaseException as error:
                self._failed(error)
                raise
            self._ended(End.COMPLETE)

        def close(self) -> None:
            try:
                self._inner.close()
            finally:
                self._closed()

    class AsyncTee(BodyTee, async_base):  # type: ignore[misc]
        async def __aiter__(self) -> AsyncIterator[bytes]:
            chunks, size, step = self._reading.chunks, 0, _FIRST
            try:
                async for chunk in self._inner:
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > step:
                        size = self._pause(size)
                        step = self._step
                    yield chunk
            except BaseException as error:
                self._failed(error)
                raise
            self._ended(End.COMPLETE)

        async def aclose(self) -> None:
            try:
                await self._inner.aclose()
            finally:
                self._closed()

    return Tee, AsyncTee
