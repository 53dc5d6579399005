"""What each budget's windows cost by the ledger, beside the limits of a budgets file.

The ledger knows in which window a call was counted (`budget_window`), for any store of budgets, one in memory too; it
does not know the limits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokenmeter.budgets.limits import CALLS, BudgetLimit
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import Snapshot, select

__all__ = ["BudgetUse", "WindowUse", "budget_uses"]

_MOST_WINDOWS: Final = 62
_MOST_BUDGETS: Final = 20


@dataclass(frozen=True)
class WindowUse:
    """One window: its spend in the budget's unit, its calls, and how many of them have no known cost."""

    window: str
    spent: Decimal
    calls: int
    unpriced: int


@dataclass(frozen=True)
class BudgetUse:
    """A budget's windows in order; `unit` is a currency or `calls`, `limit` is None where it is not known."""

    name: str
    unit: str
    limit: Decimal | None
    windows: tuple[WindowUse, ...]


def budget_uses(snapshot: Snapshot, question: Question, limits: Mapping[str, BudgetLimit]) -> list[BudgetUse]:
    """The newest windows of each budget that calls were counted in."""
    with select(snapshot, question) as (connection, where, values):
        columns = {row[1] for row in connection.execute("PRAGMA table_info(calls)")}
        if "budget_window" not in columns:  # an older ledger
            return []
        query = (
            "SELECT budget.key, budget.value, currency, exact_sum(amount), count(*) FROM "  # noqa: S608
            f"(SELECT budget_window, currency, amount FROM calls WHERE {where} AND budget_window IS NOT NULL) AS call, "
            "json_each(call.budget_window) AS budget GROUP BY 1, 2, 3 ORDER BY 1, 2 DESC"
        )
        found: dict[str, dict[str, dict[str | None, tuple[Decimal, int]]]] = {}
        for name, window, currency, amount, calls in connection.execute(query, values):
            if str(name) not in found and len(found) == _MOST_BUDGETS:
                break
            windows = found.setdefault(str(name), {})
            if str(window) in windows or len(windows) < _MOST_WINDOWS:
                windows.setdefault(str(window), {})[currency] = Decimal(amount or 0), calls
    return [use for name, windows in found.items() for use in _uses(name, windows, limits.get(name))]


def _uses(
    name: str, windows: Mapping[str, Mapping[str | None, tuple[Decimal, int]]], limit: BudgetLimit | None
) -> list[BudgetUse]:
    """A budget in its limit's unit, or in each currency of its calls where the limit is not known or in tokens."""
    known = limit is not None and (limit.is_money or limit.unit == CALLS)
    currencies = sorted({one for parts in windows.values() for one in parts if one is not None})
    units = [limit.unit] if limit is not None and known else currencies
    most = limit.amount(limit.units) if limit is not None and known else None
    return [
        BudgetUse(name, unit, most, tuple(_use(window, windows[window], unit) for window in sorted(windows)))
        for unit in units
    ]


def _use(window: str, parts: Mapping[str | None, tuple[Decimal, int]], unit: str) -> WindowUse:
    calls = sum(count for _, count in parts.values())
    spent = Decimal(calls) if unit == CALLS else parts.get(unit, (Decimal(0), 0))[0]
    return WindowUse(window, spent, calls, parts.get(None, (Decimal(0), 0))[1])
