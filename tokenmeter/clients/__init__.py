"""How each SDK is metered: one module per shape of SDK, and this table of them.

A new SDK of a known shape is a row in that shape's table and a root here; a new shape is a module with `install` and
`mark`, and a row here. Nothing of a vendor is imported before the program does so itself.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Protocol, cast

if TYPE_CHECKING:
    from tokenmeter.calls.marks import Mark

__all__ = ["ADAPTERS", "Adapter", "adapter_of", "install_all", "known_roots"]

ADAPTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "transport.httpx": ("httpx", "httpx2"),
    "transport.requests": ("requests",),
    "transport.aiohttp": ("aiohttp",),
    "stainless": ("openai", "anthropic", "groq", "volcenginesdkarkruntime"),
    "by_wire": ("mistralai", "cohere", "zai", "zhipuai", "ollama", "huggingface_hub", "qianfan"),
    "google_genai": ("google.genai",),
    "dashscope": ("dashscope",),
    "boto3": ("botocore",),
    "tencentcloud": ("tencentcloud",),
}
"""Module of this package: the packages whose client classes it meters, dotted where a package is shared."""


class Adapter(Protocol):
    """What a module of this package offers."""

    def install(self) -> None:
        """Put the hooks in place, now or when an SDK is imported. Called often; idempotent."""

    def mark(self, client: object, made: Mark) -> None:
        """Have a client's calls metered as the mark says, also those of its copies."""


def install_all() -> None:
    """Install every adapter."""
    for name in ADAPTERS:
        _load(name).install()


def adapter_of(client: object) -> Adapter | None:
    """The adapter that meters objects like this one; None for none."""
    homes = [owner.__module__ + "." for owner in type(client).__mro__]
    for name, roots in ADAPTERS.items():
        # A class of the user's own that extends an SDK's counts as the SDK's.
        if any(home.startswith(f"{root}.") for home in homes for root in roots):
            return _load(name)
    return None


def known_roots() -> list[str]:
    """The packages whose clients `wrap` takes."""
    return sorted(root for roots in ADAPTERS.values() for root in roots)


def _load(name: str) -> Adapter:
    return cast("Adapter", importlib.import_module(f"{__name__}.{name}"))
