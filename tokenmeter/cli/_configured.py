"""The price book as TOKENMETER_* variables configure it, for commands that price: the same prices as the SDK's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tokenmeter.ledger.imports.pricing import Pricing
    from tokenmeter.prices.book import Book

__all__ = ["configured_book", "configured_pricing"]

_VARIABLES: Final = ("TOKENMETER_MODELS", "TOKENMETER_PRICE_LISTS")  # the book itself reads the others


def configured_book() -> tuple[Book, Mapping[str, str]]:
    """The book with the price lists that the environment chooses, and the user's own names of models.

    Raises ConfigurationError for a variable that names an unknown provider, list or model.
    """
    from tokenmeter.prices.arguments import check_models, known_lists
    from tokenmeter.prices.book import load_book
    from tokenmeter.settings import Settings

    settings = Settings.read({}, {name: os.environ[name] for name in _VARIABLES if name in os.environ})
    book = load_book()
    if settings.price_lists:
        book = book.with_lists(known_lists(settings.price_lists, book))
    if settings.models:
        check_models(settings.models, book)
    return book, settings.models


def configured_pricing() -> Pricing:
    """What imported calls are priced by: the same prices, hosts and own rates as the SDK's.

    Raises ConfigurationError for a bad variable, CatalogError for a broken price file.
    """
    from tokenmeter.calls.billing import Billing
    from tokenmeter.calls.routing import Routing
    from tokenmeter.ledger.imports.pricing import Pricing
    from tokenmeter.settings import Settings

    settings = Settings.read({})
    own = settings.rates.providers if settings.rates is not None else ()
    routing = Routing(settings.hosts, own=own)
    billing = Billing(
        routing,
        models=settings.models,
        prices=settings.prices,
        price_lists=settings.price_lists,
        cost_from=settings.cost_from,
        rates=settings.rates,
    )
    _ = billing.book  # what is wrong with it is raised here
    return Pricing(billing, routing.providers)
