"""The prices of a book by form of request, and sums of whole amounts: what pricing many calls shares."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from tokenmeter.ledger.valuation.linear_prices import FormPrices, LinearPrices, linear_tokens
from tokenmeter.ledger.valuation.stored_calls import CallRow, Form, params_of
from tokenmeter.prices.book import Book

__all__ = ["BookForms", "WholeSums"]

_MOST: Final = 20_000
"""Forms that are kept: parameters may be anything."""


class WholeSums:
    """Sums of whole amounts by kind and currency."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], int] = defaultdict(int)

    def add(self, kind: str, currency: str, total: int) -> None:
        """Add an amount."""
        self._sums[kind, currency] += total

    def take(self) -> Iterator[tuple[tuple[str, str], int]]:
        """The sums by kind and currency; none are left."""
        sums, self._sums = self._sums, defaultdict(int)
        yield from sums.items()


class BookForms:
    """A book, and the prices of the forms of request that calls had."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self._forms: dict[Form, FormPrices | None] = {}

    def linear(self, row: CallRow, at: float | None) -> tuple[int, LinearPrices] | None:
        """What a call costs on the price list it was billed by, and by what; None for the general way.

        `at` is in seconds since 1970, None for the call's own instant.
        """
        usual = row.usual()
        tokens = None if usual is None else linear_tokens(*usual)
        if usual is None or tokens is None:
            return None
        form = row.form
        try:
            prices = self._forms[form]
        except KeyError:
            prices = self._open(form)
        if prices is None:
            return None
        found = prices.at(row.instant() if at is None else at, usual[0], usual[1], tokens)
        if found is None:
            return None
        total = found.amount(tokens)
        return (total, found) if total else None  # what costs nothing may be free, or have a reason

    def _open(self, form: Form) -> FormPrices | None:
        if len(self._forms) >= _MOST:
            self._forms.clear()
        provider, model, response_model = form[:3]
        asked = model or response_model
        prices = None
        if provider is not None and asked:
            prices = FormPrices(self.book, provider, asked, response_model, params_of(form))
        self._forms[form] = prices
        return prices
