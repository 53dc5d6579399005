"""The providers: one TOML file each, and the provider and wire format behind a host and path.

A provider file says its id, aliases, OpenTelemetry name, time zone, the hosts it answers on, how it takes
`stream_options`, and what its answers say beyond the wire format. `Providers.for_host` is asked for every request
of the host program, so a host we do not know costs one dict probe and a known one two.

    id, aliases, name            `otel_name` is OpenTelemetry's `gen_ai.provider.name`
    timezone                     where a price day begins
    clock                        which instant of a call is priced: its "end" or its "start"
    stream_usage                 how usage comes in a stream: "ask" for it, "always", asking is "refuse"d, "unknown"
    null_usage_if_asked          asking puts `usage: null` into every other chunk, where none would be
    stream_usage_since           the first api-version (a query parameter) that takes stream_options
    apis                         wire formats, the most likely first
    [models]                     end of a request path -> the model asked for, where the body names none; `*` is any
                                 word, as a model the word that stands there; the first that fits wins
    prices                       the provider whose price list it bills by, where it has none of its own
    sites                        region -> the provider that bills it (`ap-southeast-1` of alibaba is alibaba-intl)
    [[endpoint]]                 host (`*` any labels, `{region}` the region), region, currency, stream_usage, paths;
                                 `action`: the header that says what a request is, where every one is posted to `/`
    [usage."<api>"]              laid over the wire format, `[usage."*"]` over every one: see `wire.formats`
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from tokenmeter._support.empty import EMPTY
from tokenmeter._support.toml_problems import CATALOG, Problems, read_folder
from tokenmeter._support.value import Value
from tokenmeter.errors import ConfigurationError
from tokenmeter.wire.formats import Apis, load_apis

__all__ = ["Provider", "ProviderEndpoint", "Providers", "load_providers", "read_providers"]

_HOST: Final = r"[^\s/:@?#\[\]]+(:[0-9]{1,5})?"
_HOST_V6: Final = r"\[(?P<address>[0-9a-f:.]*:[0-9a-f:.]*)\](?P<port>:[0-9]{1,5})?"
_OF_HOST: Final = ("region", "currency", "stream_usage", "paths", "action")
_VERSION: Final = r"[?&]api-version=(\d{4}-\d\d-\d\d)"
_KNOWN_MOST: Final = 4096
"""Hosts, and paths of one host, that are remembered; beyond it the memory starts anew."""


class ProviderEndpoint(Value):
    """What a request to a host and path is. `api` is None where the path is not a call to a model."""

    provider_id: str
    region: str | None
    api: str | None
    currency: str | None
    stream_usage: str
    action: str | None = None
    """The header whose value stands for the path."""


class Host(Value):
    """One line of the host map."""

    pattern: str
    provider_id: str
    region: str | None = None
    currency: str | None = None
    stream_usage: str | None = None
    paths: Mapping[str, str] = EMPTY
    action: str | None = None


class Provider(Value):
    """One billing site. `at` is the instant of a call its prices are read at: "end" or "start"."""

    id: str
    name: str
    otel_name: str
    timezone: str
    aliases: tuple[str, ...] = ()
    stream_usage: str = "unknown"
    stream_usage_since: str | None = None
    null_usage_if_asked: bool = False
    at: str = "end"
    apis: tuple[str, ...] = ()
    prices: str | None = None
    sites: Mapping[str, str] = EMPTY
    paths: Mapping[str, str] = EMPTY
    models: Mapping[str, str] = EMPTY
    endpoints: tuple[Host, ...] = ()
    usage: Mapping[str, Mapping[str, Any]] = EMPTY

    def stream_usage_of(self, path: str) -> str:
        """`stream_usage` for requests to a path; an api-version in its query may be too old to be asked."""
        return _too_old(path, self.stream_usage_since) or self.stream_usage

    def model_at(self, path: str) -> str | None:
        """The model that a path alone names; None where none is declared for it."""
        path = path.partition("?")[0].rstrip("/")
        for pattern, model in self.models.items():
            if match := _model_path(pattern).search(path):
                return match[1] if model == "*" else model
        return None


class _Known:
    """A host that is in the map, with the paths seen on it."""

    __slots__ = ("host", "paths", "provider", "region")

    def __init__(self, host: Host, provider: Provider, region: str | None) -> None:
        self.host = host
        self.provider = provider
        self.region = region
        self.paths: dict[str, ProviderEndpoint] = {}


class Providers:
    """Every provider, by id, alias and host. Immutable but for its memory of hosts."""

    def __init__(self, providers: Iterable[Provider], apis: Apis, extra: Mapping[str, str] = EMPTY) -> None:
        self.by_id: Mapping[str, Provider] = {provider.id: provider for provider in providers}
        self._apis = apis
        self._extra = dict(extra)
        self._names: dict[str, Provider] = {}
        # An id is stronger than another provider's alias, and an alias than an OpenTelemetry name, which sites share.
        for provider in self.by_id.values():
            self._names[provider.id] = provider
        for names in (lambda provider: provider.aliases, lambda provider: (provider.otel_name,)):
            for provider in self.by_id.values():
                for name in names(provider):
                    self._names.setdefault(name, provider)
        hosts = [host for provider in self.by_id.values() for host in provider.endpoints]
        hosts += [Host(pattern, self._named(pattern, name)) for pattern, name in extra.items()]
        self._exact = {host.pattern: host for host in hosts if "*" not in host.pattern and "{" not in host.pattern}
        patterns = [host for host in hosts if host.pattern not in self._exact]
        patterns.sort(key=lambda host: -sum(map(len, _parts(host.pattern)[::2])))
        self._patterns = [(_parts(host.pattern)[-1], host) for host in patterns]
        self._seen: dict[str, _Known | None] = {}

    def _named(self, host: str, name: str) -> str:
        provider = self.get(name)
        if provider is None:
            import difflib

            near = difflib.get_close_matches(name, self._names, n=1, cutoff=0.75)
            hint = f"did you mean {near[0]!r}?" if near else "give an id such as 'deepseek' or 'openai'."
            own = f'A server of your own has a price too: configure(rates={{"{name}/*": "free"}}, ...)'
            raise ConfigurationError(f"hosts: {host!r}: there is no provider {name!r}; {hint} {own}")
        return provider.id

    def get(self, name: str | None) -> Provider | None:
        """The provider of an id, an alias or an OpenTelemetry name; None for none."""
        if name is None:
            return None
        provider = self._names.get(name)
        return provider if provider is not None else self._names.get(name.strip().lower().replace(" ", "-"))

    def resolve(self, name: str, region: str | None = None) -> Provider | None:
        """As `get`; a region that belongs to another billing site gives that site's provider."""
        provider = self.get(name)
        if provider is None or region is None:
            return provider
        site = provider.sites.get(region)
        return self.by_id.get(site, provider) if site is not None else provider

    def for_host(self, host: str, path: str) -> ProviderEndpoint | None:
        """What a POST to a host and path is; None for a host that no provider declares.

        `host` may carry a port (`localhost:11434`); a known host with a path that is no call to a model gives an
        endpoint whose `api` is None.
        """
        try:
            known = self._seen[host]
        except KeyError:
            known = self._remember(host)
        if known is None:
            return None
        endpoint = known.paths.get(path)
        return endpoint if endpoint is not None else self._endpoint(known, path)

    def with_own(self, names: Iterable[str]) -> Providers:
        """These providers and those of the user's own that are not among them, which speak OpenAI's wire formats."""
        new = [Provider(id=name, name=name, otel_name=name, timezone="UTC") for name in names if self.get(name) is None]
        return Providers([*self.by_id.values(), *new], self._apis, self._extra) if new else self

    def with_hosts(self, hosts: Mapping[str, str]) -> Providers:
        """These providers with a user's own hosts: `{"llm.corp.lan": "deepseek"}`; `*` stands for any labels.

        A user's line wins over ours. Raises ConfigurationError for a provider there is none of and for what is no host.
        """
        normal = {_user_host(host): name for host, name in hosts.items()}
        return Providers(self.by_id.values(), self._apis, {**self._extra, **normal})

    def _remember(self, host: str) -> _Known | None:
        known = self._find(host.lower().rstrip("."))
        if len(self._seen) >= _KNOWN_MOST:
            self._seen.clear()
        self._seen[host] = known
        return known

    def _find(self, host: str) -> _Known | None:
        name, colon, port = host.rpartition(":")
        bare = name if colon and port.isdigit() else host
        for candidate in dict.fromkeys((host, bare)):
            exact = self._exact.get(candidate)
            if exact is not None:
                return _Known(exact, self.by_id[exact.provider_id], exact.region)
        for tail, line in self._patterns:
            if bare.endswith(tail) and (match := _host(line.pattern).fullmatch(bare)):
                region = line.region or match.groupdict().get("region")
                return _Known(line, self.by_id[line.provider_id], region)
        return None

    def _endpoint(self, known: _Known, path: str) -> ProviderEndpoint:
        provider, host = known.provider, known.host
        own = {**provider.paths, **host.paths}
        endpoint = ProviderEndpoint(
            provider_id=provider.id,
            region=known.region,
            api=self._apis.for_path(path, own) if path else None,
            currency=host.currency,
            stream_usage=_too_old(path, provider.stream_usage_since) or host.stream_usage or provider.stream_usage,
            action=host.action,
        )
        if len(known.paths) >= _KNOWN_MOST:
            known.paths.clear()
        known.paths[path] = endpoint
        return endpoint


