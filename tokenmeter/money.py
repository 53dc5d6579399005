"""Exact amounts of money.

An amount never travels without its currency and is never a float. Arithmetic runs in a decimal context of our
own that traps every inexact result, so the host's `decimal.getcontext()` can neither round our sums nor be
changed by them. Rounding is for showing: `Money.rounded`, `str(money)` and `plain` never feed a computation.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from tokenmeter._support.late_dataclass import late_dataclass
from tokenmeter.errors import CurrencyMismatch

__all__ = ["EXACT", "Money", "exact_decimal", "plain", "sum_money"]

# 120 digits hold any product of a rate and a quantity that a vendor could print, with room for sums of billions
# of them; beyond that the trap raises rather than rounds.
EXACT: Final = decimal.Context(
    prec=120,
    rounding=decimal.ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    traps=[
        decimal.Inexact,
        decimal.Rounded,
        decimal.InvalidOperation,
        decimal.DivisionByZero,
        decimal.Overflow,
        decimal.FloatOperation,
    ],
)
_SHOW: Final = decimal.Context(prec=60, rounding=decimal.ROUND_HALF_EVEN)
_ZERO: Final = Decimal(0)


def exact_decimal(value: int | str | Decimal) -> Decimal:
    """Read an exact finite decimal. Floats and booleans are refused: they are not exact figures."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise TypeError(f"{value!r} is a {type(value).__name__}: money is made from int, str or Decimal")
    try:
        number = EXACT.create_decimal(value)
    except decimal.DecimalException:
        raise ValueError(f"{value!r} is not an exact decimal number") from None
    if not number.is_finite():
        raise ValueError(f"{value!r} is not a finite number")
    return number


def plain(number: Decimal | int) -> str:
    """Write a number in plain notation: no exponent, no trailing zeros, no "-0".

    >>> plain(Decimal("1.2300E+3")), plain(Decimal("0.000")), plain(Decimal("1E-7"))
    ('1230', '0', '0.0000001')
    """
    text = f"{number:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


@late_dataclass(frozen=True, slots=True)
class Money:
    """An exact amount in one currency (ISO 4217 code).

    >>> Money(Decimal("0.10"), "CNY") + Money(Decimal("0.20"), "CNY")
    Money(amount=Decimal('0.30'), currency='CNY')

    Raises TypeError for a float amount and ValueError for NaN, infinity or an empty currency.
    """

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        if type(self.amount) is not Decimal or not self.amount.is_finite():
            object.__setattr__(self, "amount", exact_decimal(self.amount))
        if not self.currency or not isinstance(self.currency, str):
            raise ValueError("money needs a currency, such as 'CNY'")

    def _same(self, other: Money, verb: str) -> None:
        if self.currency != other.currency:
            raise CurrencyMismatch(
                f"cannot {verb} {other.currency} and {self.currency}: convert one of them at a dated rate first"
            )

    def __add__(self, other: Money) -> Money:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other, "add")
        return Money(EXACT.add(self.amount, other.amount), self.currency)

    def __sub__(self, other: Money) -> Money:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other, "subtract")
        return Money(EXACT.subtract(self.amount, other.amount), self.currency)

    def __mul__(self, factor: int | Decimal) -> Money:
        if isinstance(factor, bool) or not isinstance(factor, int | Decimal):
            return NotImplemented
        return Money(EXACT.multiply(self.amount, exact_decimal(factor)), self.currency)

    __rmul__ = __mul__

    def __neg__(self) -> Money:
        return Money(EXACT.minus(self.amount), self.currency)

    def __lt__(self, other: Money) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other, "compare")
        return self.amount < other.amount

    def __le__(self, other: Money) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other, "compare")
        return self.amount <= other.amount

    def __bool__(self) -> bool:
        return self.amount != _ZERO

    def __str__(self) -> str:
        return f"{plain(self.amount)} {self.currency}"

    def rounded(self, places: int = 4) -> str:
        """The amount for people, rounded half-even to `places` decimals. For showing only."""
        return f"{_SHOW.quantize(self.amount, Decimal(1).scaleb(-places)):f} {self.currency}"


def sum_money(amounts: Iterable[Money]) -> dict[str, Money]:
    """Exact totals by currency; an empty iterable gives an empty dict."""
    totals: dict[str, Decimal] = {}
    for money in amounts:
        totals[money.currency] = EXACT.add(totals.get(money.currency, _ZERO), money.amount)
    return {currency: Money(amount, currency) for currency, amount in totals.items()}
