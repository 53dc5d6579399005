"""Settles a streamed call by the exception that the SDK's own iterator raised.

An SDK may fail at an event that it cannot read, with the body still open below it. Some close the body then, others
leave it to the garbage collector, which says nothing of the failure: so the iterator itself is watched. Its end and
its being closed are no errors; what these mean for the call is read from the body (`transport/tee.py`).

A generator that raises drops the generators that it reads first, the body's among them. So the end of a body that a
step of the iterator dropped waits for the step (`left_to_step`): the exception that is on its way says more.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Generator, Iterator
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.record import end_of

if TYPE_CHECKING:
    from tokenmeter.calls.lifecycle import OpenCall
    from tokenmeter.record import End

__all__ = ["AsyncWatched", "left_to_step", "settle_failed", "step_over", "stepping", "steps", "watched", "watching"]

_STEPS: Final[dict[CodeType, Callable[[FrameType], OpenCall | None]]] = {}
"""The code of our functions that run a step of an SDK's iterator, and how to find the call in a frame of each."""
_WAITING: Final[dict[int, tuple[OpenCall, End]]] = {}
"""The calls whose bodies were dropped by a step that still runs, by their `id`."""


def settle_failed(call: OpenCall | None, error: BaseException) -> None:
    """Settle a call whose stream raised `error`, unless it is settled already."""
    with guard("settling a stream"):
        if call is not None and not call.settled and not call.awaits:
            call.lifecycle.body_closed(call)
            call.lifecycle.settle(call, end_of(error), error)


def steps(code: CodeType, find: Callable[[FrameType], OpenCall | None]) -> None:
    """Name a function that runs steps of an iterator, and says `step_over` after them."""
    _STEPS[code] = find


def left_to_step(call: OpenCall, end: End) -> bool:
    """Whether a step of this call's stream runs on this thread; if so, the call ends when the step is over."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        find = _STEPS.get(frame.f_code)
        if find is not None and find(frame) is call:
            _WAITING[id(call)] = (call, end)
            return True
        frame = frame.f_back
    return False


def step_over(call: OpenCall | None) -> None:
    """End a call whose body the step dropped, unless the step's exception has settled it."""
    if not _WAITING:
        return
    with guard("settling a stream"):
        waiting = _WAITING.pop(id(call), None)
        if waiting is not None and not waiting[0].settled:
            waiting[0].lifecycle.end_later(*waiting)


def watched(inner: Iterator[Any], call: OpenCall) -> Generator[Any, Any, Any]:
    """The same items; an exception of the iterator's settles the call."""
    try:
        return (yield from inner)
    except Exception as error:
        settle_failed(call, error)
        raise
    finally:
        step_over(call)


steps(watched.__code__, lambda frame: frame.f_locals["call"])


class AsyncWatched:
    """The same for an async iterator."""

    # No generator: it would add a finalizer, and with it another moment at which a dropped stream ends.
    __slots__ = ("_call", "_inner")

    def __init__(self, inner: Any, call: OpenCall) -> None:
        self._inner = inner
        self._call = call

    def __aiter__(self) -> AsyncWatched:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._inner.__anext__()
        except StopAsyncIteration:
            raise
        except Exception as error:
            settle_failed(self._call, error)
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def watching(find: Callable[[Any], OpenCall | None]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wraps a method that makes a stream's iterator; `find(stream)` is the call that the stream belongs to."""

    def wrap(make: Callable[..., Any]) -> Callable[..., Any]:
        def metered(self: Any) -> Any:
            inner = make(self)
            call = None
            with guard("finding the call of a stream"):
                call = find(self)
            if call is None:
                return inner
            return AsyncWatched(inner, call) if hasattr(inner, "__anext__") else watched(inner, call)

        return metered

    return wrap


def stepping(find: Callable[[Any], OpenCall | None]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Wraps a stream's own `__next__` or `__anext__`; `find(stream)` is the call that the stream belongs to."""

    def call_of(stream: Any) -> OpenCall | None:
        with guard("finding the call of a stream"):
            return find(stream)
        return None

    def failed(stream: Any, error: Exception) -> None:
        settle_failed(call_of(stream), error)

    def wrap(step: Callable[..., Any]) -> Callable[..., Any]:
        def metered(self: Any) -> Any:
            try:
                return step(self)
            except StopIteration:
                raise
            except Exception as error:
                failed(self, error)
                raise
            finally:
                if _WAITING:  # finding the call is not free
                    step_over(call_of(self))

        async def async_metered(self: Any) -> Any:
            try:
                return await step(self)
            except StopAsyncIteration:
                raise
            except Exception as error:
                failed(self, error)
                raise

        steps(metered.__code__, lambda frame: frame.f_locals["call_of"](frame.f_locals["self"]))
        return async_metered if inspect.iscoroutinefunction(step) else metered

    return wrap