def _too_old(path: str, since: str | None) -> str | None:
    """ "refuse" where the api-version in the query is from before `since`."""
    match = re.search(_VERSION, path) if since is not None else None
    return "refuse" if match and since is not None and match[1] < since else None


@functools.cache
def _model_path(pattern: str) -> re.Pattern[str]:
    return re.compile("([^/]+)".join(re.escape(part) for part in pattern.split("*")) + r"\Z")


def _parts(pattern: str) -> list[str]:
    """What is literal in the pattern of a host, and between its parts `*` or `{region}`."""
    return re.split(r"(\{\w+\}|\*)", pattern)


@functools.cache
def _host(pattern: str) -> re.Pattern[str]:
    text = "".join(
        r"[a-z0-9.-]+" if part == "*" else rf"(?P<{part[1:-1]}>[a-z0-9-]+)" if part.startswith("{") else re.escape(part)
        for part in _parts(pattern)
    )
    return re.compile(text)


def _provider(entry: Mapping[str, Any]) -> Provider:
    name = entry["id"]
    return Provider(
        id=name,
        name=entry.get("name", name),
        otel_name=entry.get("otel_name", name),
        timezone=entry["timezone"],
        aliases=tuple(entry.get("aliases", ())),
        stream_usage=entry["stream_usage"],
        stream_usage_since=entry.get("stream_usage_since"),
        null_usage_if_asked=entry.get("null_usage_if_asked", False),
        at=entry.get("clock", "end"),
        apis=tuple(entry.get("apis", ("openai.chat", "openai.embeddings"))),
        prices=entry.get("prices"),
        sites=entry.get("sites", {}),
        paths=entry.get("paths", {}),
        models=entry.get("models", {}),
        endpoints=tuple(
            Host(line["host"], name, **{key: line[key] for key in _OF_HOST if key in line})
            for line in entry.get("endpoint", ())
        ),
        usage=entry.get("usage", {}),
    )


