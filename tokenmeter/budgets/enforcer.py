"""`Enforcer`: asks the budgets of a meter before each call, and raises where the call does not fit.

`admit` is written once, as a generator of steps: operations of a store, and waiting. A sync call runs the steps where
it is; an async call runs what may wait (a file, a network) in threads of their own, so the event loop goes on.
"""

from __future__ import annotations

import functools
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.fork import on_fork
from tokenmeter._support.guard import guard, let_through, logger
from tokenmeter.budgets.bound_values import Bound
from tokenmeter.budgets.budget import Budget, Use
from tokenmeter.budgets.contract import BudgetAsk, BudgetRefusal, BudgetStore, WindowOver
from tokenmeter.budgets.fallback import FallbackStore, StoreAway
from tokenmeter.budgets.later_charges import LaterCharges
from tokenmeter.budgets.limits import CALLS
from tokenmeter.budgets.lines import (
    SEPARATOR,
    BudgetCounter,
    BudgetLine,
    BudgetLines,
    CallFacts,
    Convert,
    ScopeRun,
    unheld,
)
from tokenmeter.budgets.memory_store import MemoryBudgetStore
from tokenmeter.budgets.outputs import Outputs
from tokenmeter.budgets.refusals import away, exceeded
from tokenmeter.budgets.reservation import BudgetReservation, Watcher
from tokenmeter.budgets.store_pool import StorePool, sleep
from tokenmeter.budgets.waiting import Ticket, WaitQueue
from tokenmeter.errors import BudgetExceeded
from tokenmeter.record import End, Record

__all__ = ["Enforcer"]

_UNBOUNDED: Final = 1 << 53
_EASILY: Final = 50
_TRIES: Final = 4

_Steps = Generator[Callable[[], Any] | float, Any, "BudgetReservation | None"]


