"""A process that spends three overlapping budgets as fast as it can: threads and tasks, failures, forgotten calls.

It logs each step of each call before and after the store is asked, so that whoever ends it knows what is in doubt.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import threading
import time
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tests.rigs.made_records import priced, record
from tokenmeter.budgets.bound_values import Bound
from tokenmeter.budgets.budget import Budget
from tokenmeter.budgets.contract import BudgetStore, StoreError
from tokenmeter.budgets.enforcer import Enforcer
from tokenmeter.budgets.lines import CallFacts
from tokenmeter.budgets.reservation import BudgetReservation
from tokenmeter.budgets.watch import BudgetWatch
from tokenmeter.errors import BudgetExceeded

__all__ = ["HOLD", "TEAMS", "USERS", "Spender", "budgets", "open_race_store"]

HOLD: Final = 1_000
"""What a call holds, in billionths; it costs that at most."""
TEAMS: Final = 3
USERS: Final = 10
_ENOUGH: Final = 5
"""So many refusals, one after another, end a thread or a task."""
DEADLINE: Final = 20.0


def budgets(limit: int, on_lost: str) -> list[Budget]:
    """All spend, each team's, and each user's calls of the last day. `limit` in billionths."""
    whole = f"{Decimal(limit).scaleb(-9):f} CNY"
    team = f"{Decimal(limit // 2).scaleb(-9):f} CNY"
    calls = f"{limit // HOLD * 3 // USERS} calls"
    return [
        Budget(whole, name="all", per="total", on_lost=on_lost),
        Budget(team, name="team", per="total", each="team", on_lost=on_lost),
        Budget(calls, name="user", per="24 hours", each="user", on_lost=on_lost),
    ]


def open_race_store(address: str) -> BudgetStore | None:
    """The store of a race, without what makes do while it is away: an error is an error."""
    kind, _, rest = address.partition(":")
    if kind == "sqlite":
        from tokenmeter.budgets.sqlite_store import SqliteBudgetStore

        return SqliteBudgetStore(rest, deadline=DEADLINE)
    if kind == "redis":
        from tokenmeter.budgets.redis_store import RedisBudgetStore

        return RedisBudgetStore(address, deadline=DEADLINE)
    return None


def bound(facts: CallFacts, exact: bool) -> Bound:
    amount = Decimal(HOLD).scaleb(-9)
    return Bound(None, None, (), True, None, "CNY", amount, Decimal(0), 10, 1)


@dataclass
class Spender:
    """One process of the race: `enforcer` over the shared store, and its log."""

    name: str
    log: Path
    address: str
    limit: int
    on_lost: str
    lease: float

    def __post_init__(self) -> None:
        self.watch = BudgetWatch(self.lease)
        self.enforcer = Enforcer(
            budgets(self.limit, self.on_lost),
            open_race_store(self.address),
            bound=bound,
            watcher=self.watch,
            lease=self.lease,
        )
        self._file = os.open(self.log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def note(self, *words: object) -> None:
        os.write(self._file, (" ".join(map(str, words)) + "\n").encode())

    def run(self, threads: int, tasks: int) -> None:
        """Spend until the budgets are spent."""
        running = [threading.Thread(target=self._thread, args=(f"{self.name}.t{number}",)) for number in range(threads)]
        for one in running:
            one.start()
        if tasks:
            asyncio.run(self._tasks(tasks))
        for one in running:
            one.join()

    def _facts(self, call: str, dice: random.Random) -> CallFacts:
        tags = {"team": str(dice.randrange(TEAMS)), "user": str(dice.randrange(USERS))}
        return CallFacts(call, "deepseek", "deepseek-chat", None, tags, {"max_tokens": 1}, stream=False)

    def _thread(self, name: str) -> None:
        dice, refused, number = random.Random(name), 0, 0
        while refused < _ENOUGH:
            number += 1
            call = f"{name}.{number}"
            self.note("A", call)
            try:
                held = self.enforcer.admit(self._facts(call, dice))
            except BudgetExceeded:
                refused += 1
                self.note("N", call)
                time.sleep(0.02)
                continue
            assert held is not None
            time.sleep(dice.random() * 0.002)
            self._end(call, held, dice)

    async def _tasks(self, tasks: int) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(tasks):
                group.create_task(self._task(f"{self.name}.a{number}"))

    async def _task(self, name: str) -> None:
        dice, refused, number = random.Random(name), 0, 0
        while refused < _ENOUGH:
            number += 1
            call = f"{name}.{number}"
            self.note("A", call)
            try:
                held = await self.enforcer.admit_async(self._facts(call, dice))
            except BudgetExceeded:
                refused += 1
                self.note("N", call)
                await asyncio.sleep(0.2)
                continue
            assert held is not None
            await asyncio.sleep(dice.random() * 0.02)
            await asyncio.to_thread(self._end, call, held, dice)

    def _end(self, call: str, held: BudgetReservation, dice: random.Random) -> None:
        """Settle, settle again, fail, or be forgotten."""
        fate = dice.random()
        if fate < 0.1:
            self._surely(held.release)
            self.note("X", call)
        elif fate < 0.12:
            self.watch.ended(held)
        else:
            amount = dice.randrange(1, HOLD + 1)
            done = record(priced(f"{Decimal(amount).scaleb(-9):f}"))
            self.note("P", call, amount)
            self._surely(lambda: held.settle(done))
            self.note("S", call, amount)
            if fate < 0.2:
                self._surely(lambda: held.settle(done))

    @staticmethod
    def _surely(act: Any) -> None:
        for _ in range(5):
            try:
                act()
            except StoreError as error:
                print(error, file=sys.stderr)
            else:
                return


if __name__ == "__main__":
    name, log, address, limit, on_lost, lease, threads, tasks = sys.argv[1:]
    Spender(name, Path(log), address, int(limit), on_lost, float(lease)).run(int(threads), int(tasks))
