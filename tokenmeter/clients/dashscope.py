"""Meter DashScope's own SDK: the classes with `call`, and the `dashscope.Client` of 2.0.

`HttpRequest.call` and `aio_call` are what Generation, MultiModalConversation, TextEmbedding, TextReRank and the tasks
have in common; `SyncTransport` and `AsyncTransport` are what the client has. Both try again above the HTTP library
(requests, aiohttp, httpx), where the bodies are read. A refusal is a return value here, not an exception.

Images and videos are tasks, whose calls wait for their answer (`calls/later_answers.py`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tokenmeter._support.guard import guard
from tokenmeter.clients.support import hooks
from tokenmeter.clients.support.generators import close_or_follow
from tokenmeter.clients.support.group import async_grouped, grouped

__all__ = ["install", "mark"]


def install() -> None:
    """Put the hooks in place, now or when the SDK is imported."""
    hooks.on_import("dashscope.api_entities.http_request", _hook_classes)
    hooks.on_import("dashscope.api_entities.aiohttp_request", _hook_old_async)
    hooks.on_import("dashscope.v2.transport.http", _hook_client)
    hooks.on_import("dashscope.v2.client", _hook_copies)


def mark(client: Any, made: hooks.Mark) -> None:
    """Mark a `dashscope.Client` and its HTTP client, which copies share."""
    hooks.mark(client, made)
    http = _http_of(getattr(client, "_transport", None))
    if http is not None:
        hooks.mark(http, made.for_sdk())


def _http_of(transport: Any) -> Any:
    return getattr(transport, "_client", None)


def _itself(request: Any) -> Any:
    return request


# Where the hooks are --------------------------------------------------------------------------------------------


def _hook_classes(module: Any) -> None:
    owner = getattr(module, "HttpRequest", None)
    if owner is None or not hooks.patch(owner, "call", lambda call: grouped(call, _itself, close_or_follow)):
        hooks.unknown_version("dashscope", "HttpRequest.call")
    if owner is not None:
        hooks.patch(owner, "aio_call", _aio_call)


def _hook_old_async(module: Any) -> None:
    owner = getattr(module, "AioHttpRequest", None)  # 1.14; later versions have HttpRequest.aio_call
    if owner is not None:
        hooks.patch(owner, "aio_call", _aio_call)


def _aio_call(method: Callable[..., Any]) -> Callable[..., Any]:
    return async_grouped(method, _itself, close_or_follow)


def _hook_client(module: Any) -> None:
    for owner, make in (("SyncTransport", grouped), ("AsyncTransport", async_grouped)):
        found = getattr(module, owner, None)
        held = functools.partial(make, marked=_http_of, over=close_or_follow)
        for name in ("request", "open_stream"):
            if found is None or not hooks.patch(found, name, held):
                hooks.unknown_version("dashscope", f"{owner}.{name}")


def _hook_copies(module: Any) -> None:
    for owner in ("Client", "AsyncClient"):
        found = getattr(module, owner, None)
        if found is not None:
            hooks.patch(found, "with_options", _marking)


def _marking(with_options: Callable[..., Any]) -> Callable[..., Any]:
    def marked(self: Any, *args: Any, **kwargs: Any) -> Any:
        made = with_options(self, *args, **kwargs)
        with guard("marking a copied client"):
            found = hooks.mark_of(self)
            if found is not None:
                mark(made, found)
        return made

    return marked
