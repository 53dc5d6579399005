"""What saved bills say of a ledger's charges: the invoice, what a package paid for, and rows of the bill's own.

Inside a bill's days, usage is billed at the account's prices, but for what a package or a plan paid for, which is
billed at nothing. Every other difference of the reconciliation is a row of its own (Tax, Credit or Adjustment), so
that `BilledCost` of these days adds up to the bill, exactly.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Final, NamedTuple

from tokenmeter.ledger.bills.saved import SavedBill
from tokenmeter.money import EXACT

__all__ = ["BillRow", "BilledDays", "Bills"]

_ZERO: Final = Decimal(0)
_CONTRACT: Final = "promotion or contract"
_PACKAGE: Final = "free quota or package"


class BillRow(NamedTuple):
    """A charge that only the bill has. `start_us` and `end_us` are the day of the bill's clock."""

    category: str
    start_us: int
    end_us: int
    provider: str
    model: str | None
    component: str | None
    currency: str
    amount: Decimal
    cause: str
    evidence: str
    invoice: str | None
    bill: str


@dataclass(slots=True)
class _Sums:
    """What calls of a day and a model made: the account's discount on what it pays for, and the list of what it does
    not."""

    discount: Decimal = _ZERO
    free: Decimal = _ZERO


@dataclass(slots=True)
class BilledDays:
    """One bill, while the calls of its days are read in the order in which they ended."""

    bill: SavedBill
    name: str
    _sums: dict[tuple[str, str], _Sums] = field(default_factory=lambda: defaultdict(_Sums))
    _packages: dict[tuple[str, str, str], list[tuple[str, Decimal]]] = field(default_factory=lambda: defaultdict(list))
    """What packages paid for and calls have not used yet, by day, model and component."""
    _starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._starts = [start for _, start in self.bill.days]
        for one in self.bill.differences:
            if one.cause == _PACKAGE and one.quantity and one.component and one.model:
                self._packages[one.day, one.model, one.component].append((one.evidence, one.quantity))

    def day(self, ended_us: int) -> str:
        """The day of the bill's clock on which a call ended."""
        return self.bill.days[max(0, bisect_right(self._starts, ended_us) - 1)][0]

    def from_package(self, day: str, model: str, component: str, quantity: Decimal) -> tuple[Decimal, str]:
        """How much of a charge a package paid for, and what the bill says of it. Packages pay before cash."""
        left = self._packages.get((day, model, component))
        if not left:
            return _ZERO, ""
        evidence, there = left[0]
        used = min(there, quantity)
        left[0] = (evidence, EXACT.subtract(there, used))
        if not left[0][1]:
            left.pop(0)
        return used, evidence

    def add(self, day: str, model: str, amount: Decimal, listed: Decimal, *, free: bool) -> None:
        """Note a charge: what the account's prices and the list make of it, and whether a package pays for it."""
        sums = self._sums[day, model]
        if free:
            sums.free = EXACT.add(sums.free, listed)
        else:
            sums.discount = EXACT.add(sums.discount, EXACT.subtract(amount, listed))

    def rows(self) -> Iterator[BillRow]:
        """The rows of the bill's own, after all calls were added."""
        said: dict[tuple[str, str, str], Decimal] = defaultdict(Decimal)
        evidence: dict[tuple[str, str, str], str] = {}
        for one in self.bill.differences:
            if one.cause in (_CONTRACT, _PACKAGE):
                key = (one.cause, one.day, one.model or "")
                said[key] = EXACT.add(said[key], one.money)
                evidence.setdefault(key, one.evidence)
            elif one.money:
                yield self._row(one.cause, one.day, one.model, one.component, one.money, one.evidence)
        for (day, model), sums in self._sums.items():
            contract, package = (_CONTRACT, day, model), (_PACKAGE, day, model)
            said[contract] = EXACT.subtract(said[contract], sums.discount)
            said[package] = EXACT.add(said[package], sums.free)
        for (cause, day, model), money in sorted(said.items()):
            if money:
                words = evidence.get((cause, day, model), "the bill does not have what the ledger expects")
                yield self._row(cause, day, model or None, None, money, words)

    def _row(
        self, cause: str, day: str, model: str | None, component: str | None, money: Decimal, evidence: str
    ) -> BillRow:
        bill = self.bill
        at = [name for name, _ in bill.days].index(day)
        ends = [*self._starts[1:], bill.until_us]
        credit = cause in (_CONTRACT, _PACKAGE) and money < 0
        category = "Tax" if cause == "tax" else "Credit" if credit else "Adjustment"
        return BillRow(
            category, self._starts[at], ends[at], bill.provider, model, component, bill.currency, money, cause,
            evidence, bill.invoice, self.name,
        )  # fmt: skip


class Bills:
    """The saved bills that an export covers, day by day of each bill's clock.

    Days that are not wholly in the span of time stay provisional. `models` are those that the export selects.
    """

    def __init__(
        self,
        bills: Iterable[SavedBill] = (),
        since_us: int | None = None,
        until_us: int | None = None,
        models: Collection[str] = (),
    ) -> None:
        self._days: list[BilledDays] = []
        self._of: dict[tuple[str, str], list[BilledDays]] = defaultdict(list)
        for bill in bills:
            covered = _within(bill, since_us, until_us, models)
            if covered is not None:
                days = BilledDays(covered, bill.name)
                self._days.append(days)
                self._of[bill.provider, bill.currency].append(days)

    def __bool__(self) -> bool:
        return bool(self._days)

    def of(self, provider: str, currency: str, ended_us: int) -> BilledDays | None:
        """The bill that a call is on; None for a call that no bill covers."""
        for one in self._of.get((provider, currency), ()):
            if one.bill.since_us <= ended_us < one.bill.until_us:
                return one
        return None

    def rows(self) -> Iterator[BillRow]:
        """The rows of all bills, after all calls were added."""
        for one in self._days:
            yield from one.rows()


def _within(bill: SavedBill, since_us: int | None, until_us: int | None, models: Collection[str]) -> SavedBill | None:
    starts = [start for _, start in bill.days]
    ends = [*starts[1:], bill.until_us]
    kept = [
        (day, start, end)
        for (day, start), end in zip(bill.days, ends, strict=True)
        if (since_us is None or since_us <= start) and (until_us is None or end <= until_us)
    ]
    if not kept:
        return None
    names = {day for day, _, _ in kept}
    return replace(
        bill,
        days=tuple((day, start) for day, start, _ in kept),
        until_us=kept[-1][2],
        differences=tuple(one for one in bill.differences if one.day in names and (not models or one.model in models)),
    )
