"""Builds the enforcer of a meter from its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tokenmeter._support.guard import guard
from tokenmeter.budgets.alerts import Alerts
from tokenmeter.budgets.bound_values import Bound
from tokenmeter.budgets.budget import Budget
from tokenmeter.budgets.contract import BudgetStore
from tokenmeter.budgets.enforcer import Enforcer
from tokenmeter.budgets.lines import CallFacts
from tokenmeter.budgets.stores import open_store
from tokenmeter.budgets.watch import BudgetEvent, BudgetWatch

if TYPE_CHECKING:
    from tokenmeter.exchange import ExchangeRates

__all__ = ["build_enforcer"]


def build_enforcer(
    budgets: tuple[Budget, ...],
    store: str | BudgetStore,
    *,
    bound: Callable[[CallFacts, bool], Bound],
    clock: Callable[[], int],
    lease: float,
    deadline: float,
    opens: bool,
    exchange: ExchangeRates | None,
    on_threshold: Callable[[Any], object] | None,
    alerts: Sequence[str] = (),
    language: str = "en",
) -> Enforcer:
    """An enforcer of these budgets; its watch sends events to `on_threshold`."""

    alert = Alerts(alerts, language) if alerts else None

    def convert(amount: Decimal, base: str, to: str) -> Decimal | None:
        if exchange is None:
            return None
        from datetime import UTC, datetime

        from tokenmeter.money import Money

        converted = exchange.convert(Money(amount, base), to, datetime.fromtimestamp(clock() / 1e9, UTC))
        return converted.amount.amount if converted is not None else None

    def send(event: BudgetEvent) -> None:
        if on_threshold is not None:
            with guard("sending a budget event"):
                on_threshold(event)
        if alert is not None:
            alert(event)

    opened = open_store(store, clock, deadline=deadline, opens=opens) if isinstance(store, str) else store
    return Enforcer(
        budgets, opened, bound=bound, watcher=BudgetWatch(lease, send), convert=convert, lease=lease, clock=clock
    )
