"""The price book as a table of intervals, which SQL joins to calls: one row per name, period and tier.

A row holds from `valid_from` until `valid_until` for calls of a provider and model whose tokens lie in its ranges, and
has the price of one token of each component. The rows are read off the quotes that price calls in Python, so names,
overlays, discounts, contracts and stand-ins are decided already; a price that changes with the hour of the day has a
row for each span of hours. What a token table cannot say (steps, minimums, prices by other quantities) has no row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from tokenmeter.money import EXACT
from tokenmeter.offers import Offer
from tokenmeter.prices.book import Book
from tokenmeter.prices.components import check_params
from tokenmeter.prices.price_file import EVER
from tokenmeter.prices.provider_prices import ProviderPrices
from tokenmeter.prices.quote import Quote

__all__ = ["COLUMNS", "PRICES", "RANGED", "RateRow", "rate_rows"]

PRICES: Final = ("input", "cache_read", "cache_write", "output", "reasoning_output")
"""Components whose price per token a row has, NULL where it has none."""
RANGED: Final = ("input_tokens", "output_tokens", "reasoning_output_tokens", "cache_read_input_tokens")
"""Tokens that tiers can depend on."""
COLUMNS: Final[tuple[tuple[str, str], ...]] = (
    ("provider", "String"), ("model", "String"), ("valid_from", "DateTime"), ("valid_until", "DateTime"),
    *((f"{name}_{end}", "Integer") for name in RANGED for end in ("from", "below")),
    ("currency", "String"), *((f"{name}_each", "Decimal") for name in PRICES),
    ("rate_id", "String"), ("confidence", "String"), ("dating", "String"), ("book", "String"),
)  # fmt: skip
"""The columns, each a name and a type of `ledger/report/parquet.py`."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = -2_208_988_800.0
"""The year 1900; a price is asked for from there on."""


@dataclass(frozen=True, slots=True)
class RateRow:
    """One row: `ranges` are (from, below) by the order of `RANGED`, `each` prices of a token by that of `PRICES`."""

    provider: str
    model: str
    valid_from: datetime | None
    valid_until: datetime | None
    ranges: tuple[tuple[int | None, int | None], ...]
    each: tuple[Decimal | None, ...]
    currency: str | None
    rate_id: str | None
    confidence: str | None
    dating: str | None
    book: str | None

    def values(self) -> list[Any]:
        """The values of `COLUMNS`."""
        return [
            self.provider, self.model, self.valid_from, self.valid_until,
            *(edge for pair in self.ranges for edge in pair),
            self.currency, *self.each, self.rate_id, self.confidence, self.dating, self.book,
        ]  # fmt: skip


def rate_rows(
    book: Book,
    providers: Sequence[str],
    *,
    params: Mapping[str, Any] | None = None,
    until: datetime,
    models: Sequence[str] | None = None,
) -> Iterator[RateRow]:
    """The rows of some providers for requests of one form, the prices in force at `until` without an end.

    Only a price by the hour of the day ends at `until`. Raises ConfigurationError for a parameter that no price
    depends on.
    """
    asked = dict(params or {})
    check_params(asked)
    for provider in providers:
        prices = book.provider_prices(provider)
        if isinstance(prices, str):
            continue
        for model in prices.names.all() if models is None else models:
            for period in _merged(_periods(prices, model, asked, until.timestamp())):
                yield from _rows(provider, model, period)


class _Period(NamedTuple):
    """A period over which the same cells bill by the same offer."""

    since: float
    until: float
    offer: Offer
    cells: tuple[Any, ...]


def _periods(prices: ProviderPrices, model: str, params: Mapping[str, Any], last: float) -> Iterator[_Period]:
    instant = _FIRST
    while instant <= last:
        quote = prices.quote(model, None, params, instant)
        end = min(quote.until, last) if quote.has_windows else quote.until
        for start, stop in quote.spans(max(instant, quote.since), end):
            yield _Period(start, stop, quote.offer, tuple(_cells(quote, start)))
        instant = quote.until


def _cells(quote: Quote, instant: float) -> Iterator[tuple[Any, ...]]:
    """The ranges of tokens and the prices of each cell that a table can say."""
    for ranges, table in quote.cells(instant):
        each = table.each()
        if each is None or any(one is not None and not _fits(one) for one in each):
            continue
        if any(name not in RANGED and start not in (None, 0) for name, (start, _) in ranges.items()):
            continue  # a tier by media, which calls of text do not reach
        yield tuple(ranges.get(name, (None, None)) for name in RANGED), each


def _merged(periods: Iterator[_Period]) -> Iterator[_Period]:
    """The periods, of which a next one that says the same goes on: a flag may be all that changed between them."""
    before: _Period | None = None
    for one in periods:
        if before is not None and (before.until, before.offer, before.cells) == (one.since, one.offer, one.cells):
            before = before._replace(until=one.until)
            continue
        if before is not None:
            yield before
        before = one
    if before is not None:
        yield before


def _rows(provider: str, model: str, period: _Period) -> Iterator[RateRow]:
    offer = period.offer
    since = None if period.since <= _FIRST else _instant(period.since)
    until = None if period.until >= EVER else _instant(period.until)
    for ranges, each in period.cells:
        yield RateRow(
            provider, model, since, until, ranges, each, offer.list, offer.rate_id, offer.confidence, offer.dating,
            offer.book,
        )  # fmt: skip


def _fits(price: Decimal) -> bool:
    """Whether DECIMAL(28,18) holds a price exactly."""
    return EXACT.scaleb(price, 18) == EXACT.scaleb(price, 18).to_integral_value() and abs(price) < 10**10


def _instant(seconds: float) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)
