"""Finds the provider, region and wire format that answer at an address, and remembers the `Route`."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import NAME_MOST, BoundedDict, short_name
from tokenmeter._support.fork import on_fork
from tokenmeter.calls.route import ClientMark, Route
from tokenmeter.wire.formats import load_apis
from tokenmeter.wire.later import is_batch_path, later_forms_at

if TYPE_CHECKING:
    from tokenmeter.providers.registry import Providers

__all__ = ["Routing"]

_ASKABLE: Final = ("openai.chat", "openai.completions")
"""Wire formats whose streams carry usage only if asked for it."""
_ADDRESS_MOST: Final = 1024
"""Characters of a path and query that is remembered: some name the model, and anybody sends them."""
_FREE_OPERATIONS: Final = ("count_tokens",)
"""Operations that no model answers and no provider bills."""


class Routing:
    """The host map as one configuration sees it.

    `hosts` are the user's own, by the provider that bills there; `own` are providers that the user's own prices name,
    which the catalog may not know; `ask_usage` says whether streams may be asked for
    their usage. Raises ConfigurationError for a host of an unknown provider.
    """

    def __init__(self, hosts: Mapping[str, str], *, own: Sequence[str] = (), ask_usage: bool = True) -> None:
        self._hosts = hosts
        self._own = own
        self._ask_usage = ask_usage
        self._lock = threading.Lock()
        self._providers: Providers | None = None
        self._routes: BoundedDict[tuple[Any, ...], Route | None] = BoundedDict(1000)
        self._with_ports = self._hosts_with_ports()
        on_fork(self)

    def forked(self) -> None:
        """In a child process: a thread of the parent may be loading the catalog."""
        self._lock = threading.Lock()

    @property
    def providers(self) -> Providers:
        """Who serves and bills, and at which endpoints: the catalog's and the user's `hosts`."""
        if self._providers is None:
            with self._lock:
                if self._providers is None:
                    from tokenmeter.providers.registry import load_providers

                    providers = load_providers().with_own(self._own)
                    if self._hosts:
                        providers = providers.with_hosts(self._hosts)
                    self._providers = providers
        return self._providers

    def _hosts_with_ports(self) -> frozenset[str]:
        # Only where the user names hosts is the catalog read now: a bad name raises here, not at the first call.
        hosts = set(self._hosts) | {"localhost:11434"}
        if self._hosts:
            _ = self.providers
        return frozenset(host.rpartition(":")[0].lower() for host in hosts if host.rpartition(":")[2].isdigit())

    def watches(self, host: str) -> bool:
        """Whether requests to this host may be calls. For hooks; cheap."""
        return self.providers.for_host(host, "") is not None or host in self._with_ports

    def route(
        self,
        host: str,
        port: int | None,
        base: str,
        path: str,
        mark: ClientMark | None,
        *,
        query: str = "",
        any_host: bool,
    ) -> Route | None:
        """Where calls to an address go; None: nothing that is a call to a model. For hooks; remembered.

        `path` ends the request's path, `base` precedes it, and `query` (`?api-version=...`) may follow. A mark's
        provider wins over the address. With `any_host` the path alone decides at an unknown host.
        """
        key = (host, port, base, path, query, mark, any_host)
        if len(base) + len(path) + len(query) > _ADDRESS_MOST or len(host) > NAME_MOST:
            return self._new_route(short_name(host), *key[1:])
        try:
            return self._routes[key]
        except KeyError:
            return self._routes.put(key, self._new_route(*key))

    def _new_route(
        self,
        host: str,
        port: int | None,
        base: str,
        path: str,
        query: str,
        mark: ClientMark | None,
        any_host: bool,
    ) -> Route | None:
        providers = self.providers
        whole = base + path + query
        endpoint = providers.for_host(f"{host}:{port}", whole) if host in self._with_ports else None
        endpoint = endpoint or providers.for_host(host, whole)
        named = mark.provider if mark is not None else None
        region = mark.region if mark is not None else None
        if endpoint is not None:
            api, asks, region = endpoint.api, endpoint.stream_usage == "ask", region or endpoint.region
            known = providers.get(endpoint.provider_id)
        else:
            api, asks, known = None, False, None
        if named is not None:
            known = providers.resolve(named, region)
            asks = known is not None and known.stream_usage_of(whole) == "ask"
        if endpoint is None and (any_host or named is not None):
            api = load_apis().for_path(whole, known.paths if known is not None else None)
        operation = self.operation(api)
        if api is None or operation in _FREE_OPERATIONS:
            return None
        return Route(
            provider=known.id if known is not None else None,
            otel_provider=known.otel_name if known is not None else None,
            api=api,
            operation=operation,
            host=host,
            port=port,
            path=path,
            region=region,
            asks=asks and self._ask_usage and api in _ASKABLE,
            asks_null=known is not None and known.null_usage_if_asked,
            model=known.model_at(whole) if known is not None else None,
            later=later_forms_at(whole, known.id if known is not None else None),
            batch=is_batch_path(whole),
        )

    @staticmethod
    def operation(api: str | None) -> str:
        """OpenTelemetry's name for what a wire format does."""
        known = load_apis().get(api)
        return known.operation if known is not None else "chat"
