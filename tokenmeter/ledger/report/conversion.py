"""A report's sums in one more currency, at the user's own dated rates, beside what the vendors bill.

Each call is converted at the last rate on or before the day, by UTC, on which it ended: the day that its span was
converted by. So a group is asked for its sums by day; they are added exactly per rate and converted once. What no rate
reaches is counted, never guessed. The rates that were applied are kept, since a report names each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final

from tokenmeter.exchange import ExchangeRate, ExchangeRates
from tokenmeter.money import EXACT

__all__ = ["Conversion", "ConvertedSum"]

_EPOCH: Final = date(1970, 1, 1)


class Conversion:
    """Into `currency`, at `rates`. `used` holds the rates that a report applied, after it was asked."""

    def __init__(self, currency: str, rates: ExchangeRates) -> None:
        self.currency = currency
        self.rates = rates
        self.used: set[ExchangeRate] = set()

        @cache
        def rate(original: str, day: int) -> ExchangeRate | None:
            return rates.rate(original, currency, _EPOCH + timedelta(days=day))

        self.rate: Callable[[str, int], ExchangeRate | None] = rate

    @property
    def applied(self) -> list[ExchangeRate]:
        """The rates applied, by pair and day."""
        return sorted(self.used, key=lambda one: (one.pair, one.day))

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with every rate applied."""
        return {"currency": self.currency, "rates": [rate.to_dict() for rate in self.applied]}


class ConvertedSum:
    """The sum of one group and currency, converted; `missing` counts the calls that no rate reaches."""

    def __init__(self, conversion: Conversion, currency: str) -> None:
        self.missing = 0
        self._to = conversion
        self._currency = currency
        self._sums: dict[ExchangeRate | None, Decimal] = {}

    def add(self, amount: Decimal, day: int, calls: int, *, nothing: bool) -> None:
        """Add what some calls of a day since 1970 cost together; `nothing` says that each of them was free."""
        rate = None
        if self._currency != self._to.currency and not nothing:  # nothing is nothing in every currency
            rate = self._to.rate(self._currency, day)
            if rate is None:
                self.missing += calls
                return
        self._sums[rate] = EXACT.add(self._sums.get(rate, Decimal(0)), amount)

    @property
    def amount(self) -> Decimal | None:
        """The amount in the other currency; None where nothing of it could be converted."""
        total: Decimal | None = None
        for rate, amount in self._sums.items():
            part = amount
            if rate is not None:
                self._to.used.add(rate)
                part = rate.convert(amount, self._to.currency)
            total = part if total is None else EXACT.add(total, part)
        return total
