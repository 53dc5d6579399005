"""The fast way to price many calls: sums of whole numbers, for forms of request that repeat.

Most calls use text, caches and reasoning only, at prices that are multiples of 10⁻¹⁸: what they cost is a sum of
products of integers. Each form of request (provider, models, parameters) is looked up in the book once for each
period, window of the day and tier. Whatever else there is (media, fees, steps, nothing to pay, nothing known) is
answered None, and goes the general way through `Book.price`; both give the same amounts, to the digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from tokenmeter.money import EXACT
from tokenmeter.prices.book import Book
from tokenmeter.prices.charges import Table
from tokenmeter.prices.quote import Quote
from tokenmeter.prices.resolved_rate import ResolvedRate
from tokenmeter.usage import TOKEN_FIELDS

__all__ = [
    "DIGITS",
    "QUARTER",
    "FormPrices",
    "LinearPrices",
    "RateOf",
    "Tokens",
    "amount_of",
    "amount_text",
    "linear_of",
    "linear_tokens",
]

DIGITS: Final = 18
"""Decimals of the integers that amounts are summed in."""
QUARTER: Final = 900
"""Seconds of a quarter of an hour: what changes inside of one is priced call by call."""
_MOST_QUARTERS: Final = 100_000
_ONE: Final = 10**DIGITS
_UNIT: Final = Decimal(_ONE)
Tokens = tuple[int, int, int, int, int]
"""Tokens that nothing else contains: text input, cache read, cache write, output, reasoning."""


class LinearPrices(NamedTuple):
    """The prices of a table as integers, each None where it has no price; and whose they are."""

    units: tuple[int | None, ...]
    rate_id: str | None
    currency: str

    def amount(self, tokens: Tokens) -> int | None:
        """What so many tokens cost; None where one has no price."""
        total = 0
        for unit, number in zip(self.units, tokens, strict=True):
            if number:
                if unit is None:
                    return None
                total += unit * number
        return total


class RateOf(NamedTuple):
    """A rate, and the quote that it is of."""

    rate: ResolvedRate
    quote: Quote


def linear_tokens(whole_in: int, whole_out: int, read: int, written: int, thought: int) -> Tokens | None:
    """The tokens of a usage that has nothing but these; None where parts contradict their total."""
    fresh, said = whole_in - read - written, whole_out - thought
    if fresh < 0 or said < 0 or read < 0 or written < 0 or thought < 0:
        return None
    return fresh, read, written, said, thought


def amount_of(total: int) -> Decimal:
    """An amount as exact money."""
    return EXACT.divide(Decimal(total), _UNIT)


def amount_text(total: int) -> str:
    """An amount in plain notation, as `plain` writes it."""
    whole, rest = divmod(total, _ONE)
    return f"{whole}.{rest:0{DIGITS}d}".rstrip("0") if rest else str(whole)


class _Sample:
    """What a tier looks at in a usage. One is kept for all calls."""

    __slots__ = (*TOKEN_FIELDS, "quantities")

    def __init__(self) -> None:
        for name in TOKEN_FIELDS:
            setattr(self, name, None)
        self.quantities: Mapping[str, Any] = {}


class FormPrices:
    """The prices of one form of request, at any instant."""

    def __init__(
        self, book: Book, provider: str, model: str, response_model: str | None, params: Mapping[str, Any]
    ) -> None:
        self._book, self._asked = book, (provider, model, response_model, params)
        self._since = self._until = 0.0
        self._quote: Quote | None = None
        self._only: LinearPrices | None = None
        self._known: dict[Table, LinearPrices | None] = {}
        self._quarters: dict[int, RateOf | None] = {}
        self._sample: Any = _Sample()

    def at(self, instant: float, whole_in: int, whole_out: int, tokens: Tokens) -> LinearPrices | None:
        """The prices in force for a usage at an instant (seconds since 1970); None for the general way."""
        if not self._since <= instant < self._until:
            self._open(instant)
        if self._only is not None:
            return self._only
        quote = self._quote
        if quote is None:
            return None
        sample = self._sample
        sample.input_tokens, sample.output_tokens = whole_in, whole_out
        _, sample.cache_read_input_tokens, sample.cache_write_input_tokens, _, sample.reasoning_output_tokens = tokens
        table = quote.table(sample, instant)
        return None if isinstance(table, str) else self._linear(table, quote)

    def rate_at(self, instant: float) -> RateOf | None:
        """The rate in force at an instant; None where there is none."""
        return self._between(instant, instant)

    def rate_in(self, quarter: int) -> RateOf | None:
        """The rate in force all through a quarter of an hour since 1970; None where it changes, or there is none."""
        try:
            return self._quarters[quarter]
        except KeyError:
            if len(self._quarters) >= _MOST_QUARTERS:
                self._quarters.clear()
            found = self._quarters[quarter] = self._between(quarter * QUARTER, (quarter + 1) * QUARTER)
            return found

    def _between(self, since: float, until: float) -> RateOf | None:
        if not self._since <= since < self._until:
            self._open(since)
        rate = None if self._quote is None else self._quote.rate_between(since, until)
        return None if rate is None or self._quote is None else RateOf(rate, self._quote)

    def of_rate(
        self, found: RateOf, whole_in: int, whole_out: int, read: int, written: int, thought: int
    ) -> LinearPrices | None:
        """The prices of a rate for a usage; None for the general way."""
        sample = self._sample
        sample.input_tokens, sample.output_tokens, sample.reasoning_output_tokens = whole_in, whole_out, thought
        sample.cache_read_input_tokens, sample.cache_write_input_tokens = read, written
        table = found.rate.table(sample)
        return None if isinstance(table, str) else self._linear(table, found.quote)

    def _open(self, instant: float) -> None:
        quote = self._quote = self._book.quote(*self._asked, instant)
        self._only = None
        if quote is None:
            self._since, self._until = instant, instant
            return
        self._since, self._until = quote.since, quote.until
        table = quote.only_table()
        if table is not None:
            self._only = self._linear(table, quote)

    def _linear(self, table: Table, quote: Quote) -> LinearPrices | None:
        try:
            return self._known[table]
        except KeyError:
            found = self._known[table] = linear_of(table, quote)
            return found


def linear_of(table: Table, quote: Quote) -> LinearPrices | None:
    """The prices of a table as integers; None where an amount is not the sum of prices times tokens."""
    units = table.units()
    if units is None:
        return None
    whole: list[int | None] = []
    for unit in units:
        scaled = None if unit is None else EXACT.multiply(unit, _UNIT)
        if scaled is not None and scaled != int(scaled):
            return None
        whole.append(None if scaled is None else int(scaled))
    return LinearPrices(tuple(whole), quote.offer.rate_id, quote.offer.list or "")
