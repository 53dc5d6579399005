"""`BudgetLimit`: the limit of a budget as an integer of a unit, and amounts in that unit.

Money is counted in billionths of its currency, tokens and calls in ones. Stores add and compare integers only; the
ledger keeps the exact cost, so the two differ by half a billionth a call at most.
"""

from __future__ import annotations

import decimal
import re
from decimal import Decimal
from typing import Final, NamedTuple

from tokenmeter.errors import ConfigurationError
from tokenmeter.money import EXACT, Money, exact_decimal, plain

__all__ = ["CALLS", "TOKENS", "BudgetLimit"]

TOKENS: Final = "tokens"
CALLS: Final = "calls"
# Redis compares in floating point, which is exact for integers below this.
_MOST: Final = 2**53 - 1
_PLACES: Final = (9, 6)
_ROUNDING: Final = decimal.Context(prec=120, rounding=decimal.ROUND_HALF_EVEN)
_TEXT: Final = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z]+)\s*")


class BudgetLimit(NamedTuple):
    """`units` of `10 ** -places` of `unit`, which is a currency (ISO 4217), `tokens` or `calls`."""

    units: int
    unit: str
    places: int

    @classmethod
    def read(cls, value: object, place: str) -> BudgetLimit:
        """The limit that `"50 CNY"`, `"2000000 tokens"`, `"500 calls"` or a `Money` says.

        Raises ConfigurationError naming `place` for a limit of zero, a negative one, NaN, a float, more digits than
        the unit has, and more than can be compared exactly (9,007,199,254 of a currency).
        """
        amount, unit = _parts(value, place)
        if amount <= 0:
            raise ConfigurationError(
                f"{place}: a limit of {plain(amount)} {unit} lets no call through; give more than 0"
            )
        for places in (0,) if unit in (TOKENS, CALLS) else _PLACES:
            scaled = amount.scaleb(places, EXACT)
            if scaled <= _MOST:
                if scaled != scaled.to_integral_value(context=_ROUNDING):
                    finest = "whole ones" if places == 0 else f"{places} decimals"
                    raise ConfigurationError(f"{place}: {plain(amount)} {unit} has more digits than are kept: {finest}")
                return cls(int(scaled), unit, places)
        most = _MOST if unit in (TOKENS, CALLS) else _MOST // 10 ** _PLACES[-1]
        raise ConfigurationError(
            f"{place}: {plain(amount)} {unit} is more than every store can compare exactly: at most {most:,} {unit}"
        )

    @property
    def is_money(self) -> bool:
        return self.unit not in (TOKENS, CALLS)

    def of(self, amount: Decimal, *, up: bool = False) -> int:
        """An amount of money or a number in units, rounded half-even, or with `up` never below the amount."""
        rounding = decimal.ROUND_CEILING if up else decimal.ROUND_HALF_EVEN
        return int(amount.scaleb(self.places, _ROUNDING).to_integral_value(rounding=rounding, context=_ROUNDING))

    def amount(self, units: int) -> Decimal:
        """So many units as a decimal number of the unit."""
        return Decimal(units).scaleb(-self.places, _ROUNDING)

    def show(self, units: int) -> str:
        """So many units for people: `"12.5 CNY"`, `"300 tokens"`."""
        return f"{plain(self.amount(units))} {self.unit}"


def _parts(value: object, place: str) -> tuple[Decimal, str]:
    if isinstance(value, Money):
        return value.amount, value.currency
    found = _TEXT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ConfigurationError(f'{place}: {value!r} is no limit; write "50 CNY", "2000000 tokens" or "500 calls"')
    number, unit = found.groups()
    kind = unit.lower()
    if kind in (TOKENS, CALLS, "token", "call"):
        unit = TOKENS if kind.startswith("token") else CALLS
    elif not re.fullmatch("[A-Z]{3}", unit):
        raise ConfigurationError(
            f'{place}: {unit!r} is no unit; a limit is in a currency such as "CNY", tokens or calls'
        )
    return exact_decimal(number.replace("_", "")), unit
