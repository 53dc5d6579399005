"""Meter Tencent Cloud's own SDK: Hunyuan and the knowledge engine, by their native API.

All services share one client class, whose `_call_and_deserialize`, `call`, `call_json` and `call_sse` name the action;
the async client has `call_and_deserialize`. The address says nothing, since every action is posted to `/`: which of
them call a model stands in the provider's paths. Refusals come with status 200 and are raised by the SDK, so the call
is over when its method is; the body is read at the attempt level (requests, httpx).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.calls.budget_gate import admit, admit_async
from tokenmeter.calls.opencall import OpenCall
from tokenmeter.calls.route import Route
from tokenmeter.clients.support import hooks
from tokenmeter.clients.support.current_call import CurrentCallBlock
from tokenmeter.clients.transport.attempts import RequestInFlight
from tokenmeter.record import End
from tokenmeter.wire.request_body import model_of

if TYPE_CHECKING:
    from tokenmeter.calls.protocols import Meter

__all__ = ["install", "mark"]

_SERVICES: Final = ("hunyuan", "lkeap")


def install() -> None:
    """Put the hooks in place, now or when the SDK is imported."""
    hooks.on_import("tencentcloud.common.abstract_client", _hook)
    hooks.on_import("tencentcloud.common.abstract_client_async", _hook_async)


def mark(client: Any, made: hooks.Mark) -> None:
    """Meter this client's calls of models."""
    hooks.mark(client, made)
    if hooks.is_unknown("tencentcloud"):
        connection = getattr(getattr(client, "request", None), "conn", None)
        for http in (getattr(connection, "_session", None), getattr(client, "http_client", None)):
            if http is not None:
                hooks.mark(http, made.for_sdk())


def _hook(module: Any) -> None:
    owner = getattr(module, "AbstractClient", None)
    for name in ("_call_and_deserialize", "call", "call_json", "call_sse"):
        if owner is None or not hooks.patch(owner, name, _metered):
            hooks.unknown_version("tencentcloud", f"AbstractClient.{name}")


def _hook_async(module: Any) -> None:
    owner = getattr(module, "AbstractClient", None)
    if owner is None or not hooks.patch(owner, "call_and_deserialize", _async_metered):
        hooks.unknown_version("tencentcloud", "AbstractClient.call_and_deserialize (async)")


def _metered(method: Callable[..., Any]) -> Callable[..., Any]:
    def metered(self: Any, action: Any, params: Any, *args: Any, **kwargs: Any) -> Any:
        held = _held(self, action, params)
        if held is None:
            return method(self, action, params, *args, **kwargs)
        if isinstance(held, _Action):
            admit(held.call)
        with held:
            return method(self, action, params, *args, **kwargs)

    return metered


def _async_metered(method: Callable[..., Any]) -> Callable[..., Any]:
    async def metered(self: Any, action: Any, params: Any, *args: Any, **kwargs: Any) -> Any:
        held = _held(self, action, params)
        if held is None:
            return await method(self, action, params, *args, **kwargs)
        if isinstance(held, _Action):
            await admit_async(held.call)
        with held:
            return await method(self, action, params, *args, **kwargs)

    return metered


class _Action(CurrentCallBlock):
    """One action that calls a model; a stream that it returns settles the call by itself."""

    __slots__ = ("call",)

    def __init__(self, call: OpenCall) -> None:
        super().__init__(call)
        self.call = call

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, traceback)
        if error is None and not self._call.streaming:
            self._call.close(End.COMPLETE)


def _held(client: Any, action: Any, params: Any) -> _Action | RequestInFlight | None:
    """A call, or what keeps an action that calls no model from being taken for a chat, as its address says."""
    if getattr(client, "_service", None) not in _SERVICES:
        return None
    with guard("opening a call"):
        meter = hooks.meter_for(client)
        if meter is None:
            return None
        body = params if isinstance(params, dict) else getattr(params, "_serialize", dict)()
        route = _route(meter, client, action)
        if route is None:
            return RequestInFlight()
        call = meter.open_call(route, model_of(body), stream=bool(body.get("Stream")), body=body)
        call.request = body
        return _Action(call)
    return None


def _route(meter: Meter, client: Any, action: str) -> Route | None:
    host, _, port = str(client._get_endpoint()).partition(":")
    # Whatever address is given, the service says who bills: an address of one's own leads there too.
    own = f"{client._service}.tencentcloudapi.com"
    found = meter.route(own, None, "", f"/{action}", hooks.mark_of(client), any_host=False)
    return None if found is None else _sent_to(found, host, int(port) if port else None)


@functools.lru_cache(maxsize=256)
def _sent_to(route: Route, host: str, port: int | None) -> Route:
    """The same route by the address that is used, and for any path: the one it was found by is not requested."""
    return Route(
        provider=route.provider,
        otel_provider=route.otel_provider,
        api=route.api,
        operation=route.operation,
        host=host,
        port=port,
        region=route.region,
    )
