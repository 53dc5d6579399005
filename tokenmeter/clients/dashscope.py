"""Meter DashScope's own SDK: the classes with `call`, and the `dashscope.Client` of 2.0.

`HttpRequest.call` and `aio_call` are what Generation, MultiModalConversation, TextEmbedding, TextReRank and the tasks
have in common; `SyncTransport` and `AsyncTransport` are what the client has. Both try again above the HTTP library
(requests, aiohttp, httpx), where the bodies are read. A refusal is a return value here, not an exception.

Images and videos are tasks (`support/tasks.py`), seen finished in `wait`, `fetch` or the client's polling.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.clients.support import hooks, tasks
from tokenmeter.clients.support.generators import async_lazily, lazily
from tokenmeter.clients.support.group import Group, Over, async_grouped, grouped
from tokenmeter.clients.table import TaskForm
from tokenmeter.record import End

__all__ = ["install", "mark"]

_TASK: Final = TaskForm(
    "output.task_id",
    "output.task_status",
    done=("SUCCEEDED",),
    failed=("FAILED", "CANCELED", "UNKNOWN"),
    error="output.code",
    body=("output", "usage", "request_id"),
)


def install() -> None:
    """Put the hooks in place, now or when the SDK is imported."""
    hooks.on_import("dashscope.api_entities.http_request", _hook_classes)
    hooks.on_import("dashscope.api_entities.aiohttp_request", _hook_old_async)
    hooks.on_import("dashscope.client.base_api", _hook_tasks)
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
    if owner is None or not hooks.patch(owner, "call", lambda call: grouped(call, _itself, _over(_class_answer))):
        hooks.unknown_version("dashscope", "HttpRequest.call")
    if owner is not None:
        hooks.patch(owner, "aio_call", _aio_call)


def _hook_old_async(module: Any) -> None:
    owner = getattr(module, "AioHttpRequest", None)  # 1.14; later versions have HttpRequest.aio_call
    if owner is not None:
        hooks.patch(owner, "aio_call", _aio_call)


def _aio_call(method: Callable[..., Any]) -> Callable[..., Any]:
    return async_grouped(method, _itself, _over(_class_answer))


def _hook_tasks(module: Any) -> None:
    for owner, make in (("AsyncTaskGetMixin", _fetched), ("AsyncAioTaskGetMixin", _async_fetched)):
        found = getattr(module, owner, None)
        if found is not None and not hooks.patch(found, "_get", make):
            hooks.unknown_version("dashscope", f"{owner}._get")


def _hook_client(module: Any) -> None:
    for owner, make in (("SyncTransport", grouped), ("AsyncTransport", async_grouped)):
        found = getattr(module, owner, None)
        held = functools.partial(make, marked=_http_of, over=_over(_client_answer))
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


# One call -------------------------------------------------------------------------------------------------------

Answer = Callable[[Any, Group, Any, tuple[Any, ...], Mapping[str, Any]], None]


def _over(answer: Answer) -> Over:
    """What is done with a method's result: a stream is a generator, which sends when it is first read."""

    def over(self: Any, group: Group, result: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        if inspect.isgenerator(result):
            return lazily(group, result)
        if inspect.isasyncgen(result):
            return async_lazily(group, result)
        with guard("closing a group of requests"):
            answer(self, group, result, args, kwargs)
        return result

    return over


def _class_answer(request: Any, group: Group, result: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """A class's answer: an object that says as its fields what the JSON said."""
    if getattr(request, "async_request", False) and tasks.hold(_TASK, group.call, result):
        return
    group.close(End.COMPLETE)


def _client_answer(transport: Any, group: Group, result: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    """The client's answer: the HTTP library's response."""
    method = kwargs.get("method", args[0] if args else "")
    path = kwargs.get("path", args[1] if len(args) > 1 else "")
    if method == "GET" and "/tasks/" in path:
        tasks.finish(_TASK, _json(result))
    elif _asked_async(kwargs.get("headers")) and tasks.hold(_TASK, group.call, _json(result)):
        return
    group.close(End.COMPLETE)


def _asked_async(headers: object) -> bool:
    return isinstance(headers, Mapping) and any(str(name).lower() == "x-dashscope-async" for name in headers)


def _json(response: Any) -> Any:
    return response.json() if response.is_stream_consumed and response.status_code < 400 else None


# Tasks ----------------------------------------------------------------------------------------------------------


def _fetched(get: Callable[..., Any]) -> Callable[..., Any]:
    def metered(cls: Any, *args: Any, **kwargs: Any) -> Any:
        answer = get(cls, *args, **kwargs)
        with guard("reading a task"):
            tasks.finish(_TASK, answer)
        return answer

    return metered


def _async_fetched(get: Callable[..., Any]) -> Callable[..., Any]:
    async def metered(cls: Any, *args: Any, **kwargs: Any) -> Any:
        answer = await get(cls, *args, **kwargs)
        with guard("reading a task"):
            tasks.finish(_TASK, answer)
        return answer

    return metered
