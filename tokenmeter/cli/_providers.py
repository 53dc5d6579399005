"""The `--provider` flag of the commands that look through the price book."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tokenmeter.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

    from tokenmeter.prices.book import Book

__all__ = ["providers_asked"]


def providers_asked(args: argparse.Namespace, book: Book) -> tuple[str, ...]:
    """The providers `--provider` leaves. Raises ConfigurationError for one the book does not have."""
    if args.provider is None:
        return book.providers
    prices = book.provider_prices(args.provider)
    if isinstance(prices, str):
        raise ConfigurationError(f"--provider: {prices}")
    return (prices.provider,)
