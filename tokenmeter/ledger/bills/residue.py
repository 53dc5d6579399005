"""What is left of a day and a model after equal quantities at equal prices are taken off both sides.

Lots keep their price, so that the money of every pair is exact: no price is ever made by a division that rounds.
"""

from __future__ import annotations

import decimal
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from tokenmeter.ledger.bills.bill_rows import BillLine
from tokenmeter.ledger.bills.metered import Key, MeteredSpend
from tokenmeter.ledger.bills.values import decimals_of, exact_sum
from tokenmeter.money import EXACT

__all__ = ["Lot", "Remainder", "Residue", "charges_of", "residue_of", "share_of", "take"]

ZERO: Final = Decimal(0)
_RATIO: Final = decimal.Context(prec=40, rounding=decimal.ROUND_HALF_EVEN)
PriceHint = Callable[[str], "Decimal | None"]


@dataclass(slots=True)
class Lot:
    """A quantity at one price. `extra` is money that belongs to it beside quantity x price."""

    component: str
    quantity: Decimal
    price: Decimal | None
    charged: str
    package: str | None = None
    batch: bool = False
    extra: Decimal = ZERO

    def part(self, quantity: Decimal) -> Decimal:
        """Take so much of it off; returns its money."""
        self.quantity = EXACT.subtract(self.quantity, quantity)
        money = EXACT.add(EXACT.multiply(self.price or ZERO, quantity), self.extra)
        self.extra = ZERO
        return money


@dataclass(frozen=True, slots=True)
class Remainder:
    """Money that quantities do not explain: `expected` at the prices of the ledger, `gap` more was charged.

    `quantity` is what was charged, None where the bill has no quantity; `tolerance` what rounding can make.
    """

    component: str | None
    expected: Decimal
    gap: Decimal
    quantity: Decimal | None
    tolerance: Decimal


@dataclass(slots=True)
class Residue:
    """One key's lots that have no equal on the other side, and its remainders of money."""

    billed: list[Lot] = field(default_factory=list)
    ours: list[Lot] = field(default_factory=list)
    remainders: list[Remainder] = field(default_factory=list)
    requests: Decimal | None = None
    """What the bill counts; None where it does not."""

    def net(self) -> dict[str, Decimal]:
        """What the bill has more of each component, where that is not zero."""
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for lots, sign in ((self.billed, 1), (self.ours, -1)):
            for lot in lots:
                signed = lot.quantity if sign > 0 else EXACT.minus(lot.quantity)
                sums[lot.component] = EXACT.add(sums[lot.component], signed)
        return {component: quantity for component, quantity in sums.items() if quantity}

    def tidy(self) -> None:
        """Drop lots that are used up."""
        self.billed = [lot for lot in self.billed if lot.quantity]
        self.ours = [lot for lot in self.ours if lot.quantity]


def take(lots: Iterable[Lot], component: str, quantity: Decimal) -> Decimal:
    """Take so much of a component off lots, in their order; returns the money."""
    money = ZERO
    for lot in lots:
        if lot.component == component and quantity and lot.quantity:
            part = min(lot.quantity, quantity, key=abs)
            money = EXACT.add(money, lot.part(part))
            quantity = EXACT.subtract(quantity, part)
    return money


def residue_of(key: Key, lines: list[BillLine], spend: MeteredSpend, hint: PriceHint, decimals: int | None) -> Residue:
    """Compare one key's lines with its calls. `hint` knows a price of a component that the key's calls do not show."""
    residue = Residue()
    residue.ours = [
        Lot(component, quantity, price, charged)
        for (component, price, charged), quantity in spend.parts.get(key, {}).items()
        if quantity
    ]
    priced = exact_sum(EXACT.multiply(lot.price or ZERO, lot.quantity) for lot in residue.ours)
    loose = EXACT.subtract(spend.amounts.get(key, ZERO), priced)
    by_component: dict[str, list[BillLine]] = defaultdict(list)
    for line in lines:
        if line.component == "requests":
            residue.requests = EXACT.add(residue.requests or ZERO, line.quantity or ZERO)
        elif line.component is not None:
            by_component[line.component].append(line)
    totals = [line for line in by_component.pop("total", []) if line.amount is not None]
    whole = ZERO
    counted = bool(by_component)
    for component, some in by_component.items():
        whole = EXACT.add(whole, _component(residue, component, some, hint, decimals, alone=not totals))
    if totals:
        if not counted:  # no quantity to compare: all of ours is in the sum
            whole, residue.ours = priced, []
        expected = EXACT.add(whole, loose)
        charged = exact_sum(line.amount or ZERO for line in totals)
        gap = EXACT.subtract(charged, expected)
        if gap:
            residue.remainders.append(Remainder(None, expected, gap, None, _tolerance(totals, decimals)))
    elif loose and any(line.amount is not None for line in lines):
        residue.remainders.append(Remainder(None, loose, EXACT.minus(loose), None, ZERO))
    residue.tidy()
    return residue


