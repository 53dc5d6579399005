"""SDKs whose streams are generators: the request is sent when the first item is asked for, far from the SDK's method.

The group of requests (`_group.py`) is then current for that first step alone. What comes back is a generator as it
was; how its body ends is seen where the body is read.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from tokenmeter.clients.support.current_call import Held
from tokenmeter.clients.support.group import Group, close_group, open_group

__all__ = ["async_lazily", "grouped_generator", "lazily"]


def lazily(group: Group, inner: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """The same generator, whose first step belongs to the group."""
    empty: StopIteration | None = None
    with Held(group):
        try:
            item = next(inner)
        except StopIteration as stop:
            empty = stop
    close_group(None, group, None, (), {})
    if empty is not None:
        return empty.value
    try:
        yield item
    except GeneratorExit:
        inner.close()
        raise
    except BaseException as error:  # noqa: BLE001 - thrown in by the caller for the inner generator
        yield inner.throw(error)
    return (yield from inner)


async def async_lazily(group: Group, inner: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    """The same for an async generator."""
    empty = False
    with Held(group):
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
    finally:
        await inner.aclose()


def grouped_generator(method: Callable[..., Any], marked: Callable[[Any], Any]) -> Callable[..., Any]:
    """The same generator method, whose requests are one call. `marked(client)` is the object that `wrap` has marked."""

    def metered(self: Any, *args: Any, **kwargs: Any) -> Any:
        inner = method(self, *args, **kwargs)
        group = open_group(self, marked)
        return inner if group is None else lazily(group, inner)

    return metered