class Enforcer:
    """The budgets of one meter over one store. `bound` says what a call may cost, `watcher` learns what settles."""

    def __init__(
        self,
        budgets: Iterable[Budget],
        store: BudgetStore | None = None,
        *,
        bound: Callable[[CallFacts, bool], Bound],
        watcher: Watcher,
        convert: Convert = lambda amount, base, to: None,
        lease: float = 600.0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.local = MemoryBudgetStore(clock)
        self.store: BudgetStore = store if store is not None else self.local
        self.outputs = Outputs()
        self.lines = BudgetLines(budgets, bound=bound, outputs=self.outputs, convert=convert)
        self.lease = lease
        self._convert = convert
        self._watcher = watcher
        self._warned: BoundedDict[tuple[str, int], None] = BoundedDict(10_000)
        self._later = LaterCharges()
        self.forked()
        on_fork(self)

    def forked(self) -> None:
        self._pool = StorePool()
        self._lock = threading.Lock()
        self._waiting: dict[str, WaitQueue] = {}

    @property
    def refused(self) -> Mapping[str, int]:
        """Refused calls by budget, in this process."""
        return self._watcher.refused

    # Two ways to run the steps ------------------------------------------------------------------------------------

    def admit(self, facts: CallFacts) -> BudgetReservation | None:
        """Hold what the call may cost; None where no budget is for it. Raises BudgetExceeded."""
        steps = self._steps(facts)
        if steps is None:
            return None
        try:
            step = next(steps)
            while True:
                if isinstance(step, float):
                    time.sleep(step)
                    step = next(steps)
                else:
                    step = steps.send(step())
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        finally:
            steps.close()

    async def admit_async(self, facts: CallFacts) -> BudgetReservation | None:
        """`admit` for a coroutine: the event loop goes on meanwhile."""
        steps = self._steps(facts)
        if steps is None:
            return None
        try:
            step = next(steps)
            while True:
                if isinstance(step, float):
                    await sleep(step)
                    step = next(steps)
                elif self.store.waits:
                    step = steps.send(await self._pool.run(step, lambda: self._withdraw(facts.call)))
                else:
                    step = steps.send(step())
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        finally:
            steps.close()  # a task that is cancelled while it waits leaves the queue

    def _withdraw(self, call: str) -> None:
        """End what a call holds whose task was cancelled while a store was asked: it is never sent."""
        for store in {id(one): one for one in (self.local, self.store)}.values():
            with guard("withdrawing a hold"):
                store.withdraw(call)

    def start(self) -> None:
        """Start the thread that charges, where the store may wait. Never call this inside a finalizer."""
        if self.store.waits:
            self._later.start()

    # The end of a call --------------------------------------------------------------------------------------------

    def settle(self, reservation: BudgetReservation, record: Record) -> None:
        """Charge what a call cost; where the store may wait, on a thread of its own."""
        if self.store.waits:
            self._later.put(functools.partial(reservation.settle, record))
        else:
            reservation.settle(record)

    def charge(self, facts: CallFacts, record: Record) -> None:
        """Charge a call that was never asked for, such as a result of a batch, in the windows of now."""
        matching = self.lines.matching(facts)
        if matching and record.end not in (End.DELEGATED, End.REFUSED):
            lines = tuple(unheld(counter, series, self.store.now()) for counter, series in matching)
            self.settle(self._reservation(facts, self._by_store(lines), ()), record)

    def grow(self, reservation: BudgetReservation, tokens: int) -> BudgetExceeded | None:
        """Hold more for a stream that is so long by now; the error where a budget ends the stream.

        Where the store may wait, it is asked on a thread of its own, and its answer is known at a later piece.
        """
        if not self.store.waits:
            refused = reservation.grow(tokens)
            return None if refused is None else exceeded(self.store.now(), *refused)
        if reservation.cut is None and not reservation.growing and reservation.due(tokens):
            reservation.growing = True
            self._later.put(functools.partial(self._grow_later, reservation, tokens))
        return reservation.cut

    def _grow_later(self, reservation: BudgetReservation, tokens: int) -> None:
        refused = reservation.grow(tokens)
        if refused is not None:
            reservation.cut = exceeded(self.store.now(), *refused)
        reservation.growing = False

    def flush(self, timeout: float) -> bool:
        """Charge what is put off, and what was kept while the store was away; whether all was in time."""
        return self._later.flush(timeout) and (not isinstance(self.store, FallbackStore) or self.store.push())

    # The steps ----------------------------------------------------------------------------------------------------

    def _steps(self, facts: CallFacts) -> _Steps | None:
        matching = self.lines.matching(facts)
        for budget, run in facts.scopes:
            if isinstance(run, ScopeRun) and not run.followed:
                run.followed = True
                series = f"{budget.name}{SEPARATOR}{run}"
                weakref.finalize(run, self.local.end_series, series).atexit = False
        return self._admit(facts, matching) if matching else None

    def _admit(self, facts: CallFacts, matching: list[tuple[BudgetCounter, str]]) -> _Steps:
        warned: set[str] = set()
        flags: tuple[str, ...] = ()
        ticket = Ticket(self._waiting, self._lock)
        try:
            for counter, series in matching:
                if counter.budget.wait and series in self._waiting:  # others wait already: they come first
                    ticket.join(series, counter.budget.wait)
            while True:
                pause = ticket.pause
                if pause > 0:
                    yield pause
                    continue
                if ticket.refusal is not None:
                    self._too_late(facts, matching, ticket.series, ticket.refusal)
                answer = yield from self._reserve(facts, matching, warned, flags)
                if isinstance(answer, BudgetReservation):
                    return answer
                line, refusal = answer
                refused = exceeded(self.store.now(), line, refusal)
                budget = line.counter.budget
                if budget.on_exceed == "warn":
                    self._warn(refused, line)
                    warned.add(line.series)
                    flags = (*flags, f"budget_exceeded={budget.name}")
                    continue
                if refused.kind == "held" and budget.wait:
                    ticket.join(line.series, budget.wait)
                    ticket.refused(refusal)
                if refused.kind != "held" or ticket.left <= 0:
                    self._refuse(refused, line)
        finally:
            ticket.leave()

    def _too_late(
        self, facts: CallFacts, matching: list[tuple[BudgetCounter, str]], series: str | None, refusal: BudgetRefusal
    ) -> None:
        """Refuse a call whose time is over before it was the first: by what the first was told, not asking again."""
        lines, _ = self._lines(matching, facts, self.store.now(), exact=True)
        for line in lines:
            if line.series == series:
                self._refuse(exceeded(self.store.now(), line, refusal), line)

    def _reserve(
        self, facts: CallFacts, matching: list[tuple[BudgetCounter, str]], warned: set[str], flags: tuple[str, ...]
    ) -> Generator[Callable[[], Any] | float, Any, BudgetReservation | tuple[BudgetLine, BudgetRefusal]]:
        """One attempt to hold everything: the reservation, or the line of the budget that refuses, and its figures."""
        now = self.store.now()
        exact = False
        for _ in range(_TRIES):
            lines, exact = self._lines(matching, facts, now, exact=exact)
            parts = self._by_store(lines)
            held: list[BudgetStore] = []
            answer: BudgetRefusal | WindowOver | StoreAway | None = None
            mine: tuple[BudgetLine, ...] = ()
            for store, mine in parts:
                asks = [line.ask(limit=_UNBOUNDED) if line.series in warned else line.ask() for line in mine]
                answer = yield functools.partial(_reserved, store, facts.call, asks, self.lease)
                if isinstance(answer, StoreAway):
                    for other in held:
                        other.withdraw(facts.call)
                    raise away(mine[0], str(answer))
                if answer is not None:
                    break
                held.append(store)
            if answer is None:
                reservation = self._reservation(facts, parts, flags)
                self._watcher.opened(reservation)
                self.start()
                return reservation
            for store in held:
                store.withdraw(facts.call)
            if isinstance(answer, BudgetRefusal):
                if not exact:  # others have spent meanwhile: the call may fit when it is counted
                    exact = True
                    continue
                return mine[answer.place], answer
            if isinstance(answer, WindowOver):
                now = answer.now
        raise RuntimeError("a store's clock moves faster than its windows")

    def _reservation(
        self, facts: CallFacts, parts: tuple[tuple[BudgetStore, tuple[BudgetLine, ...]], ...], flags: tuple[str, ...]
    ) -> BudgetReservation:
        return BudgetReservation(
            facts.call, parts, convert=self._convert, outputs=self.outputs, watcher=self._watcher, flags=flags
        )

    def _lines(
        self, matching: list[tuple[BudgetCounter, str]], facts: CallFacts, now: int, *, exact: bool
    ) -> tuple[list[BudgetLine], bool]:
        """What the call asks: bounded in microseconds while that fits many times into what is left, else counted."""
        lines = [] if exact else self.lines.lines(matching, facts, now, exact=False)
        if not exact and all(
            line.counter.limit.unit == CALLS
            or line.amount * _EASILY <= line.counter.limit.units - self._watcher.spent(line)
            for line in lines
        ):
            return lines, all(line.counter.limit.unit == CALLS for line in lines)
        return self.lines.lines(matching, facts, now, exact=True), True

    def _by_store(self, lines: Iterable[BudgetLine]) -> tuple[tuple[BudgetStore, tuple[BudgetLine, ...]], ...]:
        if self.store is self.local:
            return ((self.local, tuple(lines)),)
        lines = tuple(lines)
        mine = tuple(line for line in lines if line.counter.budget.per == "scope")
        shared = tuple(line for line in lines if line.counter.budget.per != "scope")
        return tuple((store, some) for store, some in ((self.local, mine), (self.store, shared)) if some)

    # Refusing -----------------------------------------------------------------------------------------------------

    def _refuse(self, error: BudgetExceeded, line: BudgetLine) -> None:
        """Raise the error, or apply what the budget's own function says. What that raises reaches the caller too."""
        with guard("noting a refused call"):
            self._watcher.was_refused(error, line.window.label)
        act = line.counter.budget.on_exceed
        let_through(error)
        if callable(act):
            try:
                chosen = act(error)
            except BaseException as own:
                let_through(own)
                raise
            if isinstance(chosen, Use):
                error.use = chosen
        raise error

    def _warn(self, error: BudgetExceeded, line: BudgetLine) -> None:
        key = (line.series, line.window.bucket)
        if key not in self._warned and self._warned.keep(key, None):
            logger.warning("%s; the call goes on, since on_exceed is 'warn'", error)


def _reserved(
    store: BudgetStore, call: str, asks: list[BudgetAsk], lease: float
) -> BudgetRefusal | WindowOver | StoreAway | None:
    try:
        return store.reserve(call, asks, lease)
    except StoreAway as away:
        return away
