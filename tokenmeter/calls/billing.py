"""Prices records by the price book of one configuration: the catalog, the user's prices, price lists and models."""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.empty import EMPTY
from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import logger
from tokenmeter.components import BESIDE
from tokenmeter.errors import ConfigurationError
from tokenmeter.money import EXACT, plain
from tokenmeter.record import VENDOR_GAP, End, Record
from tokenmeter.usage import checked_usage

if TYPE_CHECKING:
    from tokenmeter.calls.routing import Routing
    from tokenmeter.cost import Cost, Status
    from tokenmeter.money import Money
    from tokenmeter.prices.book import Book
    from tokenmeter.prices.own_rates import OwnRates
    from tokenmeter.prices.quote import Quote

__all__ = ["Billing"]

_NO_MODEL: Final = (
    'neither the call nor its request or answer names a model: name it, as in call("deepseek", "deepseek-chat")'
)


class Billing:
    """Prices records.

    `cost_from` says whose cost counts where the vendor reports one and the book prices the call too: by provider, `*`
    for all others. `models` gives the catalog's name for names of the user's own; `prices`, `price_lists` and `rates`
    are the user's price files, the lists in force and the user's own prices, as in `Settings`. Raises
    ConfigurationError for an unknown provider of `cost_from`. When the book is first read: raises CatalogError for a
    broken price file, ConfigurationError for a list of an unknown provider or currency and for an unknown model.
    """

    def __init__(
        self,
        routing: Routing,
        *,
        models: Mapping[str, str] = EMPTY,
        prices: str | None = None,
        price_lists: Mapping[str, str] = EMPTY,
        cost_from: Mapping[str, str] = EMPTY,
        rates: OwnRates | None = None,
    ) -> None:
        self._routing = routing
        self._models = models
        self._prices = prices
        self._price_lists = price_lists
        self._rates = rates
        self._cost_from = _known_providers(cost_from, routing) if cost_from.keys() - {"*"} else cost_from
        self._lock = threading.Lock()
        self._book: Book | None = None
        self._warned: BoundedDict[tuple[str | None, str | None], None] = BoundedDict(1000)
        self._warned_hosts: BoundedDict[str, None] = BoundedDict(1000)
        on_fork(self)

    def forked(self) -> None:
        """In a child process: a thread of the parent may be loading the book."""
        self._lock = threading.Lock()

    @property
    def book(self) -> Book:
        """The price book: the catalog's and the user's `prices`."""
        if self._book is None:
            with self._lock:
                if self._book is None:
                    from tokenmeter.prices.book import load_book

                    book = load_book()
                    if self._prices is not None:
                        if not os.path.exists(self._prices):
                            raise ConfigurationError(f"prices={self._prices!r}: there is no such file or folder")
                        book = book.with_overlay(self._prices)
                    if self._price_lists:
                        from tokenmeter.prices.arguments import known_lists

                        book = book.with_lists(known_lists(self._price_lists, book))
                    if self._rates is not None:
                        book = book.with_rates(self._rates)
                    if self._models:
                        from tokenmeter.prices.arguments import check_models

                        check_models(self._models, book)
                    self._book = book
        return self._book

    def price(self, record: Record) -> Cost:
        """What a record costs. Never raises on data: what cannot be priced is unpriced, with the reason.

        Where the book cannot price it, the cost that the vendor reported is its cost.
        """
        if record.end is End.DELEGATED:
            return _unpriced(record, record.reason or "delegated")
        if record.end is End.REFUSED:
            return self._by_book(record._replace(usage=_NOTHING))
        cost = self._by_book(record)
        if record.vendor_cost is not None and record.vendor_cost.amount >= 0:
            cost = self._beside_vendor(cost, record, record.vendor_cost)
        if cost.amount is None and record.provider is not None and not (cost.reason or "").startswith("no usage: "):
            self._warn_unpriced(record, cost)
        return cost

    def quote(self, record: Record, cost: Cost) -> Quote | None:
        """What the book prices calls such as this one by, and for how long; None where the book alone does not."""
        if cost.amount is None or cost.source != "book" or record.vendor_cost is not None or record.provider is None:
            return None
        models = self._models
        asked, answered = record.request_model or "", record.response_model
        return self.book.quote(
            record.provider,
            models.get(asked, asked),
            models.get(answered, answered) if answered is not None else None,
            _price_params(record),
            cost.at.timestamp(),
        )

    def bills_by_start(self, provider: str | None) -> bool:
        """Whether a provider's price is that of a call's start; all others bill by its completion."""
        return provider in self._clock_is_start

    def _beside_vendor(self, cost: Cost, record: Record, vendor: Money) -> Cost:
        """The book's cost or the vendor's, flagged where the two differ."""
        provider = record.provider or ""
        chosen = self._cost_from.get(provider, self._cost_from.get("*", "book"))
        if cost.amount is None:
            return _of_vendor(cost, vendor, cost.flags)
        flag = _difference(cost, vendor)
        if chosen == "vendor":
            return _of_vendor(cost, vendor, cost.flags if flag is None else (*cost.flags, flag))
        return cost if flag is None else cost.with_flag(flag)

    def _by_book(self, record: Record) -> Cost:
        if record.provider is None:
            return self._of_unknown_host(record)
        usage = record.usage
        if usage.input_tokens is None and usage.output_tokens is None and not usage.quantities:
            return _unpriced(record, f"no usage: {record.reason or 'none was reported'}")
        models = self._models
        asked, answered = record.request_model or "", record.response_model
        if not asked and not answered:
            return _unpriced(record, _NO_MODEL)
        cost = self.book.price(
            usage,
            provider=record.provider,
            model=models.get(asked, asked),
            response_model=models.get(answered, answered) if answered is not None else None,
            at=record.started_at if record.provider in self._clock_is_start else record.ended_at,
            params=_price_params(record),
        )
        if cost.amount is not None and usage.quantities.keys() <= BESIDE:
            for name in ("input_tokens", "output_tokens"):
                # Unknown is not free, but where there are fees only and the rate has no price for tokens.
                if getattr(usage, name) is None and (not usage.quantities or f"{name}_unknown" in cost.flags):
                    cost = _without_total(cost, f"{name} is not known: {record.reason or 'it was not reported'}")
        return cost

    def _of_unknown_host(self, record: Record) -> Cost:
        address = f"{record.host}" if record.port is None else f"{record.host}:{record.port}"
        reason = (
            f"no provider is known for the host {address}. A server of your own: "
            f'configure(hosts={{"{address}": "local"}}, rates={{"local/*": "free"}}), or instead of "free" a price: '
            f'{{"input": "0.5 CNY", "output": "2 CNY"}}. A gateway: configure(hosts={{"{address}": "deepseek"}}) or '
            'wrap(client, provider="deepseek") says who bills. TOKENMETER_HOSTS and TOKENMETER_RATES say the same'
        )
        if address not in self._warned_hosts and self._warned_hosts.keep(address, None):
            logger.warning("calls are not priced: %s", reason)
        return _unpriced(record, reason)

    @functools.cached_property
    def _clock_is_start(self) -> frozenset[str]:
        """The providers whose prices are those of a call's start; all others bill by its completion."""
        return frozenset(one.id for one in self._routing.providers.by_id.values() if one.at == "start")

    def _warn_unpriced(self, record: Record, cost: Cost) -> None:
        key = (record.provider, record.response_model or record.request_model)
        if key in self._warned or not self._warned.keep(key, None):
            return
        logger.warning("calls of %s are not priced: %s", " ".join(filter(None, key)), cost.reason)


