"""The memory store where the model says nothing: what it remembers is bounded, and its costs do not grow."""

from __future__ import annotations

import multiprocessing
import time

from tokenmeter.budgets import memory_store
from tokenmeter.budgets.contract import BudgetAsk, BudgetCharge, WindowSpend
from tokenmeter.budgets.memory_store import KEEP, MemoryBudgetStore

NEVER = 1 << 62
ASK = BudgetAsk("b", 0, 1, 0, NEVER, NEVER, 1 << 50, 10, 3)


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms * 1_000_000


def test_a_hundred_thousand_values_are_forgotten_with_their_windows() -> None:
    clock = Clock()
    store = MemoryBudgetStore(clock)
    end = clock.ms + 60_000
    for number in range(100_000):
        ask = ASK._replace(series=f"b\x1f{number}", until=end, end=end)
        assert store.reserve(f"c{number}", [ask], 600) is None
        store.settle(f"c{number}", [BudgetCharge(ask.series, 0, 1, end, 7)])
    assert len(store.series("b\x1f")) == 100_000
    assert len(store._leases) < 5_000
    assert len(store._done) + len(store._done_before) <= 2 * memory_store._SETTLED
    clock.ms = end + KEEP + 60_001
    assert store.reserve("last", [ASK], 600) is None
    assert store.series("") == ["b"]


def test_settled_calls_cost_the_same_however_many_there_were() -> None:
    store = MemoryBudgetStore()

    def pairs(first: int, number: int) -> float:
        began = time.perf_counter()
        for one in range(first, first + number):
            store.reserve(f"c{one}", [ASK], 600)
            store.settle(f"c{one}", [BudgetCharge("b", 0, 1, NEVER, 7)])
        return (time.perf_counter() - began) / number

    early = min(pairs(one * 5_000, 5_000) for one in range(4))
    late = min(pairs(100_000 + one * 5_000, 5_000) for one in range(20))
    assert late < 5 * early


def test_the_series_of_a_scope_is_forgotten_soon_after_its_end_once_nothing_is_held() -> None:
    clock = Clock()
    store = MemoryBudgetStore(clock)
    store.reserve("a", [ASK], 600)
    store.end_series("b")
    clock.ms += 200_000
    store.reserve("other", [ASK._replace(series="o")], 600)
    assert store.series("b") == ["b"]
    store.settle("a", [BudgetCharge("b", 0, 1, NEVER, 7)])
    clock.ms += 200_000
    store.reserve("other", [ASK._replace(series="o")], 600)
    assert store.series("b") == []


def test_a_child_process_has_the_counters_and_none_of_the_holds() -> None:
    store = MemoryBudgetStore()
    store.charge([BudgetCharge("b", 0, 1, NEVER, 7)])
    store.reserve("a", [ASK], 600)
    answers = multiprocessing.get_context("fork").SimpleQueue()
    process = multiprocessing.get_context("fork").Process(target=lambda: answers.put(store.read("b", 0, 1)))
    process.start()
    process.join(30)
    assert answers.get() == WindowSpend(7, 0, 0, 0)
    assert store.read("b", 0, 1) == WindowSpend(7, 10, 0, 0)


def test_at_most_a_hundred_leases_are_swept_at_once() -> None:
    clock = Clock()
    store = MemoryBudgetStore(clock)
    for number in range(250):
        store.reserve(f"c{number}", [ASK], 1)
    clock.ms += 2_000
    held = [store.read("b", 0, 1).held for _ in range(3)]
    assert held == [1_500, 500, 0]
    assert store.read("b", 0, 1) == WindowSpend(750, 0, 750, 250)


def test_a_hold_that_is_extended_after_its_lease_and_expires_again_is_given_back_whole() -> None:
    clock = Clock()
    store = MemoryBudgetStore(clock)
    store.reserve("a", [ASK], 1)
    clock.ms += 2_000
    assert store.read("b", 0, 1) == WindowSpend(3, 0, 3, 1)
    store.extend("a", [ASK._replace(lost=1)])
    clock.ms += 2 * KEEP
    assert store.read("b", 0, 1) == WindowSpend(4, 0, 4, 1)
    assert store.settle("a", [BudgetCharge("b", 0, 1, NEVER, 5)]) == (5,)
    assert store.read("b", 0, 1) == WindowSpend(5, 0, 0, 0)
