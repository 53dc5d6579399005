"""What budgets stand at: limit, spent, held and left of each window, for the command line, metrics and reports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from tokenmeter.budgets.contract import BudgetCharge, BudgetStore
from tokenmeter.budgets.limits import CALLS, TOKENS
from tokenmeter.budgets.lines import SEPARATOR, BudgetCounter, CallFacts
from tokenmeter.money import Money, plain

__all__ = ["BudgetStatus", "charge_by_hand", "status_of", "statuses"]


class BudgetStatus(NamedTuple):
    """One window of one budget, or of one value of its `each`. Amounts are exact numbers of `unit`.

    `lost` is the part of `spent` that was charged for calls whose process vanished, `lost_calls` their number.
    """

    budget: str
    value: str | None
    window: str
    unit: str
    limit: Decimal
    spent: Decimal
    held: Decimal
    lost: Decimal
    lost_calls: int
    resets_at: datetime | None

    @property
    def left(self) -> Decimal:
        return max(Decimal(0), self.limit - self.spent - self.held)

    def to_dict(self) -> dict[str, Any]:
        """JSON form: amounts are strings in plain notation."""
        amounts = {name: plain(getattr(self, name)) for name in ("limit", "spent", "held", "left", "lost")}
        return {
            "budget": self.budget,
            "value": self.value,
            "window": self.window,
            "unit": self.unit,
            **amounts,
            "lost_calls": self.lost_calls,
            "resets_at": self.resets_at.isoformat() if self.resets_at is not None else None,
        }


def statuses(counters: Iterable[BudgetCounter], store: BudgetStore) -> list[BudgetStatus]:
    """The current windows of budgets, each value of an `each` apart. Raises StoreError where the store is away."""
    found: list[BudgetStatus] = []
    for counter in counters:
        budget = counter.budget
        names = [budget.name] if budget.each is None else store.series(f"{budget.name}{SEPARATOR}")
        found.extend(status_of(counter, name, store) for name in names)
    return found


def status_of(counter: BudgetCounter, series: str, store: BudgetStore) -> BudgetStatus:
    """The current window of one series."""
    window = counter.windows.at(store.now())
    limit = counter.limit
    seen = store.read(series, window.bucket, window.span)
    resets = counter.windows.resets(window, None)
    return BudgetStatus(
        counter.budget.name,
        series.partition(SEPARATOR)[2] or None,
        window.label,
        limit.unit,
        limit.amount(limit.units),
        limit.amount(seen.spent),
        limit.amount(seen.held),
        limit.amount(seen.lost),
        seen.lost_calls,
        datetime.fromtimestamp(resets / 1000, UTC) if resets is not None else None,
    )


def charge_by_hand(
    counters: Iterable[BudgetCounter],
    store: BudgetStore,
    facts: CallFacts,
    *,
    cost: Money | None,
    tokens: int | None,
    calls: int = 1,
) -> list[str]:
    """Charge spend of other programs to every budget that it falls under; the names of the series charged.

    A budget in another currency than `cost` is not charged, and neither is one of tokens where they are not known.
    """
    charges = []
    for counter in counters:
        series = counter.series(facts)
        limit = counter.limit
        known: Mapping[str, Decimal | None] = {
            CALLS: Decimal(calls),
            TOKENS: None if tokens is None else Decimal(tokens),
            **({cost.currency: cost.amount} if cost is not None else {}),
        }
        amount = known.get(limit.unit)
        if series is not None and amount is not None:
            window = counter.windows.at(store.now())
            charges.append(BudgetCharge(series, window.bucket, window.span, window.until, limit.of(amount)))
    store.charge(charges)
    return [charge.series.replace(SEPARATOR, " ") for charge in charges]
