"""Meters SDKs by their HTTP requests; a hook on one method groups the requests of a call.

Each of these sends JSON through httpx or httpx2 to endpoints that the catalog knows, and none needs to be asked for
stream usage, so the attempt level (`transport/`) sees all there is to see. What it cannot see is which requests are one
call: these SDKs try again above the HTTP library. A row of `SDKS` names the method that runs once per call (cohere's
calls itself for every new try) and where an SDK's client keeps its HTTP clients.

litellm has no client object and reaches providers through the openai SDK or httpx: it needs no row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.clients.support import hooks
from tokenmeter.clients.support.generators import close_or_follow
from tokenmeter.clients.support.group import async_grouped, grouped
from tokenmeter.clients.support.stream_errors import stepping, watching
from tokenmeter.clients.table import SDKS, WireOnly
from tokenmeter.clients.transport.tee import call_of_body

if TYPE_CHECKING:
    from tokenmeter.calls.opencall import OpenCall

__all__ = ["install", "mark"]


_SDKS: Final = {root: sdk.shape for root, sdk in SDKS.items() if isinstance(sdk.shape, WireOnly)}


def install() -> None:
    """Put the hooks in place, now or when an SDK is imported."""
    for package, sdk in _SDKS.items():
        for method in sdk.methods:
            hooks.on_import(method.module, _hook(package, sdk))
        for method in sdk.streams:
            hooks.on_import(method.module, _hook_streams(sdk))


def mark(client: object, made: hooks.Mark) -> None:
    """Mark a client where its SDK looks for the mark, and its HTTP clients."""
    sdk = next(_SDKS[root] for root in _roots(client) if root in _SDKS)
    inner = made.for_sdk()
    for path in sdk.marked:
        with guard("marking a client"):
            found = _at(client, path)
            if found is not None and hasattr(found, "__dict__"):
                hooks.mark(found, inner)


def _hook(package: str, sdk: WireOnly) -> Callable[[Any], None]:
    def hook(module: Any) -> None:
        for method in sdk.methods:
            if method.module != module.__name__:
                continue
            owner = getattr(module, method.owner, None)
            make = functools.partial(
                async_grouped if method.is_async else grouped, marked=_carrier(sdk), over=close_or_follow
            )
            if owner is None or not hooks.patch(owner, method.name, make):
                hooks.unknown_version(package, f"{method.owner}.{method.name}")

    return hook


def _hook_streams(sdk: WireOnly) -> Callable[[Any], None]:
    def hook(module: Any) -> None:
        for method in sdk.streams:
            owner = getattr(module, method.owner, None)
            if method.module == module.__name__ and owner is not None:
                watch = stepping if method.name in ("__next__", "__anext__") else watching
                hooks.patch(owner, method.name, watch(_call_of_stream))

    return hook


def _call_of_stream(stream: Any) -> OpenCall | None:
    return call_of_body(getattr(stream.response, "stream", None))


def _carrier(sdk: WireOnly) -> Callable[[Any], Any]:
    path = sdk.carrier
    return lambda client: _at(client, path)


def _at(thing: object, path: str) -> Any:
    for name in path.split(".") if path else ():
        thing = getattr(thing, name, None)
    return thing


def _roots(client: object) -> list[str]:
    return [owner.__module__.partition(".")[0] for owner in type(client).__mro__]
