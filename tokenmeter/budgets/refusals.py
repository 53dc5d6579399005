"""The errors of calls that a budget refuses: each names the budget, its figures, and the remedy."""

from __future__ import annotations

from tokenmeter.budgets.contract import BudgetRefusal
from tokenmeter.budgets.lines import SEPARATOR, BudgetLine
from tokenmeter.errors import BudgetExceeded

__all__ = ["away", "exceeded"]


def exceeded(now: int, line: BudgetLine, refused: BudgetRefusal) -> BudgetExceeded:
    limit, budget, asked = line.counter.limit, line.counter.budget, line.amount
    kind = "held" if asked <= limit.units - refused.spent and refused.spent < limit.units else "spent"
    resets = line.counter.windows.resets(line.window, refused.oldest)
    after = None if resets is None else max(0.0, (resets - now) / 1000)
    name = line.series.replace(SEPARATOR, " ")
    left = limit.show(max(0, limit.units - refused.spent - refused.held))
    message = (
        f"budget {name!r}: {limit.show(asked)} asked, {left} left of {limit.show(limit.units)}"
        f" ({limit.show(refused.spent)} spent, {limit.show(refused.held)} held by open calls)"
        f" in {line.window.label}"
    )
    if asked > limit.units:
        message += "; the call alone is above the limit: set a lower max_tokens or a higher limit"
    elif kind == "held":
        message += "; it would fit once others settle: wait=… on the budget waits for that"
    elif after is not None:
        message += f"; the window resets in {after:.0f} s"
    return BudgetExceeded(
        message,
        budget=budget.name,
        series=name,
        unit=limit.unit,
        limit=limit.amount(limit.units),
        spent=limit.amount(refused.spent),
        held=limit.amount(refused.held),
        asked=limit.amount(asked),
        kind=kind,
        resets_at_ms=resets,
        retry_after=after,
    )


def away(line: BudgetLine, reason: str) -> BudgetExceeded:
    limit, budget = line.counter.limit, line.counter.budget
    message = (
        f"budget {budget.name!r}: the budget store is away ({reason}), and on_store_error is 'closed':"
        " calls are refused until it is back; 'open' lets them through"
    )
    return BudgetExceeded(
        message,
        budget=budget.name,
        series=line.series.replace(SEPARATOR, " "),
        unit=limit.unit,
        limit=limit.amount(limit.units),
        kind="store",
    )
