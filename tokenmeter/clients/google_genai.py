"""Meter google-genai, on AI Studio and on Vertex.

`BaseApiClient.request` and its three siblings are what every call of the SDK passes once; below them it tries again,
through httpx, httpx2, aiohttp where that is installed, or requests (mutual TLS), so the bodies are read at the attempt
level. The streamed one is a generator: it sends when it is first read.

Functions given as tools make one `generate_content` several calls, of which the SDK returns the last one's usage.
They are billed one by one and recorded one by one, inside a scope of their own.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.clients.support import hooks
from tokenmeter.clients.support.generators import async_watched_result, grouped_generator
from tokenmeter.clients.support.group import async_grouped, grouped

if TYPE_CHECKING:
    from tokenmeter.calls.block import Block

__all__ = ["SCOPE_NAME", "install", "mark"]

SCOPE_NAME: Final = "automatic function calling"
_PARTS: Final = ("_api_client", "_api_client._httpx_client", "_api_client._async_httpx_client")


def install() -> None:
    """Put the hooks in place, now or when the SDK is imported."""
    hooks.on_import("google.genai._api_client", _hook_requests)
    hooks.on_import("google.genai.models", _hook_models)


def mark(client: Any, made: hooks.Mark) -> None:
    """Mark what all parts of a client send through."""
    inner = made.for_sdk()
    for path in _PARTS:
        found = functools.reduce(lambda thing, name: getattr(thing, name, None), path.split("."), client)
        if found is not None and hasattr(found, "__dict__"):
            hooks.mark(found, inner)


def _itself(client: Any) -> Any:
    return client


def _hook_requests(module: Any) -> None:
    owner = getattr(module, "BaseApiClient", None)
    for name, make in (
        ("request", grouped),
        ("request_streamed", grouped_generator),
        ("async_request", async_grouped),
        ("async_request_streamed", functools.partial(async_grouped, over=async_watched_result)),
    ):
        if owner is None or not hooks.patch(owner, name, functools.partial(make, marked=_itself)):
            hooks.unknown_version("google-genai", f"BaseApiClient.{name}")


def _hook_models(module: Any) -> None:
    for owner, name, make in (
        ("Models", "generate_content", _scoped),
        ("Models", "generate_content_stream", _scoped),
        ("AsyncModels", "generate_content", _scoped_async),
        ("AsyncModels", "generate_content_stream", _scoped_async_stream),
    ):
        found = getattr(module, owner, None)
        if found is None or not hooks.patch(found, name, make):
            hooks.unknown_version("google-genai", f"{owner}.{name}")


def _scoped(method: Callable[..., Any]) -> Callable[..., Any]:
    """The same method, with a scope around the calls it may make; a function or a generator."""

    def metered(self: Any, *args: Any, **kwargs: Any) -> Any:
        block = _scope_for(self, kwargs)
        return method(self, *args, **kwargs) if block is None else block(method)(self, *args, **kwargs)

    return metered


def _scoped_async(method: Callable[..., Any]) -> Callable[..., Any]:
    async def metered(self: Any, *args: Any, **kwargs: Any) -> Any:
        block = _scope_for(self, kwargs)
        return await (method if block is None else block(method))(self, *args, **kwargs)

    return metered


def _scoped_async_stream(method: Callable[..., Any]) -> Callable[..., Any]:
    async def metered(self: Any, *args: Any, **kwargs: Any) -> Any:
        stream = await method(self, *args, **kwargs)
        block = _scope_for(self, kwargs)
        return stream if block is None else block(_items)(stream)

    return metered


async def _items(stream: AsyncGenerator[Any, Any]) -> AsyncGenerator[Any, Any]:
    try:
        async for item in stream:
            yield item
    finally:
        await stream.aclose()


def _scope_for(models: Any, kwargs: dict[str, Any]) -> Block[Any] | None:
    """A scope where the SDK may call functions by itself; None where there will be one call, or nobody meters."""
    with guard("looking for functions among the tools"):
        config = kwargs.get("config")
        tools = config.get("tools") if isinstance(config, dict) else getattr(config, "tools", None)
        if tools and any(callable(tool) or hasattr(tool, "call_tool") for tool in tools):
            meter = hooks.meter_for(getattr(models, "_api_client", None))
            return meter.scope(SCOPE_NAME) if meter is not None else None
    return None
