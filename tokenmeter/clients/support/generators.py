"""Meters SDKs whose streams are generators, which send their request when the first item is read.

The group of requests (`group.py`) is then current for that first step alone. What comes back is a generator as it
was; how its body ends is seen where the body is read.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from typing import Any

from tokenmeter.clients.support.current_call import CurrentCallBlock
from tokenmeter.clients.support.group import Group, close_group, open_group
from tokenmeter.clients.support.stream_errors import AsyncWatched, settle_failed, step_over, steps

__all__ = ["async_lazily", "async_watched_result", "close_or_follow", "grouped_generator", "lazily"]


def close_or_follow(client: Any, group: Group, result: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """For a method whose result may be a generator, which sends when it is first read: then the group stays open."""
    if inspect.isgenerator(result):
        return lazily(group, result)
    if inspect.isasyncgen(result):
        return async_lazily(group, result)
    return close_group(client, group, result, args, kwargs)


def lazily(group: Group, inner: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """The same generator, whose first step belongs to the group."""
    empty: StopIteration | None = None
    try:
        with CurrentCallBlock(group):
            try:
                item = next(inner)
            except StopIteration as stop:
                empty = stop
        close_group(None, group, None, (), {})
    finally:
        step_over(group.call)
    if empty is not None:
        return empty.value
    try:
        try:
            yield item
        except GeneratorExit:
            inner.close()
            raise
        except BaseException as error:  # noqa: BLE001 - thrown in by the caller for the inner generator
            yield inner.throw(error)
        return (yield from inner)
    except Exception as error:
        settle_failed(group.call, error)
        raise
    finally:
        step_over(group.call)


steps(lazily.__code__, lambda frame: frame.f_locals["group"].call)


async def async_lazily(group: Group, inner: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    """The same for an async generator."""
    empty = False
    with CurrentCallBlock(group):
        try:
            item = await anext(inner)
        except StopAsyncIteration:
            empty = True
    close_group(None, group, None, (), {})
    if empty:
        return
    try:
        yield item
        async for item in inner:
            yield item
    except Exception as error:
        settle_failed(group.call, error)
        raise
    finally:
        await inner.aclose()


def grouped_generator(method: Callable[..., Any], marked: Callable[[Any], Any]) -> Callable[..., Any]:
    """The same generator method, whose requests are one call. `marked(client)` is the object that `wrap` has marked."""

    def metered(self: Any, *args: Any, **kwargs: Any) -> Any:
        inner = method(self, *args, **kwargs)
        group = open_group(self, marked)
        return inner if group is None else lazily(group, inner)

    return metered


def async_watched_result(
    client: Any, group: Group, result: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """For a coroutine method that gives an async generator whose request is already answered."""
    close_group(client, group, result, args, kwargs)
    return result if group.call is None else AsyncWatched(result, group.call)
