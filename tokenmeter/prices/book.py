"""The price book: every provider's dated rates, with the user's overlays on top.

`load_book()` is the book of this installation; a provider is read when a call first names it. `Book.price` never
raises on data: what cannot be priced is answered `unpriced`, with the reason. A book is immutable; `with_overlay`
gives another one, so a running process can change books without a lock.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.data_files import CATALOG, data_names, mentions, read_data
from tokenmeter._support.fork import on_fork
from tokenmeter.cost import Cost
from tokenmeter.errors import CatalogError, ConfigurationError
from tokenmeter.offers import Offer
from tokenmeter.prices.edition import edition_with, newest_root
from tokenmeter.prices.price_file import PriceFile
from tokenmeter.prices.provider_prices import ProviderPrices, read_moment
from tokenmeter.prices.quote import Quote
from tokenmeter.prices.rate_lines import divided
from tokenmeter.usage import Usage

if TYPE_CHECKING:
    from tokenmeter.prices.own_rates import OwnRates

__all__ = ["Book", "load_book"]

ENVIRONMENT: Final = "TOKENMETER_PRICES"
OWN_RATES: Final = "TOKENMETER_RATES"
_SITES_MOST: Final = 4096
_FIRST: Final = -62_000_000_000.0  # the years 5 to 9884, in which every zone's clock can be read
_LAST: Final = 250_000_000_000.0
Overlay = Mapping[str, Any]


class Book:
    """Prices of all providers, at any instant. Made by `load_book` or `Book.of`; see docs/price-format.md."""

    def __init__(
        self,
        root: Path | None = CATALOG,
        *,
        overlays: tuple[Overlay, ...] = (),
        lists: Mapping[str, str] | None = None,
        own: Mapping[str, Overlay] | None = None,
    ) -> None:
        """`overlays` go on top of the files under `root`, later ones on earlier ones.

        `lists` picks a provider's list where it has several, as in `{"deepseek": "USD"}`; `own` holds the user's own
        prices by provider (`OwnRates.overlays`), which come before all others.
        """
        self._root = root
        self._overlays = overlays
        self._lists = dict(lists or {})
        self._own = dict(own or {})
        self._opened: dict[str, ProviderPrices | str] = {}
        self._sites: dict[tuple[str, str | None], str] = {}
        self._opening = threading.Lock()
        on_fork(self)

    def forked(self) -> None:
        """In a child process: a thread of the parent may be opening prices."""
        self._opening = threading.Lock()

    @classmethod
    def of(cls, *files: Overlay | Path, lists: Mapping[str, str] | None = None) -> Book:
        """A book of these price files alone. Raises CatalogError with every problem in them."""
        return cls(None, lists=lists).with_overlay(*files)

    def with_overlay(self, *sources: Overlay | Path | str) -> Book:
        """A book with these price files (paths, folders or tables) on top of this one.

        Raises CatalogError with every problem in them.
        """
        from tokenmeter.prices.overlays import read_overlays

        overlays = (*self._overlays, *read_overlays(sources, self.head))
        return Book(self._root, overlays=overlays, lists=self._lists, own=self._own)

    def with_lists(self, lists: Mapping[str, str]) -> Book:
        """A book that uses these of the providers' own lists. Nothing is converted."""
        return Book(self._root, overlays=self._overlays, lists={**self._lists, **lists}, own=self._own)

    def with_rates(self, rates: OwnRates) -> Book:
        """A book with these prices of the user's own, in the place of those it had."""
        own: dict[str, Overlay] = {}
        for overlay in rates.overlays():
            provider = _canonical(overlay["provider"])
            before = own.get(provider, {"rate": []})
            own[provider] = {**overlay, "provider": provider, "rate": [*before["rate"], *overlay["rate"]]}
        return Book(self._root, overlays=self._overlays, lists=self._lists, own=own)

    def at_list(self) -> Book:
        """A book of what providers list, without contracts and discounts of the account."""
        overlays = tuple(
            {key: value for key, value in overlay.items() if key != "discount"}
            for overlay in self._overlays
            if not overlay.get("contract")
        )
        return Book(self._root, overlays=overlays, lists=self._lists, own=self._own)

    def with_models(self, models: Mapping[str, Mapping[str, str]]) -> Book:
        """A book that knows your own names: `{"volcengine": {"ep-2024…": "doubao-pro-32k"}}`."""
        return self.with_overlay(
            *(
                {"provider": provider, "alias": [{"model": name, "of": model} for name, model in names.items()]}
                for provider, names in models.items()
            )
        )

    @property
    def root(self) -> Path | None:
        """Where the lowest price files are; None for a book of overlays alone."""
        return self._root

    @functools.cached_property
    def providers(self) -> tuple[str, ...]:
        """Ids of the providers with prices, sorted."""
        return tuple(sorted({*self._shipped, *(overlay["provider"] for overlay in self._overlays), *self._own}))

    @functools.cached_property
    def _shipped(self) -> frozenset[str]:
        """Ids of the providers with a file of their own under the root."""
        return frozenset(() if self._root is None else data_names("prices", self._root))

    @functools.cached_property
    def version(self) -> str:
        """The newest day a source was read, the serial of that day, and a digest of every file and overlay."""
        return edition_with(self._root, (*self._overlays, *self._own.values())).name

    def price(
        self,
        usage: Usage,
        *,
        provider: str,
        model: str,
        response_model: str | None = None,
        at: datetime | date | str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Cost:
        """What a usage costs at an instant: aware datetime, RFC 3339 text or bare day; None is now.

        The response's model is billed if the book knows it, else the request's. `params` are the contract's
        (`thinking`, `service_tier`, `batch`, `region`, `cache`, `cache_ttl`, `deployment`, `currency`, `plan` …).
        Never raises on data: what can't be priced is `unpriced`, with the reason.
        """
        if params and "region" in params:
            provider = self._site(provider, params["region"])
        prices = self._opened.get(provider)
        if type(prices) is not ProviderPrices:
            prices = self.provider_prices(provider)
            if isinstance(prices, str):
                return self._unpriced(provider, model, at, prices)
        if type(at) is datetime and at.tzinfo is not None:
            moment = at
        else:
            try:
                moment = read_moment(at, prices.zone)
            except ValueError as error:
                return self._unpriced(provider, model, None, str(error))
        instant = moment.timestamp()
        if not _FIRST < instant < _LAST:
            return self._unpriced(provider, model, moment, f"{moment.isoformat()} is beyond any price book")
        return prices.quote(model, response_model, params, instant).price(usage, moment, instant)

    def quote(
        self, provider: str, model: str, response_model: str | None, params: Mapping[str, Any], instant: float
    ) -> Quote | None:
        """What prices such requests from `Quote.since` until `Quote.until`; None where a provider has no prices."""
        if "region" in params:
            provider = self._site(provider, params["region"])
        prices = self.provider_prices(provider)
        return None if isinstance(prices, str) else prices.quote(model, response_model, params, instant)

    def knows(self, provider: str, model: str, at: datetime | date | str | None = None) -> bool:
        """Whether the book has a rate for a model (or a name of it) at an instant."""
        prices = self.provider_prices(provider)
        if isinstance(prices, str):
            return False
        try:
            instant = read_moment(at, prices.zone).timestamp()
        except ValueError:
            return False
        return prices.knows(model, instant)

    def sellers(self, model: str, at: datetime | date | str | None = None) -> tuple[str, ...]:
        """The providers with a rate for a model (or a name of it) at an instant. Reads every price file."""
        return tuple(provider for provider in self.providers if self.knows(provider, model, at))

    def ever_sold(self, model: str) -> bool:
        """Whether any provider has or had a rate for a model or a name of it. Reads likely price files first."""
        likely = {
            one for one in self.providers if self._root is not None and mentions(f"prices/{one}", model, self._root)
        }
        for provider in sorted(self.providers, key=lambda one: one not in likely):
            prices = self.provider_prices(provider)
            if not isinstance(prices, str) and (model in prices.names.all() or self.knows(provider, model)):
                return True
        return False

    def check(self) -> None:
        """Read every price file in full. Raises CatalogError with every problem there is."""
        from tokenmeter.prices.upkeep.check import check_data

        problems: list[str] = []
        for provider in self.providers:
            below: PriceFile | None = None
            for data in self._tables(provider, whole=True):
                found = check_data(data, f"prices/{provider}.toml", {} if below is None else below.head)
                problems.extend(found)
                if found:  # it may have no head to open it by
                    break
                below = PriceFile(data, below)
        if problems:
            raise CatalogError(problems)

    def provider_prices(self, provider: str) -> ProviderPrices | str:
        """A provider's prices by id or alias, or the reason there are none."""
        found = self._opened.get(provider)
        if found is None:
            with self._opening:
                found = self._opened.get(provider)
                if found is None:
                    found = self._opened[provider] = self._open(provider)
        return found

    def _open(self, provider: str) -> ProviderPrices | str:
        name = provider if provider in self.providers else _canonical(provider)
        if name not in self.providers:
            name = _list_of(name)
        if name not in self.providers:
            return f"no prices for provider {provider!r} in this book{self._hint(provider)}"
        try:
            files = list(self.files(name))
        except CatalogError as error:
            return f"the prices of {name} cannot be read: {error.problems[0]}"
        own = None
        if name in self._own:  # days begin where the provider's own do
            zone = {"timezone": files[-1].head["timezone"]} if files else {}
            own = PriceFile({**self._own[name], **zone})
        return ProviderPrices(files[::-1], book=self.version, default_list=self._lists.get(name), own=own)

    def files(self, provider: str) -> Iterable[PriceFile]:
        """The price files of a provider, lowest first, without the user's own prices.

        Raises CatalogError if one cannot be read.
        """
        below: PriceFile | None = None
        for data in self._tables(provider):
            below = PriceFile(data, below)
            yield below

    def head(self, provider: object) -> Mapping[str, Any]:
        """The head of the uppermost price file of a provider, which an overlay inherits; empty if there is none."""
        if not isinstance(provider, str) or provider not in self.providers:
            return {}
        *_, last = self.files(provider)
        return last.head

    def _tables(self, provider: str, *, whole: bool = False) -> Iterable[Mapping[str, Any]]:
        """What those files hold; `whole` with rates that are read already."""
        if self._root is not None and provider in self._shipped:
            data = read_data(f"prices/{provider}", self._root, parse=divided)
            yield {**data, "rate": list(data["rate"])} if whole and "rate" in data else data
        yield from (overlay for overlay in self._overlays if overlay["provider"] == provider)

    def _site(self, provider: str, region: object) -> str:
        """The billing site of a region: Singapore of `alibaba` is `alibaba-intl`, with a price list of its own."""
        key = (provider, region if isinstance(region, str) else None)
        site = self._sites.get(key)
        if site is None:
            from tokenmeter.providers.registry import load_providers

            found = load_providers().resolve(*key)
            site = provider if found is None or found.id not in self.providers else found.id
            if len(self._sites) < _SITES_MOST:
                self._sites[key] = site
        return site

    def _hint(self, provider: str) -> str:
        import difflib

        near = difflib.get_close_matches(str(provider), self.providers, n=1)
        if near:
            return f" (did you mean {near[0]!r}?)"
        own = f'configure(rates={{"{provider}/*": "free"}}) or {{"input": "0.5 CNY", "output": "2 CNY"}}'
        return f"; say your own: {own}"

    def _unpriced(self, provider: str, model: str, at: Any, reason: str) -> Cost:
        try:
            moment = None if isinstance(at, str) and len(at) == 10 else read_moment(at, UTC)
        except ValueError:
            moment = None
        offer = Offer(provider=provider, model=model, book=self.version)
        return Cost(offer, "unpriced", None, (), moment or datetime.now(UTC), (), reason)


def _canonical(provider: str) -> str:
    """The id behind a provider's alias (`dashscope` is `alibaba`)."""
    from tokenmeter.providers.registry import load_providers

    found = load_providers().get(provider)
    return provider if found is None else str(found.id)


@functools.cache
def _shipped(overlay: str | None, rates: str | None) -> Book:
    book = Book(newest_root())
    if rates:
        from tokenmeter.prices.own_rates import OwnRates

        book = book.with_rates(OwnRates.read(rates.strip(), OWN_RATES))
    if not overlay:
        return book
    paths = [Path(part) for part in overlay.split(os.pathsep) if part]
    for path in paths:
        if not path.exists():
            raise ConfigurationError(f"{ENVIRONMENT}: {path} does not exist; name a price file or a folder of them")
    return book.with_overlay(*paths)


def load_book() -> Book:
    """The book of this installation, with what `TOKENMETER_PRICES` and `TOKENMETER_RATES` name; read once.

    Raises ConfigurationError or CatalogError if one of these is missing or broken.
    """
    return _shipped(os.environ.get(ENVIRONMENT), os.environ.get(OWN_RATES))


def _list_of(provider: str) -> str:
    """The provider whose price list this one bills by (Azure AI Foundry is billed by the list of Azure)."""
    from tokenmeter.providers.registry import load_providers

    found = load_providers().get(provider)
    return provider if found is None or found.prices is None else found.prices