def _user_host(text: str) -> str:
    """A host as requests name it. Raises ConfigurationError for what is none, such as a URL."""
    host = text.strip().lower().rstrip(".")
    if re.fullmatch(_HOST, host):
        return host
    six = re.fullmatch(_HOST_V6, host if host.startswith("[") else f"[{host}]")
    if six is not None:
        import ipaddress

        with contextlib.suppress(ValueError):
            return f"{ipaddress.IPv6Address(six['address'])}{six['port'] or ''}"
    raise ConfigurationError(
        f"hosts: {text!r} is not a host: write it as 'llm.corp.lan', 'llm.corp.lan:8000', '*.corp.lan' or '[::1]:8000'"
    )


@functools.cache
def load_providers() -> Providers:
    """Every provider there is, read once. Raises CatalogError with all problems of all files."""
    return read_providers(CATALOG / "providers")


def read_providers(folder: Path) -> Providers:
    """The providers of one folder of provider files. Raises CatalogError with all problems of all files."""
    apis = load_apis()
    problems = Problems()
    providers: dict[str, Provider] = {}
    names: dict[str, str] = {}
    read = read_folder(folder, problems)
    if not read.checked:
        from tokenmeter.providers.provider_checks import check_provider
    for place, entry in read.files.items():
        if not read.checked and not check_provider(place, entry, apis.by_id, problems):
            continue
        provider = _provider(entry)
        for name in (provider.id, *provider.aliases):
            if name in names:
                problems.add(place, f"the name {name!r} is taken by {names[name]}")
            names[name] = place
        providers[provider.id] = provider
    for provider in providers.values():
        for region, site in provider.sites.items():
            if site not in providers:
                problems.add(names[provider.id], f'sites: "{region}": there is no provider {site!r}')
    problems.done()
    return Providers(providers.values(), apis)
