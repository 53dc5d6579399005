"""Remembers the base URLs of SDK clients, and the routes of what was posted below each.

Finding the route of a URL means matching a provider and its paths, which is the same for all calls of a client.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter.clients.table import SDKS, Stainless

if TYPE_CHECKING:
    from tokenmeter.calls.protocols import Meter
    from tokenmeter.calls.route import Route
    from tokenmeter.clients.support.hooks import Mark

__all__ = ["Address", "address_of"]

_URL_MOST: Final = 1024
_SDKS: Final = {root for root, sdk in SDKS.items() if isinstance(sdk.shape, Stainless)}


class Address:
    """The base URL of clients, and the routes of what was posted below it. The URL object is kept, so its id stays."""

    __slots__ = ("_base", "_routes", "host", "port", "url")

    def __init__(self, url: Any) -> None:
        self.url = url
        self.host, self.port, self._base = url.host, url.port, url.path.rstrip("/")
        self._routes: BoundedDict[str, tuple[weakref.ref[Meter], str | None, str | None, Route | None]]
        self._routes = BoundedDict(256)

    def route(self, meter: Meter, mark: Mark | None, url: str, every_query: object) -> Route | None:
        """The route of what a client posts to `url`; `every_query` is what it puts into the query of each request."""
        provider, region = (mark.provider, mark.region) if mark is not None else (None, None)
        known = self._routes.get(url) if not every_query else None
        if known is not None and known[0]() is meter and known[1] == provider and known[2] == region:
            return known[3]
        path, _, query = url.partition("?")
        version = _version(every_query, query)
        route = meter.route(self.host, self.port, self._base, path, mark, query=version, any_host=True)
        if not every_query and len(url) <= _URL_MOST:
            self._routes.put(url, (weakref.ref(meter), provider, region, route))  # a meter may be forgotten
        return route


_addresses: Final[BoundedDict[int, Address]] = BoundedDict(256)
_plain: Final[BoundedDict[type, bool]] = BoundedDict(256)
"""Whether the base URL of a class of clients is its attribute: the property of newer versions imports at each read."""


def address_of(client: Any, name: str) -> Address:
    """The address of a client's base URL, remembered by the URL object."""
    plain = _plain.get(type(client))
    if plain is None:
        plain = _plain.put(type(client), _is_plain(client, name))
    url = client._base_url if plain else getattr(client, name)
    found = _addresses.get(id(url))
    if found is None or found.url is not url:
        found = _addresses.put(id(url), Address(url))
    return found


def _is_plain(client: Any, name: str) -> bool:
    owner = next((one for one in type(client).__mro__ if name in vars(one)), type(client))
    ours = owner.__module__.partition(".")[0] in _SDKS  # no subclass of the program's own
    return ours and getattr(client, name) is getattr(client, "_base_url", None)


def _version(every_query: object, query: str) -> str:
    """The API version that a client puts into a query, since what may be asked for depends on it."""
    version = every_query.get("api-version") if isinstance(every_query, Mapping) else None
    return f"?api-version={version}" if isinstance(version, str) else f"?{query}" if "api-version=" in query else ""
