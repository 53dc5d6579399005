"""Starts a memory or empty store with what a ledger says was spent, so that a crash loop gets no fresh budget."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import NamedTuple

from tokenmeter.budgets.contract import BudgetCharge, BudgetStore
from tokenmeter.budgets.limits import CALLS, TOKENS
from tokenmeter.budgets.lines import BudgetCounter, CallFacts
from tokenmeter.budgets.windows import BudgetWindow

__all__ = ["PastCall", "earliest", "seed"]


class PastCall(NamedTuple):
    """One call that a ledger holds; `at` in ms since the epoch, `amount` exact."""

    at: int
    provider: str | None
    model: str | None
    tags: Mapping[str, str]
    amount: Decimal | None
    currency: str | None
    tokens: int


def earliest(counters: Iterable[BudgetCounter], now: int) -> int | None:
    """From when on calls count in any current window, ms since the epoch; None where no budget looks back."""
    starts = [window.start - (window.span - 1) * (window.end - window.start) for window in _current(counters, now)]
    return min(starts, default=None)


def _current(counters: Iterable[BudgetCounter], now: int) -> list[BudgetWindow]:
    return [counter.windows.at(now) for counter in counters if counter.budget.per != "scope"]


def seed(counters: Iterable[BudgetCounter], store: BudgetStore, calls: Iterable[PastCall]) -> int:
    """Charge past calls to the counters that have no spend yet; how many counters were seeded."""
    sums: dict[tuple[str, int], int] = {}
    windows: dict[tuple[str, int], BudgetWindow] = {}
    kept = [counter for counter in counters if counter.budget.per != "scope"]
    for call in calls:
        facts = CallFacts("", call.provider, call.model, None, call.tags, None, stream=False)
        for counter in kept:
            series = counter.series(facts)
            amount = _amount(counter, call)
            if series is not None and amount:
                window = counter.windows.at(call.at)
                key = (series, window.bucket)
                windows[key] = window
                sums[key] = sums.get(key, 0) + amount
    empty = [key for key in sums if store.read(key[0], key[1], 1).spent == 0]
    charges = []
    for key in empty:
        window = windows[key]
        charges.append(BudgetCharge(key[0], window.bucket, window.span, window.until, sums[key]))
    store.charge(charges)
    return len(empty)


def _amount(counter: BudgetCounter, call: PastCall) -> int:
    limit = counter.limit
    if limit.unit == CALLS:
        return 1
    if limit.unit == TOKENS:
        return call.tokens
    return limit.of(call.amount) if call.amount is not None and call.currency == limit.unit else 0