def _unpriced(record: Record, reason: str) -> Cost:
    from tokenmeter.cost import Cost
    from tokenmeter.offers import Offer

    offer = Offer(provider=record.provider or "", model=record.response_model or record.request_model)
    return Cost(offer, "unpriced", None, (), record.ended_at, reason=reason)


_NOTHING: Final = checked_usage({"input_tokens": 0, "output_tokens": 0})
"""The usage of a call that a budget refused: it costs nothing in the currency in which it would be billed."""
_GAP: Final = Decimal("0.01")


def _difference(cost: Cost, vendor: Money) -> str | None:
    """The flag of a vendor's cost more than 1% off the book's; None where they agree."""
    if cost.currency != vendor.currency:
        return f"vendor_cost_in={vendor.currency}"
    amount = cost.amount or Decimal(0)
    gap = EXACT.subtract(vendor.amount, amount)
    if abs(gap) <= EXACT.multiply(_GAP, amount):
        return None
    return f"{VENDOR_GAP}{'+' if gap > 0 else ''}{plain(gap)}"


def _of_vendor(cost: Cost, vendor: Money, flags: tuple[str, ...]) -> Cost:
    """The vendor's cost in place of the book's: a sum without charges."""
    from tokenmeter.cost import Cost
    from tokenmeter.offers import Offer

    offer = Offer(provider=cost.provider, model=cost.model, list=vendor.currency, book=cost.book)
    status: Status = "priced" if vendor.amount else "free"
    return Cost(offer, status, vendor.amount, (), cost.at, flags, None, cost.covered_by, source="vendor")


def _without_total(cost: Cost, reason: str) -> Cost:
    """The charges that are known, and no sum: a part of the call is not known."""
    from tokenmeter.cost import Cost

    return Cost(cost.offer, "unpriced", None, cost._lines, cost.at, cost.flags, reason)


def _price_params(record: Record) -> Mapping[str, Any]:
    if record.service_tier is None:
        return record.params
    return {**record.params, "service_tier": record.service_tier}


def _known_providers(cost_from: Mapping[str, str], routing: Routing) -> dict[str, str]:
    """The choices by provider id. Raises ConfigurationError for an unknown provider."""
    chosen: dict[str, str] = {}
    for name, whose in cost_from.items():
        known = routing.providers.get(name) if name != "*" else None
        if known is None and name != "*":
            near = _near(name, routing.providers.by_id)
            raise ConfigurationError(f"cost_from: there is no provider {name!r}{near}; '*' stands for all others")
        chosen[name if known is None else known.id] = whose
    return chosen


def _near(name: str, known: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""
