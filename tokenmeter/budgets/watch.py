"""Watches what budgets do: renews the holds of open calls, and sends an event once per window and threshold."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import guard
from tokenmeter._support.worker import worker
from tokenmeter.budgets.contract import BudgetStore
from tokenmeter.budgets.lines import SEPARATOR, BudgetLine
from tokenmeter.budgets.reservation import BudgetReservation
from tokenmeter.errors import BudgetExceeded

__all__ = ["BudgetEvent", "BudgetWatch"]

_NEVER: Final = 1 << 61


@dataclass(frozen=True, slots=True)
class BudgetEvent:
    """Spend has reached a share of a budget's limit, or a call was refused.

    `kind` is `"threshold"` or `"refused"`; `share` is the threshold. Amounts are exact numbers of `unit`. `series` is
    the budget's name with the value of its `each`; `window` names the window.
    """

    kind: str
    budget: str
    series: str
    window: str
    unit: str
    limit: Decimal
    spent: Decimal
    share: Decimal | None = None
    message: str = ""


class BudgetWatch:
    """Learns what is held and what settles. `send` gets the events, on the thread of the call or the store's."""

    def __init__(self, lease: float, send: Callable[[BudgetEvent], None] = lambda event: None) -> None:
        self._lease = lease
        self._send = send
        self._announced: BoundedDict[tuple[str, int, Decimal], None] = BoundedDict(10_000)
        self._refused_windows: BoundedDict[tuple[str, str], None] = BoundedDict(10_000)
        self._spent: BoundedDict[tuple[str, int], int] = BoundedDict(10_000)
        self.refused: dict[str, int] = {}
        """Refused calls by budget."""
        self.forked()
        on_fork(self)

    def forked(self) -> None:
        """In a child process: the parent renews what it holds."""
        self._open: dict[str, BudgetReservation] = {}
        self._beating = False
        self._lock = threading.Lock()

    def spent(self, line: BudgetLine) -> int:
        """What the window had spent when this process last saw it."""
        return self._spent.get((line.series, line.window.bucket), 0)

    # Leases -----------------------------------------------------------------------------------------------------

    def opened(self, reservation: BudgetReservation) -> None:
        """Renew these holds from now on, until they end."""
        self._open[reservation.call] = reservation
        if not self._beating:
            with self._lock:
                if not self._beating:
                    self._beating = worker.start()
                    worker.after(self._lease / 3, self._beat)

    def ended(self, reservation: BudgetReservation) -> None:
        self._open.pop(reservation.call, None)

    def _beat(self) -> None:
        calls: dict[BudgetStore, list[str]] = {}
        for call, reservation in list(self._open.items()):
            for store, _ in reservation.parts:
                calls.setdefault(store, []).append(call)
        for store, some in calls.items():
            with guard("renewing the leases of open calls"):
                store.renew(some, self._lease)
        worker.after(self._lease / 3, self._beat)

    # Events -----------------------------------------------------------------------------------------------------

    def settled(self, reservation: BudgetReservation, line: BudgetLine, spent: int, added: int) -> None:
        """Note what is spent, and send an event for each threshold that it has reached for the first time."""
        self._spent.put((line.series, line.window.bucket), spent)
        limit = line.counter.limit
        for share in line.counter.budget.at:
            if Decimal(spent) < share * limit.units:
                break
            key = (line.series, line.window.bucket, share)
            if key in self._announced or not self._announced.keep(key, None):
                continue
            store = next(store for store, lines in reservation.parts if line in lines)
            name = SEPARATOR.join((line.series, str(line.window.bucket), str(share)))
            if store.once(name, min(line.window.until, _NEVER)):
                self._send(_event(line, spent, share))

    def was_refused(self, error: BudgetExceeded, window: str) -> None:
        """Count a refused call, and send an event for the first of a window."""
        self.refused[error.budget] = self.refused.get(error.budget, 0) + 1
        key = (error.series, window)
        if key not in self._refused_windows and self._refused_windows.keep(key, None):
            spent = error.spent if error.spent is not None else Decimal(0)
            event = BudgetEvent(
                "refused", error.budget, error.series, window, error.unit, error.limit, spent, None, str(error)
            )
            self._send(event)


def _event(line: BudgetLine, spent: int, share: Decimal) -> BudgetEvent:
    limit, budget = line.counter.limit, line.counter.budget
    series = line.series.replace(SEPARATOR, " ")
    message = f"budget {series!r}: {limit.show(spent)} of {limit.show(limit.units)} spent in {line.window.label}"
    return BudgetEvent(
        "threshold",
        budget.name,
        series,
        line.window.label,
        limit.unit,
        limit.amount(limit.units),
        limit.amount(spent),
        share,
        message,
    )
