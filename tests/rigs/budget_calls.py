"""Calls for an enforcer, without a meter: what they ask is what a test says."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tokenmeter.budgets.bound_values import Bound
from tokenmeter.budgets.budget import Budget
from tokenmeter.budgets.contract import BudgetStore
from tokenmeter.budgets.enforcer import Enforcer
from tokenmeter.budgets.lines import CallFacts
from tokenmeter.budgets.watch import BudgetEvent, BudgetWatch

__all__ = ["bound_of", "enforcer", "facts"]

_numbers = itertools.count()


def bound_of(
    input_amount: str | None, per_output: str = "0", *, tokens: int = 10, limit: int | None = 1, currency: str = "CNY"
) -> Bound:
    """A bound of so much for the input and for each token of the answer; None: no price is known."""
    if input_amount is None:
        return Bound(None, None, (), False, "no rate for this model", None, None, None, tokens, limit)
    return Bound(None, None, (), True, None, currency, Decimal(input_amount), Decimal(per_output), tokens, limit)


def enforcer(
    *budgets: Budget,
    bound: Bound | None = None,
    store: BudgetStore | None = None,
    events: list[BudgetEvent] | None = None,
    **more: Any,
) -> Enforcer:
    """An enforcer whose calls all have one bound: 1 CNY of input unless said otherwise."""
    chosen = bound if bound is not None else bound_of("1")
    watch = BudgetWatch(600, events.append if events is not None else lambda event: None)
    return Enforcer(budgets, store, bound=lambda facts, exact: chosen, watcher=watch, **more)


def facts(tags: Mapping[str, str] | None = None, **more: Any) -> CallFacts:
    """A call of deepseek-chat."""
    fields: dict[str, Any] = {"provider": "deepseek", "model": "deepseek-chat", "body": {"max_tokens": 1}, **more}
    return CallFacts(
        f"call {next(_numbers)}",
        fields["provider"],
        fields["model"],
        None,
        tags or {},
        fields["body"],
        stream=fields.get("stream", False),
        scopes=fields.get("scopes", ()),
    )
