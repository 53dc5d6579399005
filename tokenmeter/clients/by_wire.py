"""Meter SDKs by what they put on the wire: their calls need nothing but to be held together.

Each of these sends JSON through httpx or httpx2 to endpoints that the catalog knows, and none needs to be asked for
stream usage, so the attempt level (`http.py`) sees all there is to see. What it cannot see is which requests are one
call: these SDKs try again above the HTTP library. A row of `SDKS` names the method that runs once per call (cohere's
calls itself for every new try) and where an SDK's client keeps its HTTP clients.

litellm has no client object and reaches providers through the openai SDK or httpx: it needs no row.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.clients.support import hooks
from tokenmeter.clients.support.group import async_grouped, grouped

__all__ = ["SDKS", "install", "mark"]


@dataclass(frozen=True, slots=True)
class Method:
    """One method of an SDK that every call of its kind passes once."""

    module: str
    owner: str
    name: str
    is_async: bool = False


@dataclass(frozen=True, slots=True)
class Sdk:
    """How one SDK is built. Paths are attributes with dots, from the client object; "" is the object itself."""

    methods: tuple[Method, ...] = ()
    carrier: str = ""
    """From the object whose method runs to the one that carries the client's mark."""
    marked: tuple[str, ...] = ("",)
    """From the client to what carries its mark: the carrier, and the HTTP clients, for calls that no method holds."""


def _both(module: str, owner: str, name: str, async_owner: str | None = None, async_name: str | None = None) -> Any:
    return (
        Method(module, owner, name),
        Method(module, async_owner or f"Async{owner}", async_name or name, is_async=True),
    )


SDKS: Final[Mapping[str, Sdk]] = {
    # Every resource is a BaseSDK of its own; what they share is the configuration. The first home is that of 1.x.
    "mistralai": Sdk(
        methods=tuple(
            method
            for home in ("mistralai", "mistralai.client", "mistralai.azure.client", "mistralai.gcp.client")
            for method in _both(f"{home}.basesdk", "BaseSDK", "do_request", "BaseSDK", "do_request_async")
        ),
        carrier="sdk_configuration",
        marked=("sdk_configuration", "sdk_configuration.client", "sdk_configuration.async_client"),
    ),
    "cohere": Sdk(
        methods=_both("cohere.core.http_client", "HttpClient", "request"),
        marked=("_client_wrapper.httpx_client", "_client_wrapper.httpx_client.httpx_client"),
    ),
    "zai": Sdk(methods=(Method("zai.core._http_client", "HttpClient", "request"),), marked=("", "_client")),
    "zhipuai": Sdk(methods=(Method("zhipuai.core._http_client", "HttpClient", "request"),), marked=("", "_client")),
    # No retries. A stream is a generator, which sends when first read, so the HTTP client must know its mark.
    "ollama": Sdk(marked=("_client",)),
    # Sends through a session that all of the process shares: only the method knows whose request it is.
    "huggingface_hub": Sdk(
        methods=(
            Method("huggingface_hub.inference._client", "InferenceClient", "_inner_post"),
            Method(
                "huggingface_hub.inference._generated._async_client",
                "AsyncInferenceClient",
                "_inner_post",
                is_async=True,
            ),
        ),
    ),
    # Sends by requests and aiohttp. A stream is begun inside the method too, to see its first line.
    "qianfan": Sdk(
        methods=_both(
            "qianfan.resources.requestor.openapi_requestor", "QfAPIRequestor", "llm", "QfAPIRequestor", "async_llm"
        ),
        marked=("_client", "_real._client"),
    ),
}


def install() -> None:
    """Put the hooks in place, now or when an SDK is imported."""
    for package, sdk in SDKS.items():
        for method in sdk.methods:
            hooks.on_import(method.module, _hook(package, sdk))


def mark(client: object, made: hooks.Mark) -> None:
    """Mark a client where its SDK looks for the mark, and its HTTP clients."""
    sdk = next(SDKS[root] for root in _roots(client) if root in SDKS)
    inner = made.for_sdk()
    for path in sdk.marked:
        with guard("marking a client"):
            found = _at(client, path)
            if found is not None and hasattr(found, "__dict__"):
                hooks.mark(found, inner)


def _hook(package: str, sdk: Sdk) -> Callable[[Any], None]:
    def hook(module: Any) -> None:
        for method in sdk.methods:
            if method.module != module.__name__:
                continue
            owner = getattr(module, method.owner, None)
            make = functools.partial(async_grouped if method.is_async else grouped, marked=_carrier(sdk))
            if owner is None or not hooks.patch(owner, method.name, make):
                hooks.unknown_version(package, f"{method.owner}.{method.name}")

    return hook


def _carrier(sdk: Sdk) -> Callable[[Any], Any]:
    path = sdk.carrier
    return lambda client: _at(client, path)


def _at(thing: object, path: str) -> Any:
    for name in path.split(".") if path else ():
        thing = getattr(thing, name, None)
    return thing


def _roots(client: object) -> list[str]:
    return [owner.__module__.partition(".")[0] for owner in type(client).__mro__]
