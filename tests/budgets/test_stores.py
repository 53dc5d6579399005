"""Every store does what the model of forty lines does, whatever is done to it; a store with a fault is caught.

`make budgets` runs thousands of examples: BUDGET_EXAMPLES says how many.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
import types
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test

from tests.rigs.budget_model import BudgetModel
from tests.rigs.budget_stores import START, Bench, MemoryBench, RedisBench, SqliteBench
from tests.rigs.redis_server import RedisServer, redis_server
from tokenmeter.budgets import memory_store, redis_store, sqlite_steps, sqlite_store
from tokenmeter.budgets.contract import BudgetAsk, BudgetCharge, BudgetRefusal, BudgetStore, WindowOver
from tokenmeter.budgets.windows import CalendarWindows, EndlessWindow, RollingWindows, Windows

EXAMPLES: Final = int(os.environ.get("BUDGET_EXAMPLES", "50"))
PHASES: Final = (Phase.explicit, Phase.reuse, Phase.generate)
"""Shrinking takes minutes; a failure is repeated by its seed."""
LEASE: Final = 60_000
KEPT: Final = 3_600_000
"""For how long, in ms, each store remembers a window that is over."""
LIMITS: Final = {"all": 1_000, "hour": 400, "last": 300}


def windows() -> dict[str, Windows]:
    return {
        "all": EndlessWindow("total"),
        "hour": CalendarWindows("hour", UTC),
        "last": RollingWindows(timedelta(hours=1)),
    }


series = st.sampled_from(sorted(LIMITS))
several = st.lists(series, min_size=1, max_size=3, unique=True)
amounts = st.integers(0, 200)
losses = st.integers(0, 50)


class StoreMachine(RuleBasedStateMachine):
    """Does to a store and to the model the same, and compares what each answers and what each window holds."""

    def __init__(self, bench: Callable[[], Bench]) -> None:
        super().__init__()
        self.bench = bench()
        self.store: BudgetStore = self.bench.store
        self.model = BudgetModel(START)
        self.windows = windows()
        self.calls: dict[str, list[BudgetAsk]] = {}

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.windows_hold_the_same()
        finally:
            self.bench.close()

    def ask(self, name: str, amount: int, lost: int, at: int | None = None) -> BudgetAsk:
        window = self.windows[name].at(self.model.now if at is None else at)
        return BudgetAsk(
            name, window.bucket, window.span, window.start, window.end, window.until, LIMITS[name], amount, lost
        )

    def call(self, data: Any) -> str:
        return str(data.draw(st.sampled_from(sorted(self.calls)), label="call"))

    def charges(self, call: str, amount: int) -> list[BudgetCharge]:
        seen = {
            ask.series: BudgetCharge(ask.series, ask.bucket, ask.span, ask.until, amount) for ask in self.calls[call]
        }
        return list(seen.values())

    # Time ---------------------------------------------------------------------------------------------------------

    @rule(ms=st.sampled_from([1, 700, 20_000, LEASE, 700_000, KEPT]))
    def time_goes_on(self, ms: int) -> None:
        self.model.now += ms
        self.bench.set_clock(self.model.now)

    @rule(ms=st.sampled_from([1, 3_600_000]))
    def the_wall_clock_is_set_back(self, ms: int) -> None:
        self.store.once("the store sees the time", self.model.now)
        self.store.read("all", 0, 1)
        self.model.sweep()
        self.bench.set_clock(self.model.now - ms)

    # Calls --------------------------------------------------------------------------------------------------------

    @rule(names=several, amount=amounts, lost=losses)
    def reserve(self, names: list[str], amount: int, lost: int) -> None:
        call = f"call {len(self.calls)}"
        asks = [self.ask(name, amount, lost) for name in names]
        self.reserved(call, asks)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), names=several, amount=amounts)
    def reserve_again(self, data: Any, names: list[str], amount: int) -> None:
        """After a withdrawal, or beside what it holds."""
        call = self.call(data)
        if call not in self.model.done:
            self.reserved(call, [self.ask(name, amount, 1) for name in names])

    def reserved(self, call: str, asks: list[BudgetAsk]) -> None:
        answer = self.store.reserve(call, asks, LEASE / 1000)
        assert answer == self.model.reserve(call, asks, LEASE)
        if answer is None:
            self.calls.setdefault(call, []).extend(asks)

    @rule(name=st.sampled_from(["hour", "last"]), amount=amounts)
    def reserve_in_a_window_that_is_over(self, name: str, amount: int) -> None:
        asks = [self.ask("all", amount, 0), self.ask(name, amount, 0, at=self.model.now - KEPT)]
        assert self.store.reserve("late", asks, 1.0) == self.model.reserve("late", asks, 1000)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), amount=amounts)
    def extend(self, data: Any, amount: int) -> None:
        call = self.call(data)
        asks = [ask._replace(amount=amount, lost=0) for ask in {ask.series: ask for ask in self.calls[call]}.values()]
        assert self.store.extend(call, asks) == self.model.extend(call, asks)

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), amount=amounts)
    def settle(self, data: Any, amount: int) -> None:
        """Again, too, and after the lease."""
        call = self.call(data)
        charges = self.charges(call, amount)
        answer, expected = self.store.settle(call, charges), self.model.settle(call, charges)
        if answer is None or expected is None:
            assert answer == expected
        else:
            remembered = [self.remembered(one.until) for one in charges]
            assert [a for a, kept in zip(answer, remembered, strict=True) if kept] == [
                e for e, kept in zip(expected, remembered, strict=True) if kept
            ]

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def release(self, data: Any) -> None:
        call = self.call(data)
        assert self.store.release(call) is (self.model.settle(call, ()) is not None)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def withdraw(self, data: Any) -> None:
        call = self.call(data)
        self.store.withdraw(call)
        self.model.holds.pop(call, None)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def renew(self, data: Any) -> None:
        call = self.call(data)
        self.store.renew([call, "unknown"], LEASE / 1000)
        if call in self.model.holds:
            self.model.holds[call] = (self.model.now + LEASE, self.model.holds[call][1])

    # Counters -----------------------------------------------------------------------------------------------------

    @rule(name=series, amount=amounts)
    def charge(self, name: str, amount: int) -> None:
        ask = self.ask(name, amount, 0)
        charge = BudgetCharge(name, ask.bucket, ask.span, ask.until, amount)
        self.store.charge([charge])
        self.model.charge([charge])

    @rule(name=series)
    def reset(self, name: str) -> None:
        self.store.reset(name)
        self.model.reset(name)

    @rule(key=st.sampled_from("xy"), ms=st.sampled_from([500, LEASE]))
    def once(self, key: str, ms: int) -> None:
        until = self.model.now + ms
        assert self.store.once(key, until) is self.model.once(key, until)

    @rule(name=series, amount=st.integers(1, 150))
    def reserve_at_once(self, name: str, amount: int) -> None:
        """Four threads ask for the last of it: just as many hold it as fit."""
        self.model.sweep()
        ask = self.ask(name, amount, 0)
        calls = [f"call {len(self.calls)} of thread {number}" for number in range(4)]
        answers = dict(
            zip(
                calls,
                at_once([functools.partial(self.store.reserve, one, [ask], LEASE / 1000) for one in calls]),
                strict=True,
            )
        )
        expected = [
            self.model.reserve(call, [ask], LEASE) is None
            for call in sorted(calls, key=lambda one: answers[one] is not None)
        ]
        assert sorted(expected) == sorted(answer is None for answer in answers.values())
        assert not any(isinstance(answer, WindowOver) for answer in answers.values())
        self.calls.update({call: [ask] for call in calls if answers[call] is None})

    def remembered(self, until: int) -> bool:
        return until > self.model.now

    @rule()
    def another_process_takes_over(self) -> None:
        self.store = self.bench.reopen()

    @rule()
    def windows_hold_the_same(self) -> None:
        self.model.sweep()
        for name in LIMITS:
            window = self.windows[name].at(self.model.now)
            read = self.store.read(name, window.bucket, window.span)
            assert read == self.model.read(name, window.bucket, window.span), name
        for name, bucket in {(ask.series, ask.bucket) for asks in self.calls.values() for ask in asks}:
            if self.remembered(self.windows[name].at(START).until if name == "all" else bucket + KEPT):
                assert self.store.read(name, bucket, 1) == self.model.read(name, bucket, 1), (name, bucket)


def at_once(acts: Sequence[Callable[[], Any]]) -> list[Any]:
    """What each function returns, all started at the same moment on threads of their own."""
    start = threading.Barrier(len(acts))
    found: list[Any] = [None] * len(acts)

    def run(place: int) -> None:
        start.wait()
        found[place] = acts[place]()

    threads = [threading.Thread(target=run, args=(place,)) for place in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def run(bench: Callable[[], Bench], examples: int, **more: Any) -> None:
    chosen = settings(
        max_examples=examples,
        stateful_step_count=30,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        phases=PHASES,
    )
    run_state_machine_as_test(lambda: StoreMachine(bench), settings=chosen)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def test_memory() -> None:
    run(MemoryBench, EXAMPLES)


def test_sqlite() -> None:
    run(SqliteBench, EXAMPLES)


def test_redis(redis: RedisServer) -> None:
    run(functools.partial(RedisBench, redis), EXAMPLES)


# Stores with a fault ------------------------------------------------------------------------------------------------


def faulty(module: types.ModuleType, old: str, new: str) -> Any:
    """The module with another text in one place."""
    source = Path(str(module.__file__)).read_text("utf-8")
    assert source.count(old) == 1, f"{source.count(old)} places read {old!r}"
    made = types.ModuleType("faulty")
    exec(compile(source.replace(old, new), str(module.__file__), "exec"), made.__dict__)
    return made


def faulty_scripts(tmp_path: Path, name: str, old: str, new: str) -> Any:
    """The Redis store with another text in one of its scripts."""
    source = Path(str(redis_store.__file__))
    for one in (source.parent / "redis_scripts").glob("*.lua"):
        text = one.read_text("utf-8")
        if one.name == name:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (tmp_path / one.name).write_text(text, "utf-8")
    return faulty(redis_store, 'Path(__file__).parent / "redis_scripts"', f"Path({str(tmp_path)!r})")


def asks_before_it_holds(kind: Any) -> Any:
    """A store that looks whether a call fits, and holds it in another transaction."""

    class Hasty(kind):  # type: ignore[misc]
        def reserve(self, call: str, asks: Sequence[BudgetAsk], lease: float) -> BudgetRefusal | WindowOver | None:
            for place, ask in enumerate(asks):
                spent, held, _, _ = self.read(ask.series, ask.bucket, ask.span)
                if ask.amount > ask.limit - spent - held or spent + held >= ask.limit:
                    return BudgetRefusal(place, spent, held, None)
            time.sleep(0.001)
            held_anyway = [ask._replace(limit=2**53) for ask in asks]
            answer: BudgetRefusal | WindowOver | None = super().reserve(call, held_anyway, lease)
            return answer

    return Hasty


def caught(bench: Callable[[], Bench]) -> None:
    with pytest.raises((AssertionError, Flaky)):  # a race does not come out the same twice
        run(bench, 300)


FAULTS: Final = [
    ("settles twice", memory_store, "if lost is _DONE:", "if False:"),
    (
        "expiry forgets a budget",
        memory_store,
        "in hold.asks:\n            self._c",
        "in hold.asks[:1]:\n            self._c",
    ),
    ("sweeps late", memory_store, "self._leases[0][0] <= now:", "not self._holds:"),
    ("settles twice", sqlite_store, "INSERT OR IGNORE INTO done", "INSERT OR REPLACE INTO done"),
    ("sweeps late", sqlite_store, "steps.sweep(db, now)", "asks"),
    ("expiry forgets a budget", sqlite_steps, "in rows:\n        db.execute", "in rows[:1]:\n        db.execute"),
]


@pytest.mark.parametrize(
    ("module", "old", "new"), [pytest.param(*row, id=f"{row[0].__name__}: {what}") for what, *row in FAULTS]
)
def test_a_store_with_a_fault_is_caught(module: types.ModuleType, old: str, new: str) -> None:
    made = faulty(module, old, new)
    if module is memory_store:
        caught(functools.partial(MemoryBench, made.MemoryBudgetStore))
    elif module is sqlite_store:
        caught(functools.partial(SqliteBench, made.SqliteBudgetStore))
    else:
        store = faulty(sqlite_store, "from tokenmeter.budgets import sqlite_steps as steps", "")
        store.steps = made
        caught(functools.partial(SqliteBench, store.SqliteBudgetStore))


HELD: Final = "for _, row in ipairs(rows) do add(row[1], 'h'"


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [
        pytest.param("settle.lua", "'1', 'NX',", "'1',", id="settles twice"),
        pytest.param("common.lua", HELD, HELD.replace("(rows)", "({rows[1]})"), id="expiry forgets a budget"),
        pytest.param("reserve.lua", "sweep(now)", "", id="sweeps late"),
    ],
)
def test_a_script_with_a_fault_is_caught(redis: RedisServer, tmp_path: Path, script: str, old: str, new: str) -> None:
    made = faulty_scripts(tmp_path, script, old, new)
    caught(functools.partial(RedisBench, redis, made.RedisBudgetStore))


def test_a_check_outside_the_transaction_is_caught(redis: RedisServer) -> None:
    caught(functools.partial(MemoryBench, asks_before_it_holds(memory_store.MemoryBudgetStore)))
    caught(functools.partial(SqliteBench, asks_before_it_holds(sqlite_store.SqliteBudgetStore)))
    caught(functools.partial(RedisBench, redis, asks_before_it_holds(redis_store.RedisBudgetStore)))