def _component(
    residue: Residue, component: str, lines: list[BillLine], hint: PriceHint, decimals: int | None, *, alone: bool
) -> Decimal:
    """Cancel one component's lines; returns what they cost at the prices of the ledger."""
    ours = [lot for lot in residue.ours if lot.component == component]
    for line in lines:
        if line.price is None or line.quantity is None:
            continue
        residue.billed.append(_cancelled(line, line.quantity, ours))
        printed = EXACT.multiply(line.price, line.quantity)
        gap = EXACT.subtract(printed if line.amount is None else line.amount, printed)
        if gap:
            residue.remainders.append(Remainder(component, printed, gap, line.quantity, _tolerance([line], decimals)))
    others = [line for line in lines if line.price is None or line.quantity is None]
    if not others:
        return ZERO
    amounts = [line for line in others if line.amount is not None]
    quantities = [line.quantity for line in others if line.quantity is not None]
    charged = exact_sum(line.amount or ZERO for line in amounts)
    if not quantities:
        expected = exact_sum(lot.part(lot.quantity) for lot in ours)
        _add_remainder(residue, component, expected, charged, None, _tolerance(amounts, decimals))
        return expected
    quantity = exact_sum(quantities)
    expected, left = ZERO, quantity
    for lot in ours:
        if lot.quantity and (lot.quantity > 0) == (left > 0):
            part = min(lot.quantity, left, key=abs)
            expected = EXACT.add(expected, lot.part(part))
            left = EXACT.subtract(left, part)
    if left:
        price = next((lot.price for lot in ours if lot.price is not None), None) or hint(component)
        batch = any(line.batch for line in others)
        rest = Lot(component, left, price, component, batch=batch)
        if price is None and amounts and alone:
            rest.extra = EXACT.subtract(charged, expected)
            charged = expected
        residue.billed.append(rest)
        if price is not None:
            expected = EXACT.add(expected, EXACT.multiply(price, left))
    if amounts:
        _add_remainder(residue, component, expected, charged, quantity, _tolerance(amounts, decimals))
    return expected


def _cancelled(line: BillLine, quantity: Decimal, ours: list[Lot]) -> Lot:
    """What is left of a priced line after lots of the same price are taken off."""
    lot = Lot(line.component or "", quantity, line.price, line.component or "", line.package, line.batch)
    for one in ours:
        if one.price == line.price and one.quantity and lot.quantity and (one.quantity > 0) == (lot.quantity > 0):
            part = min(one.quantity, lot.quantity, key=abs)
            one.part(part)
            lot.part(part)
    return lot


def _add_remainder(
    residue: Residue, component: str, expected: Decimal, charged: Decimal, quantity: Decimal | None, tolerance: Decimal
) -> None:
    gap = EXACT.subtract(charged, expected)
    if gap:
        residue.remainders.append(Remainder(component, expected, gap, quantity, tolerance))


def _tolerance(lines: list[BillLine], decimals: int | None) -> Decimal:
    """What rounding or cutting each line's amount to its decimals can make of the sum."""
    total = ZERO
    for line in lines:
        places = decimals_of(line.amount or ZERO) if decimals is None else decimals
        total = EXACT.add(total, Decimal(1).scaleb(-places))
    return total


def share_of(expected: Decimal, gap: Decimal, tolerance: Decimal) -> Decimal | None:
    """The short factor (four digits at most) that makes what was charged of what was expected; None if none does."""
    if expected <= 0:
        return None
    charged = EXACT.add(expected, gap)
    factor = _RATIO.divide(charged, expected).quantize(Decimal("0.0001"), context=_RATIO)
    if not 0 <= factor < 10 or factor == 1:
        return None
    return factor if abs(EXACT.subtract(EXACT.multiply(expected, factor), charged)) <= tolerance else None


def charges_of(residues: Mapping[Key, Residue]) -> Decimal:
    """The money of everything that is left: the gap of the cost layer."""
    total = ZERO
    for residue in residues.values():
        for lots, sign in ((residue.billed, 1), (residue.ours, -1)):
            for lot in lots:
                money = EXACT.add(EXACT.multiply(lot.price or ZERO, lot.quantity), lot.extra)
                total = EXACT.add(total, EXACT.multiply(money, Decimal(sign)))
        for rest in residue.remainders:
            total = EXACT.add(total, rest.gap)
    return total
