"""A report's sums in one more currency, at the user's own dated rates, beside what the vendors bill.

Each call is converted at the last rate on or before the day, by UTC, on which it ended: the day that its span was
converted by. The amounts are summed exactly per rate and converted once; what no rate reaches is counted, never
guessed. The rates that were applied are kept, since a report names each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from functools import cache
from typing import Any, Final, NamedTuple

from tokenmeter.exchange import ExchangeRate, ExchangeRates
from tokenmeter.money import EXACT, plain

__all__ = ["Conversion", "ConvertedParts"]

_EPOCH: Final = date(1970, 1, 1)
_DAY_US: Final = 86_400_000_000


class ConvertedParts(NamedTuple):
    """One sum converted: the amount, None where nothing of it could be, and the calls that no rate reached."""

    amount: Decimal | None
    missing: int

    @classmethod
    def read(cls, text: str | None) -> ConvertedParts:
        """From what the aggregate answers; nothing was asked for where it answers nothing."""
        if text is None:
            return cls(None, 0)
        amount, _, missing = text.partition(" ")
        return cls(Decimal(amount) if amount != "?" else None, int(missing))


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

    def aggregate(self) -> _ConvertedSum:
        """An aggregate for SQLite: of amount, currency and instant."""
        return _ConvertedSum(self)

    @property
    def applied(self) -> list[ExchangeRate]:
        """The rates applied, by pair and day."""
        return sorted(self.used, key=lambda one: (one.pair, one.day))

    def to_dict(self) -> dict[str, Any]:
        """JSON form, with every rate applied."""
        return {"currency": self.currency, "rates": [rate.to_dict() for rate in self.applied]}


class _ConvertedSum:
    """SQL aggregate: `AMOUNT MISSING`, where `?` stands for no amount."""

    def __init__(self, conversion: Conversion) -> None:
        self._to = conversion
        self._sums: dict[ExchangeRate | None, Decimal] = {}
        self._missing = 0

    def step(self, amount: str | None, currency: str | None, ended_us: int) -> None:
        if amount is None or currency is None:
            return
        exact = Decimal(amount)
        rate = None
        if currency != self._to.currency and exact:  # nothing is nothing in every currency
            rate = self._to.rate(currency, ended_us // _DAY_US)
            if rate is None:
                self._missing += 1
                return
        self._sums[rate] = EXACT.add(self._sums.get(rate, Decimal(0)), exact)

    def finalize(self) -> str:
        total: Decimal | None = None
        for rate, amount in self._sums.items():
            part = amount
            if rate is not None:
                self._to.used.add(rate)
                part = rate.convert(amount, self._to.currency)
            total = part if total is None else EXACT.add(total, part)
        return f"{'?' if total is None else plain(total)} {self._missing}"
