"""`BudgetGate`: gives each call of a meter the budgets that may be for it; `admit`: asks them, for hooks."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import guard

if TYPE_CHECKING:
    from tokenmeter.budgets.contract import BudgetStore
    from tokenmeter.budgets.enforcer import Enforcer
    from tokenmeter.calls.opencall import OpenCall

__all__ = ["BudgetGate", "admit", "admit_async"]


class BudgetGate:
    """The budgets of one meter. With `always` there are some for every call, else only scopes may have one.

    `build` makes the enforcer, given the open store of the meter before, if that is to be used on.
    """

    def __init__(
        self, build: Callable[[BudgetStore | None], Enforcer], *, always: bool, store: BudgetStore | None
    ) -> None:
        self._build = build
        self._store = store
        self.forked()
        on_fork(self)
        self.enforcer: Enforcer | None = build(store) if always else None

    def forked(self) -> None:
        self._lock = threading.Lock()

    @property
    def store(self) -> BudgetStore | None:
        """The open store; None where nothing has been asked."""
        return self.enforcer.store if self.enforcer is not None else self._store

    def ask(self, call: OpenCall, body: object) -> None:
        """Have the hook of a call ask the budgets that may be for it, before it sends `body`."""
        scoped = call.scope.budgets if call.scope is not None else ()
        if self.enforcer is None:
            if not scoped:
                return
            with guard("opening the budget of a scope"), self._lock:
                if self.enforcer is None:
                    self.enforcer = self._build(self._store)
        if self.enforcer is not None:
            from tokenmeter.calls.call_budget import CallBudget

            call.budget = CallBudget(self.enforcer, body, scoped)
            with guard("starting to charge"):
                self.enforcer.start()  # a result of a batch is charged without being asked for

    def flush(self, timeout: float) -> bool:
        """Charge what is put off; whether all was in time."""
        return self.enforcer is None or self.enforcer.flush(timeout)


def admit(call: OpenCall | None) -> None:
    """Ask the budgets of a call that is about to be sent. Raises BudgetExceeded. For hooks."""
    if call is not None and call.budget is not None:
        call.budget.admit(call)


async def admit_async(call: OpenCall | None) -> None:
    """`admit` for coroutines."""
    if call is not None and call.budget is not None:
        await call.budget.admit_async(call)
