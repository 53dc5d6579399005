"""The provider that bills the call of a span: by the user's attribute, else by the address, else by the stated name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.empty import EMPTY
from tokenmeter.otel.external.names import PROVIDERS, SPOKEN_BY_OTHERS
from tokenmeter.otel.external.span_data import text, whole

if TYPE_CHECKING:
    from tokenmeter.providers.registry import Provider, Providers

__all__ = ["BillingProvider", "billing_provider"]

_PLAIN: Final = frozenset({str, int, type(None)})


class BillingProvider(NamedTuple):
    """`named` is the provider that the span names; `provider` and `region` bill. None where unknown."""

    named: Provider | None
    host: str | None
    port: int | None
    provider: Provider | None
    region: str | None


_known: Final[BoundedDict[tuple[Any, ...], tuple[Providers, BillingProvider]]] = BoundedDict(1000)


def billing_provider(
    facts: Mapping[str, Any], providers: Providers, renamed: Mapping[str, str] = EMPTY
) -> BillingProvider:
    """Resolve the provider from a span's facts.

    `renamed` maps a stated name (lower case) to the provider behind it, used where the span has no address. Answers are
    cached, since spans to one endpoint state the same facts.
    """
    get = facts.get
    key = (id(providers), get("provider"), get("address"), get("port"), get("region"), get("site"))
    hashable = _PLAIN.issuperset(map(type, key))
    known = _known.get(key) if hashable else None
    if known is None or known[0] is not providers:
        known = (providers, _resolve(facts, providers))
        if hashable:
            _known.put(key, known)
    answer = known[1]
    if renamed and answer.host is None and "site" not in facts:
        behind = renamed.get(str(get("provider")).lower())
        if behind is not None:
            return answer._replace(provider=providers.resolve(behind, answer.region))
    return answer


def _resolve(facts: Mapping[str, Any], providers: Providers) -> BillingProvider:
    named = _named(facts.get("provider"), providers)
    host, port, path = _address(facts)
    region, site = text(facts.get("region")), text(facts.get("site"))
    if site is not None:
        return BillingProvider(named, host, port, providers.resolve(site, region), region)
    if host is not None:
        endpoint = providers.for_host(f"{host}:{port}", path) if port is not None else None
        endpoint = endpoint or providers.for_host(host, path)
        if endpoint is not None:
            at_address = providers.by_id[endpoint.provider_id]
            return BillingProvider(named, host, port, at_address, region or endpoint.region)
        if named is not None and named.id in SPOKEN_BY_OTHERS:
            return BillingProvider(named, host, port, None, region)
    provider = providers.resolve(named.id, region) if named is not None and region is not None else named
    return BillingProvider(named, host, port, provider, region)


def _named(name: object, providers: Providers) -> Provider | None:
    """The provider of a name such as `anthropic`, `az.ai.openai` or Vercel's `google.generative-ai`."""
    if not isinstance(name, str):
        return None
    rest = name.strip().lower()
    while rest:
        provider = providers.get(PROVIDERS.get(rest, rest))
        if provider is not None:
            return provider
        rest = rest.rpartition(".")[0]
    return None


def _address(facts: Mapping[str, Any]) -> tuple[str | None, int | None, str]:
    """Host, port and path, from a host or from a URL."""
    address = facts.get("address")
    if not isinstance(address, str):
        return None, None, ""
    port = whole(facts.get("port"))
    if ":" not in address and "/" not in address and "[" not in address:
        return address, port, ""
    try:
        parts = urlsplit(address if "://" in address else f"//{address}")
        return parts.hostname, parts.port or port, parts.path
    except ValueError:
        return None, None, ""
