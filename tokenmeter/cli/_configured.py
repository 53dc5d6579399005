"""The price book as TOKENMETER_* variables configure it, for commands that price: the same prices as the SDK's."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tokenmeter.prices.book import Book

__all__ = ["configured_book"]

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
