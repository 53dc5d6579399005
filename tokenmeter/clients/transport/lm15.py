"""The attempt level of dspy, whose transport (lm15, kept inside dspy) speaks HTTP over sockets of its own.

`StdlibTransport.stream` and its async twin open every request and return a response whose body is an iterator: a tee
stands in the place of that iterator, and the function that gives the connection back tells the tee that the body is
closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tokenmeter._support.guard import guard
from tokenmeter.calls.budget_gate import admit, admit_async
from tokenmeter.clients.support import hooks
from tokenmeter.clients.table import LM15_HOMES
from tokenmeter.clients.transport.attempts import RequestInFlight, RequestView, attempt_of, is_relevant, reading_of
from tokenmeter.clients.transport.attempts import request_id as id_of
from tokenmeter.clients.transport.tee import make_tees

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall

__all__ = ["install", "mark"]

_Tee, _AsyncTee = make_tees(object, object)


def install() -> None:
    """Put the hooks in place, now or when the transport is imported."""
    for home in LM15_HOMES:
        hooks.on_import(f"{home}._sync", _hook_sync)
        hooks.on_import(f"{home}._async", _hook_async)


def mark(client: Any, made: hooks.Mark) -> None:
    """Meter this transport's requests to known endpoints."""
    hooks.mark(client, made)


def _hook_sync(module: Any) -> None:
    if not hooks.patch(module.StdlibTransport, "stream", _stream):
        hooks.unknown_version("dspy", "StdlibTransport.stream", by_requests=False)


def _hook_async(module: Any) -> None:
    if not hooks.patch(module.StdlibAsyncTransport, "_do_stream", _async_stream):
        hooks.unknown_version("dspy", "StdlibAsyncTransport._do_stream", by_requests=False)


def _attempt_of(transport: Any, request: Any) -> tuple[OpenCall | None, bool]:
    if not is_relevant(transport, request.method):
        return None, False
    method, headers = request.method.upper(), dict(request.headers or ())
    return attempt_of(transport, RequestView(method, request.url, request.body, headers))


def _stream(stream: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        call, owns = _attempt_of(self, request)
        if call is None:
            return stream(self, request, *args, **kwargs)
        admit(call)
        with RequestInFlight(call, owns) as in_flight:
            response = stream(self, request, *args, **kwargs)
        with guard("noting an attempt"):
            if in_flight.answered(call, response.status, id_of(response.headers)):
                _listen(call, response)
        return response

    return metered


def _listen(call: OpenCall, response: Any) -> None:
    tee = _Tee()
    tee.listen(response._chunks, call, reading_of(call, response.header("content-type") or ""))
    release = response._release

    def released(body_consumed: bool) -> None:
        try:
            release(body_consumed)
        finally:
            with guard("settling a stream"):
                tee._closed()

    response._chunks, response._release = tee, released


def _async_stream(stream: Callable[..., Any]) -> Callable[..., Any]:
    async def metered(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        call, owns = _attempt_of(self, request)
        if call is None:
            return await stream(self, request, *args, **kwargs)
        await admit_async(call)
        with RequestInFlight(call, owns) as in_flight:
            response = await stream(self, request, *args, **kwargs)
        with guard("noting an attempt"):
            if in_flight.answered(call, response.status, id_of(response.headers)):
                _listen_async(call, response)
        return response

    return metered


def _listen_async(call: OpenCall, response: Any) -> None:
    tee = _AsyncTee()
    tee.listen(response._chunks, call, reading_of(call, response.header("content-type") or ""))
    release = response._release

    async def released(body_consumed: bool) -> None:
        try:
            await release(body_consumed)
        finally:
            with guard("settling a stream"):
                tee._closed()

    response._chunks, response._release = tee, released
