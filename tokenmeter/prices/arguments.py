"""Checks the arguments of `price` and `estimate`, and finds the provider where none is named."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from tokenmeter._support.arguments import check_text
from tokenmeter.errors import ConfigurationError, UsageError
from tokenmeter.prices.provider_prices import read_moment
from tokenmeter.usage import Usage

if TYPE_CHECKING:
    from tokenmeter.prices.book import Book

__all__ = ["check_models", "check_usage", "known_lists", "seller_of"]


def check_usage(usage: object) -> None:
    """Raise UsageError for what is no `Usage`."""
    if not isinstance(usage, Usage):
        hint = (
            "Usage.from_dict(usage) reads" if isinstance(usage, dict) else "Usage(input_tokens=…, output_tokens=…) is"
        )
        raise UsageError(f"a usage is a tokenmeter.Usage, not a {type(usage).__name__}: {hint} one")


def check_models(models: Mapping[str, str], book: Book) -> None:
    """Raise ConfigurationError for a name of the user's own that stands for a model without any price."""
    for name, model in models.items():
        if not book.ever_sold(model):
            import difflib

            known = (prices for one in book.providers if not isinstance(prices := book.provider_prices(one), str))
            near = difflib.get_close_matches(model, {every for prices in known for every in prices.names.all()}, n=3)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "`tokenmeter prices list` has the names"
            raise ConfigurationError(f"models: {name!r} stands for {model!r}, which no provider sells: {hint}")


def known_lists(given: Mapping[str, str], book: Book) -> dict[str, str]:
    """The price lists in force, by provider id. Raises ConfigurationError for an unknown provider or list."""
    import difflib

    from tokenmeter.providers.registry import load_providers

    lists: dict[str, str] = {}
    for name, currency in given.items():
        known = load_providers().get(name)
        provider = known.id if known is not None else name
        if provider not in book.providers:
            near = difflib.get_close_matches(name, book.providers, n=1)
            hint = f" (did you mean {near[0]!r}?)" if near else ""
            raise ConfigurationError(f"price_lists: there are no prices of {name!r}{hint}")
        sold = {one for file in book.files(provider) for lists in file.entries.values() for one in lists}
        if currency.upper() not in sold:
            raise ConfigurationError(
                f"price_lists: {provider} has no list in {currency!r}; it has {', '.join(sorted(sold))}. "
                "Nothing is converted"
            )
        lists[provider] = currency.upper()
    return lists


def seller_of(book: Book, provider: str | None, model: str, at: datetime | date | str | None = None) -> tuple[str, str]:
    """The provider that bills a model, and the model: as given, as PROVIDER/MODEL, or the only one that sells it.

    Raises ConfigurationError where none is named and not exactly one sells the model at `at`.
    """
    check_text(model, "model", "deepseek-chat", needed=True)
    check_text(provider, "provider", "deepseek")
    if provider is not None:
        return provider, model
    head, slash, rest = model.partition("/")
    if slash and rest and not isinstance(book.provider_prices(head), str):
        return head, rest
    try:
        read_moment(at, UTC)
    except ValueError as error:
        raise ConfigurationError(f"at: {error}") from None
    sellers = book.sellers(model, at)
    if len(sellers) != 1:
        who = f"sold by {', '.join(sellers)}" if sellers else "sold by no provider of this book"
        example = sellers[0] if sellers else "deepseek"
        raise ConfigurationError(f"{model!r} is {who}: say who bills, as in provider={example!r}")
    return sellers[0], model
