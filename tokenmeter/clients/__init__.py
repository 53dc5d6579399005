"""Hooks for the vendors' SDKs and for HTTP libraries: they open a call, follow its requests and settle it.

`Tokenmeter.instrument` calls `install_all`, `wrap` calls `adapter_for`. Read `table.py` first: it
has a row for each SDK. Then the adapter of a row (`stainless.py`, `by_wire.py`, one module for each other shape),
`transport/`, which sees every request and its body, and `support/`, which the adapters share. No SDK is imported
before the program does, and no adapter before its SDK.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from tokenmeter.clients.support import hooks
from tokenmeter.clients.table import SDKS, SupportedSdk
from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    from tokenmeter.calls.marks import Mark

__all__ = ["ADAPTERS", "SDKS", "Adapter", "SupportedSdk", "adapter_for", "install_all", "known_roots"]

ADAPTERS: Final = tuple(dict.fromkeys(sdk.adapter for sdk in SDKS.values()))
"""The modules of this package that meter SDKs; HTTP libraries come first."""

_HOOKED: Final = {
    name: [module for root, sdk in SDKS.items() if sdk.adapter == name for module in sdk.hooked_modules(root)]
    for name in ADAPTERS
}


class Adapter(Protocol):
    """What a module of this package offers."""

    def install(self) -> None:
        """Put the hooks in place, now or when an SDK is imported. Called often; idempotent."""

    def mark(self, client: object, made: Mark) -> None:
        """Have a client's calls metered as the mark says, also those of its copies."""


def install_all() -> None:
    """Install each adapter, now if one of its SDKs is loaded, else when one will be."""
    _install(ADAPTERS)


def adapter_for(client: object) -> Adapter:
    """The adapter of a client, installed, and with it those of the HTTP libraries that the client may send by.

    Raises ConfigurationError for an object that is no client we know.
    """
    sdk = _sdk_of(client)
    if sdk is None:
        raise ConfigurationError(
            f"wrap does not know {type(client).__module__}.{type(client).__qualname__}; it knows clients of "
            f"{', '.join(known_roots())}. For anything else: tokenmeter.call(provider=..., model=...)"
        )
    _install(sdk.sends_by or (name for name in ADAPTERS if name.startswith("transport.")))
    adapter = _load(sdk.adapter)
    adapter.install()
    return adapter


def _sdk_of(client: object) -> SupportedSdk | None:
    homes = [owner.__module__ + "." for owner in type(client).__mro__]
    for root, sdk in SDKS.items():
        # A class of the user's own that extends an SDK's counts as the SDK's.
        if any(home.startswith(f"{root}.") for home in homes):
            return sdk
    return None


def _install(adapters: Iterable[str]) -> None:
    for name in adapters:
        if f"{__name__}.{name}" in sys.modules:
            _load(name).install()  # again: it finds classes that were made or changed since
            continue
        for module in _HOOKED[name]:
            hooks.on_import(module, _installer(name))


def _installer(name: str) -> Callable[[Any], None]:
    return lambda _: _load(name).install()


def known_roots() -> list[str]:
    """The packages whose clients `wrap` takes."""
    return sorted(SDKS)


def _load(name: str) -> Adapter:
    return cast("Adapter", importlib.import_module(f"{__name__}.{name}"))
