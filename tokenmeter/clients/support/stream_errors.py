"""Settles a streamed call by the exception that the SDK's own iterator raised.

An SDK may fail at an event that it cannot read, with the body still open below it. Some close the body then, others
leave it to the garbage collector, which says nothing of the failure: so the iterator itself is watched. Its end and
its being closed are no errors; what these mean for the call is read from the body (`transport/tee.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

from tokenmeter._support.guard import guard
from tokenmeter.calls.by_hand import end_of

if TYPE_CHECKING:
    from tokenmeter.calls.lifecycle import OpenCall

__all__ = ["AsyncWatched", "settle_failed", "stepping", "watched", "watching"]


def settle_failed(call: OpenCall | None, error: BaseException) -> None:
    """Settle a call whose stream raised `error`, unless it is settled already."""
    with guard("settling a stream"):
        if call is not None and not call.settled and not call.awaits:
            call.lifecycle.body_closed(call)
            call.lifecycle.settle(call, end_of(error), error)


def watched(inner: Iterator[Any], call: OpenCall) -> Generator[Any, Any, Any]:
    """The same items; an exception of the iterator's settles the call."""
    try:
        return (yield from inner)
    except Exception as error:
        settle_failed(call, error)
        raise


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

    def failed(stream: Any, error: Exception) -> None:
        with guard("finding the call of a stream"):
            settle_failed(find(stream), error)

    def wrap(step: Callable[..., Any]) -> Callable[..., Any]:
        def metered(self: Any) -> Any:
            try:
                return step(self)
            except StopIteration:
                raise
            except Exception as error:
                failed(self, error)
                raise

        async def async_metered(self: Any) -> Any:
            try:
                return await step(self)
            except StopAsyncIteration:
                raise
            except Exception as error:
                failed(self, error)
                raise

        return async_metered if inspect.iscoroutinefunction(step) else metered

    return wrap
