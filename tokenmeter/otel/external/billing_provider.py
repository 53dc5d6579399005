"""Who bills a call that somebody else's span tells of: remembered, since spans to one endpoint say the same.

What the user put on the span wins, then whose address it is, then the name that the span gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from tokenmeter.otel.external.names import PROVIDERS, SPOKEN_BY_OTHERS

if TYPE_CHECKING:
    from tokenmeter.providers.registry import Provider, Providers

__all__ = ["Biller", "biller", "whole"]

_REMEMBERED_MOST: Final = 1000
_PLAIN: Final = frozenset({str, int, type(None)})
_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


class Biller(NamedTuple):
    """The provider that the span names, the address, and the provider and region that bill."""

    named: Provider | None
    host: str | None
    port: int | None
    provider: Provider | None
    region: str | None


_known: dict[tuple[Any, ...], tuple[Providers, Biller]] = {}


def biller(found: Mapping[str, Any], providers: Providers, renamed: Mapping[str, str] = _NOTHING) -> Biller:
    """Who bills, by the facts of a span; `renamed` says who is behind a name where there is no address."""
    get = found.get
    key = (id(providers), get("provider"), get("address"), get("port"), get("region"), get("site"))
    known = _known.get(key) if _PLAIN.issuperset(map(type, key)) else None
    if known is None or known[0] is not providers:
        known = (providers, _biller(found, providers))
        if _PLAIN.issuperset(map(type, key)):
            if len(_known) >= _REMEMBERED_MOST:
                _known.clear()
            _known[key] = known
    answer = known[1]
    if renamed and answer.host is None and "site" not in found:
        said = renamed.get(str(get("provider")).lower())
        if said is not None:
            return answer._replace(provider=providers.resolve(said, answer.region))
    return answer


def _biller(found: Mapping[str, Any], known: Providers) -> Biller:
    named = _provider(found.get("provider"), known)
    host, port, path = _address(found)
    region, site = _text(found.get("region")), _text(found.get("site"))
    if site is not None:
        return Biller(named, host, port, known.resolve(site, region), region)
    if host is not None:
        endpoint = known.for_host(f"{host}:{port}", path) if port is not None else None
        endpoint = endpoint or known.for_host(host, path)
        if endpoint is not None:
            return Biller(named, host, port, known.by_id[endpoint.provider_id], region or endpoint.region)
        if named is not None and named.id in SPOKEN_BY_OTHERS:
            return Biller(named, host, port, None, region)
    provider = known.resolve(named.id, region) if named is not None and region is not None else named
    return Biller(named, host, port, provider, region)


def _provider(named: object, providers: Providers) -> Provider | None:
    """The provider of a name such as `anthropic`, `az.ai.openai` or Vercel's `google.generative-ai`."""
    if not isinstance(named, str):
        return None
    name = named.strip().lower()
    while name:
        known = providers.get(PROVIDERS.get(name, name))
        if known is not None:
            return known
        name = name.rpartition(".")[0]
    return None


def _address(found: Mapping[str, Any]) -> tuple[str | None, int | None, str]:
    """Host, port and path, from a host or from a URL."""
    address = found.get("address")
    if not isinstance(address, str):
        return None, None, ""
    port = whole(found.get("port"))
    if ":" not in address and "/" not in address and "[" not in address:
        return address, port, ""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        return parts.hostname, parts.port or port, parts.path
    except ValueError:
        return None, None, ""


def whole(value: object) -> int | None:
    """A count: an integer, a float that is one (JavaScript has no other), or text of one; else None."""
    if type(value) is int:
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
