"""The list price of each charge of a call, where the account pays another price than the provider lists.

The ledger keeps the list price of a call as one sum. Of a call with one charge it is that charge's. Of several, one
ratio of discount on all of them is assumed where it gives list prices that are exact decimals (`ratio`); else the sum
is divided in proportion (`split`), without a unit price. The parts always add up to the sum, exactly.
"""

from __future__ import annotations

import decimal
from collections.abc import Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final, NamedTuple

from tokenmeter.money import EXACT

__all__ = ["ListPrice", "divided", "list_prices"]

_ROUND: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_STEP: Final = Decimal("1E-12")
_ZERO: Final = Decimal(0)


class ListPrice(NamedTuple):
    """What one charge costs by the provider's list: in all, for one unit of pricing (None: not known), and by what."""

    cost: Decimal
    unit: Decimal | None
    basis: str
    """`rate`: the price paid is the list price; `charge`, `ratio`, `split`: see above."""


def divided(part: Decimal, whole: Decimal) -> Decimal | None:
    """The exact quotient, None where it is not a decimal of at most 120 digits."""
    try:
        return EXACT.divide(part, whole)
    except decimal.DecimalException:
        return None


def list_prices(
    charges: Sequence[tuple[Decimal, Decimal, Decimal]], amount: Decimal, listed: Decimal | None
) -> list[ListPrice]:
    """The list price of each charge of a call of `amount`; a charge is (quantity as priced, unit price, amount)."""
    if listed is None or listed == amount:
        return [ListPrice(paid, unit, "rate") for _, unit, paid in charges]
    if len(charges) == 1:
        quantity = charges[0][0]
        return [ListPrice(listed, divided(listed, quantity) if quantity else None, "charge")]
    units = [divided(EXACT.multiply(unit, listed), amount) if amount else None for _, unit, _ in charges]
    if amount and sum_exact([paid for _, _, paid in charges]) == amount and None not in units:
        return [
            ListPrice(EXACT.multiply(quantity, unit), unit, "ratio")
            for (quantity, _, _), unit in zip(charges, units, strict=True)
            if unit is not None
        ]
    return _split([paid if amount else quantity for quantity, _, paid in charges], listed)


def sum_exact(numbers: Sequence[Decimal]) -> Decimal:
    """The exact sum."""
    total = _ZERO
    for number in numbers:
        total = EXACT.add(total, number)
    return total


def _split(weights: Sequence[Decimal], listed: Decimal) -> list[ListPrice]:
    """Parts in proportion to the weights, to twelve decimals; the last one takes what rounding leaves."""
    whole = sum_exact(weights)
    parts: list[Decimal] = []
    for weight in weights[:-1]:
        share = _ROUND.divide(_ROUND.multiply(listed, weight), whole) if whole else _ZERO
        parts.append(_ROUND.quantize(share, _STEP))
    parts.append(EXACT.subtract(listed, sum_exact(parts)))
    return [ListPrice(part, None, "split") for part in parts]
