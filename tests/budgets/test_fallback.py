"""A store that goes away, hangs, forgets or is busy: no call waits longer than its deadline, and no spend is lost."""

from __future__ import annotations

import functools
import sqlite3
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import pytest

from tests.rigs.redis_server import RedisServer, redis_server
from tests.rigs.services import until
from tokenmeter import Budget, BudgetExceeded, End, Tokenmeter, Usage
from tokenmeter.budgets.contract import BudgetAsk, BudgetCharge
from tokenmeter.budgets.fallback import FallbackStore, StoreAway
from tokenmeter.budgets.memory_store import MemoryBudgetStore
from tokenmeter.budgets.redis_store import RedisBudgetStore
from tokenmeter.testing import capture

DEADLINE: Final = 0.2
SLACK: Final = 0.25
"""What a busy machine may add to a deadline."""
ASK: Final = BudgetAsk("b", 0, 1, 0, 1 << 60, 1 << 60, 1_000, 10, 1)


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with redis_server() as server:
        yield server


def timed(act: Callable[[], Any]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def charge(amount: int) -> BudgetCharge:
    return BudgetCharge("b", 0, 1, 1 << 60, amount)


def opened(server: RedisServer, *, opens: bool = True) -> FallbackStore:
    return FallbackStore(RedisBudgetStore(server.url, deadline=DEADLINE), opens=opens)


def test_calls_go_on_while_redis_is_stopped_and_their_spend_is_pushed_when_it_is_back(redis: RedisServer) -> None:
    store = opened(redis)
    assert store.reserve("before", [ASK], 60) is None
    redis.stop()
    waited = [timed(functools.partial(store.reserve, f"call {number}", [ASK], 60)) for number in range(30)]
    waited += [timed(functools.partial(store.settle, f"call {number}", [charge(7)])) for number in range(30)]
    assert max(waited) < DEADLINE + SLACK
    assert store.settle("before", [charge(5)]) is None
    redis.start()
    until(lambda: not store.away and store.push(), "the push")
    read = until(lambda: store.read("b", 0, 1), "the store")
    assert (read.spent, read.held) == (30 * 7 + 5, 0)
    store.close()


def test_calls_are_refused_while_redis_is_stopped_where_the_user_wants_that(redis: RedisServer) -> None:
    store = opened(redis, opens=False)
    redis.stop()
    for number in range(3):
        with pytest.raises(StoreAway):
            store.reserve(f"call {number}", [ASK], 60)
    redis.start()
    until(store.push, "the store")
    until(lambda: not store.away, "the store")
    assert store.reserve("after", [ASK], 60) is None
    assert store.read("b", 0, 1).held == 10
    store.close()


@pytest.mark.parametrize("opens", [True, False])
def test_a_hung_redis_costs_a_call_its_deadline_and_holds_nothing_afterwards(redis: RedisServer, opens: bool) -> None:
    store = opened(redis, opens=opens)
    assert store.reserve("before", [ASK], 60) is None

    def reserve(number: int) -> None:
        try:
            assert store.reserve(f"call {number}", [ASK], 60) is None
        except StoreAway:
            assert not opens

    with redis.frozen():
        waited = [timed(functools.partial(reserve, number)) for number in range(40)]
        waited.append(timed(lambda: store.settle("before", [charge(3)])))
    assert max(waited) < DEADLINE + SLACK
    assert sum(waited) < 5 * (DEADLINE + SLACK)
    if opens:
        for number in range(40):
            store.settle(f"call {number}", [charge(1)])
    until(lambda: store.push() and not store.away, "the push")
    read = store.read("b", 0, 1)
    assert (read.spent, read.held) == (3 + (40 if opens else 0), 0)
    store.close()


def test_a_charge_whose_answer_was_lost_is_made_once(redis: RedisServer) -> None:
    store = opened(redis)
    store.charge([charge(1)])
    with redis.frozen():
        store.charge([charge(10)])  # the server reads it when it goes on
    until(lambda: store.push() and not store.away, "the push")
    assert store.read("b", 0, 1).spent == 11
    store.close()


def test_flushed_scripts_are_loaded_again_and_a_flushed_server_starts_anew(redis: RedisServer) -> None:
    store = opened(redis)
    assert store.reserve("a", [ASK], 60) is None
    redis.cli("script", "flush")
    assert store.settle("a", [charge(4)]) == (4,)
    assert store.reserve("b", [ASK], 60) is None
    redis.cli("flushall")
    assert store.settle("b", [charge(6)]) == (6,)
    assert tuple(store.read("b", 0, 1)) == (6, 0, 0, 0)
    assert not store.away
    store.close()


def test_a_port_that_nobody_listens_on_is_found_out_at_once() -> None:
    store = FallbackStore(RedisBudgetStore("redis://127.0.0.1:1/0", deadline=DEADLINE), opens=True)
    assert max(timed(lambda: store.reserve("a", [ASK], 60)) for _ in range(20)) < DEADLINE + SLACK


@pytest.fixture
def durable() -> Iterator[RedisServer]:
    with redis_server(durable=True) as server:
        yield server


@pytest.mark.parametrize("policy", ["open", "closed"])
def test_records_and_budget_agree_to_the_digit_after_an_outage(durable: RedisServer, policy: str) -> None:
    meter = Tokenmeter(
        budgets=[Budget("10 CNY", name="day", per="total")],
        budget_store=durable.url,
        on_store_error=policy,
        budget_deadline=0.5,
        spans="none",
        price_lists={"deepseek": "CNY"},
    )
    refused = 0
    with capture(meter) as records:
        for number in range(30):
            if number == 10:
                durable.stop()
            if number == 20:
                durable.start()
            try:
                with meter.call("deepseek", "deepseek-chat") as call:
                    call.observe_usage(Usage(input_tokens=1_000 + number, output_tokens=3))
            except BudgetExceeded:
                refused += 1
        enforcer = meter._gate.enforcer
        assert enforcer is not None
        until(lambda: meter.flush(5) and not enforcer.store.away, "the push")  # type: ignore[attr-defined]
    paid = sum((record.cost.total.amount for record in records if record.cost.total), Decimal(0))
    read = enforcer.store.read("day", 0, 1)
    assert Decimal(read.spent).scaleb(-9) == paid > 0
    assert read.held == 0
    assert (refused > 0) is (policy == "closed")
    assert sum(record.end is End.REFUSED for record in records) == refused


def test_a_locked_file_costs_a_call_its_deadline(tmp_path: Path) -> None:
    from tokenmeter.budgets.sqlite_store import SqliteBudgetStore

    store = FallbackStore(SqliteBudgetStore(tmp_path / "b.db", deadline=DEADLINE), opens=True)
    assert store.reserve("a", [ASK], 60) is None
    other = sqlite3.connect(tmp_path / "b.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waited = [timed(functools.partial(store.reserve, f"call {number}", [ASK], 60)) for number in range(10)]
    assert store.settle("a", [charge(9)]) is None
    other.execute("ROLLBACK")
    assert max(waited) < DEADLINE + SLACK
    until(lambda: store.push() and not store.away, "the push")
    assert tuple(store.read("b", 0, 1)) == (9, 0, 0, 0)
    store.close()


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from tokenmeter.budgets import fallback
    from tokenmeter.budgets.contract import StoreError

    class Away(MemoryBudgetStore):
        def settle(self, call: str, charges: Any) -> Any:
            raise StoreError("gone")

    monkeypatch.setattr(fallback, "_KEPT", 10)
    store = FallbackStore(Away(), opens=True)
    for number in range(25):
        store.settle(f"call {number}", [charge(1)])
    assert len(store._kept) == 10
    assert store.lost == 15
