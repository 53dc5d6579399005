"""Leases are renewed while calls are open; thresholds and refusals are sent once."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest

from tests.rigs.budget_calls import bound_of, enforcer, facts
from tests.rigs.made_records import priced, record
from tokenmeter import Budget, BudgetExceeded
from tokenmeter.budgets.memory_store import MemoryBudgetStore
from tokenmeter.budgets.watch import BudgetEvent, BudgetWatch


def test_an_event_for_each_threshold_once() -> None:
    events: list[BudgetEvent] = []
    made = enforcer(Budget("10 CNY", name="b", per="total", at=["0.5", "0.8", "1"]), bound=bound_of("1"), events=events)
    for _ in range(10):
        held = made.admit(facts())
        assert held is not None
        held.settle(record(priced("1")))
    assert [(one.share, one.spent) for one in events] == [(Decimal("0.5"), 5), (Decimal("0.8"), 8), (1, 10)]
    for _ in range(3):
        with pytest.raises(BudgetExceeded):
            made.admit(facts())
    assert [one.kind for one in events] == ["threshold"] * 3 + ["refused"]
    assert made.refused == {"b": 3}
    assert events[0].message == "budget 'b': 5 CNY of 10 CNY spent in total"


def test_one_call_may_reach_several_thresholds() -> None:
    events: list[BudgetEvent] = []
    made = enforcer(Budget("10 CNY", name="b", per="total"), bound=bound_of("9"), events=events)
    held = made.admit(facts())
    assert held is not None
    held.settle(record(priced("9")))
    assert [one.share for one in events] == [Decimal("0.5"), Decimal("0.8")]


def test_two_processes_that_share_a_store_send_an_event_once() -> None:
    store = MemoryBudgetStore()
    events: list[BudgetEvent] = []
    budget = Budget("10 CNY", name="b", per="total", at=["0.5"])
    for _ in range(2):
        held = enforcer(budget, bound=bound_of("4"), store=store, events=events).admit(facts())
        assert held is not None
        held.settle(record(priced("5")))
    assert len(events) == 1


def test_an_open_call_keeps_its_hold_and_a_vanished_one_does_not() -> None:
    store = MemoryBudgetStore()
    made = enforcer(Budget("10 CNY", name="b", per="total"), bound=bound_of("1"), store=store)
    made.lease = 0.6
    watch = BudgetWatch(0.6)
    made._watcher = watch
    kept, vanished = made.admit(facts()), made.admit(facts())
    assert kept is not None
    assert vanished is not None
    watch.ended(vanished)
    time.sleep(1.2)
    read = store.read("b", 0, 1)
    assert (read.held, read.spent, read.lost_calls) == (10**9, 10**9, 1)
    kept.release()
