"""Compares what a bill makes payable with its own list cost: discounts, packages, tax, and what is left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from tokenmeter.ledger.bills.bill_rows import BillLine
from tokenmeter.ledger.bills.differences import BillDifference
from tokenmeter.ledger.bills.values import decimals_of, exact_sum
from tokenmeter.money import EXACT, plain

__all__ = ["payable_differences"]

ZERO: Final = Decimal(0)


def payable_differences(
    lines: Iterable[BillLine], decimals: int | None, *, checksum: bool
) -> tuple[list[BillDifference], Decimal | None]:
    """The differences between list cost and what is payable, and the payable sum; None for a bill without it.

    With `checksum` the two come from different files of the vendor, which have to agree for each day and model but for
    what the bill itself names.
    """
    groups: dict[tuple[str, str | None], list[BillLine]] = defaultdict(list)
    for line in lines:
        groups[line.day, line.model].append(line)
    if not any(line.paid is not None for some in groups.values() for line in some):
        return [], None
    found: list[BillDifference] = []
    paid = ZERO
    for (day, model), some in sorted(groups.items(), key=lambda item: (item[0][0], item[0][1] or "")):
        group_paid = exact_sum(line.paid for line in some if line.paid is not None)
        paid = EXACT.add(paid, group_paid)
        listed = exact_sum(line.amount for line in some if line.amount is not None)
        named = ZERO
        for line in some:
            for cause, money, evidence in line.adjust:
                component = line.component if line.component != "total" else None
                found.append(BillDifference(cause, day, model, component, evidence, paid=money))
                named = EXACT.add(named, money)
        gap = EXACT.subtract(EXACT.subtract(group_paid, listed), named)
        if gap:
            tolerance = exact_sum(_unit(line.paid, decimals) for line in some if line.paid is not None)
            if abs(gap) <= tolerance:
                cause, evidence = "rounding", f"within {plain(tolerance)}, what rounding each payable line can make"
            else:
                cause = "unexplained"
                evidence = f"payable is {plain(group_paid)}; list cost and what the bill names make "
                evidence += plain(EXACT.add(listed, named))
                evidence += ": the vendor's own checksum does not hold" if checksum else ""
            found.append(BillDifference(cause, day, model, None, evidence, paid=gap))
    return found, paid


def _unit(paid: Decimal | None, decimals: int | None) -> Decimal:
    places = decimals_of(paid or ZERO) if decimals is None else decimals
    return Decimal(1).scaleb(-places)
