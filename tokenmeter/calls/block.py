"""`Block`: a context manager that is also a decorator, for scopes, tags and hand-made calls.

A block is opened once and closed once; between, it is entered and left. In a `with` statement or a plain function
that is the same thing. In a generator it is not: a generator's body runs in its caller's context, so what is current
inside must be entered before every step and left after it, or it would leak to the caller while the generator is
suspended.

Decorated functions keep name, signature, annotations and kind (coroutine function, generator function, ...), pickle
by name, and work as methods, static methods and class methods.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar

__all__ = ["Block"]

_Item = TypeVar("_Item")
_F = TypeVar("_F", bound=Callable[..., Any])


class _Entered(Generic[_Item]):
    """One entry of a block, recognised by identity: the items of two entries may be equal."""

    __slots__ = ("item", "previous")

    def __init__(self, item: _Item, previous: tuple[Any, ...]) -> None:
        self.item = item
        self.previous = previous


class Block(Generic[_Item]):
    """Subclasses say what to open, enter, leave and close; none of it may raise."""

    def __init__(self) -> None:
        self._entered: list[_Entered[_Item]] = []

    def _open(self) -> _Item:
        raise NotImplementedError

    def _enter(self, item: _Item) -> tuple[Any, ...]:
        raise NotImplementedError

    def _leave(self, item: _Item, previous: tuple[Any, ...]) -> None:
        raise NotImplementedError

    def _close(self, item: _Item, error: BaseException | None) -> None:
        raise NotImplementedError

    def _is_current(self, item: _Item) -> bool:
        raise NotImplementedError

    def _called(self, item: _Item, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A decorated function is about to run."""

    def _returned(self, item: _Item, value: Any) -> Any:
        """A decorated function returned; what the caller gets."""
        return value

    def _yielded(self, item: _Item, value: Any) -> None:
        """A decorated generator yielded."""

    def _admit(self, item: _Item) -> None:
        """Ask whether the block may begin; what this raises reaches the caller, and the block is not entered."""

    async def _admit_async(self, item: _Item) -> None:
        """`_admit` in a coroutine."""
        self._admit(item)

    # As a context manager -----------------------------------------------------------------------------------

    def __enter__(self) -> _Item:
        item = self._open()
        self._admit(item)
        return self._begin(item)

    def _begin(self, item: _Item) -> _Item:
        self._entered.append(_Entered(item, self._enter(item)))
        return item

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        left = self._innermost()
        self._entered.remove(left)
        self._leave(left.item, left.previous)
        self._close(left.item, error)

    def _innermost(self) -> _Entered[_Item]:
        # One block object may be entered by several threads or tasks at once: leave the one that is current here.
        # The others come and go meanwhile, so this looks at a copy, and nothing is found by its place in the list.
        entered = self._entered.copy()
        return next((one for one in reversed(entered) if self._is_current(one.item)), entered[-1])

    async def __aenter__(self) -> _Item:
        item = self._open()
        await self._admit_async(item)
        return self._begin(item)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    # As a decorator -----------------------------------------------------------------------------------------

    def __call__(self, function: _F) -> _F:
        if isinstance(function, staticmethod | classmethod):
            return type(function)(self(function.__func__))
        if inspect.isasyncgenfunction(function):
            wrapper = self._async_generator(function)
        elif inspect.iscoroutinefunction(function):
            wrapper = self._coroutine(function)
        elif inspect.isgeneratorfunction(function):
            wrapper = self._generator(function)
        else:
            wrapper = self._plain(function)
        return functools.wraps(function)(wrapper)  # type: ignore[return-value]

    def _plain(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def plain(*args: Any, **kwargs: Any) -> Any:
            item = self._open()
            self._admit(item)
            previous = self._enter(item)
            self._called(item, args, kwargs)
            try:
                value = function(*args, **kwargs)
            except BaseException as error:
                self._leave(item, previous)
                self._close(item, error)
                raise
            self._leave(item, previous)
            value = self._returned(item, value)
            self._close(item, None)
            return value

        return plain

    def _coroutine(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            item = self._open()
            await self._admit_async(item)
            previous = self._enter(item)
            self._called(item, args, kwargs)
            try:
                value = await function(*args, **kwargs)
            except BaseException as error:
                self._leave(item, previous)
                self._close(item, error)
                raise
            self._leave(item, previous)
            value = self._returned(item, value)
            self._close(item, None)
            return value

        return coroutine

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            item = self._open()
            self._admit(item)
            self._called(item, args, kwargs)
            inner: Generator[Any, Any, Any] | None = None
            sent: Any = None
            thrown: BaseException | None = None
            try:
                while True:
                    previous = self._enter(item)
                    try:
                        if inner is None:
                            inner = function(*args, **kwargs)
                        value = inner.throw(thrown) if thrown is not None else inner.send(sent)
                    except StopIteration as stop:
                        result = stop.value
                        break
                    finally:
                        self._leave(item, previous)
                    self._yielded(item, value)
                    sent, thrown = None, None
                    try:
                        sent = yield value
                    except GeneratorExit:
                        self._within(item, inner.close)
                        raise
                    except BaseException as error:  # noqa: BLE001 - thrown in by the caller for the inner generator
                        thrown = error
            except BaseException as error:
                self._close(item, error)
                raise
            self._close(item, None)
            return result

        return generator

    def _within(self, item: _Item, step: Callable[[], Any]) -> Any:
        previous = self._enter(item)
        try:
            return step()
        finally:
            self._leave(item, previous)

    def _async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            item = self._open()
            await self._admit_async(item)
            self._called(item, args, kwargs)
            inner: AsyncGenerator[Any, Any] | None = None
            sent: Any = None
            thrown: BaseException | None = None
            try:
                while True:
                    previous = self._enter(item)
                    try:
                        if inner is None:
                            inner = function(*args, **kwargs)
                        value = await (inner.athrow(thrown) if thrown is not None else inner.asend(sent))
                    except StopAsyncIteration:
                        break
                    finally:
                        self._leave(item, previous)
                    self._yielded(item, value)
                    sent, thrown = None, None
                    try:
                        sent = yield value
                    except GeneratorExit:
                        previous = self._enter(item)
                        try:
                            await inner.aclose()
                        finally:
                            self._leave(item, previous)
                        raise
                    except BaseException as error:  # noqa: BLE001 - thrown in by the caller for the inner generator
                        thrown = error
            except BaseException as error:
                self._close(item, error)
                raise
            self._close(item, None)

        return async_generator
