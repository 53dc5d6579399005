"""What a call is told: held, refused and why, warned, waiting; under threads, asyncio and trio."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.budget_calls import bound_of, enforcer, facts
from tests.rigs.made_records import priced, record
from tests.rigs.services import until
from tokenmeter import Budget, BudgetExceeded
from tokenmeter.budgets.budget import Use
from tokenmeter.budgets.contract import BudgetAsk, BudgetRefusal, WindowOver
from tokenmeter.budgets.memory_store import MemoryBudgetStore
from tokenmeter.budgets.sqlite_store import SqliteBudgetStore


class CountingStore(MemoryBudgetStore):
    """Says when it was asked; may be slow, as a network is."""

    def __init__(self, delay: float = 0.0, *, waits: bool = False) -> None:
        super().__init__()
        self.waits = waits
        self.asked: list[float] = []
        self._delay = delay

    def reserve(self, call: str, asks: Sequence[BudgetAsk], lease: float) -> BudgetRefusal | WindowOver | None:
        self.asked.append(time.monotonic())
        time.sleep(self._delay)
        return super().reserve(call, asks, lease)


def test_a_call_that_no_budget_is_for_holds_nothing() -> None:
    assert enforcer(Budget("1 CNY", name="b", where={"team": "search"})).admit(facts({"team": "ads"})) is None


def test_all_budgets_hold_or_none() -> None:
    made = enforcer(Budget("5 CNY", name="wide", per="total"), Budget("1 CNY", name="tight", per="total"))
    first = made.admit(facts())
    assert first is not None
    with pytest.raises(BudgetExceeded, match="tight"):
        made.admit(facts())
    assert made.store.read("wide", 0, 1).held == 10**9
    first.release()
    assert made.store.read("wide", 0, 1).held == 0


def test_the_error_says_whether_others_hold_it_or_it_is_spent() -> None:
    made = enforcer(Budget("2 CNY", name="b", per="day"), bound=bound_of("1.5"))
    first = made.admit(facts())
    assert first is not None
    with pytest.raises(BudgetExceeded, match="would fit once others settle") as held:
        made.admit(facts())
    assert (held.value.kind, held.value.held, held.value.spent, held.value.asked) == ("held", Decimal("1.5"), 0, 1.5)
    first.settle(record(priced("1")))
    with pytest.raises(BudgetExceeded, match="the window resets in") as spent:
        made.admit(facts())
    error = spent.value
    assert (error.kind, error.left, error.limit, error.spent) == ("spent", 1, 2, 1)
    assert error.retry_after is not None
    assert 0 < error.retry_after <= 86_400


def test_a_call_above_the_limit_is_told_so() -> None:
    with pytest.raises(BudgetExceeded, match="the call alone is above the limit") as caught:
        enforcer(Budget("2 CNY", name="b", per="total"), bound=bound_of("3")).admit(facts())
    assert caught.value.kind == "spent"


def test_a_warning_lets_the_call_go_on_once_told(caplog: pytest.LogCaptureFixture) -> None:
    made = enforcer(Budget("1 CNY", name="b", per="total", on_exceed="warn"))
    held = [made.admit(facts()) for _ in range(3)]
    assert [one.flags for one in held if one] == [(), ("budget_exceeded=b",), ("budget_exceeded=b",)]
    assert made.store.read("b", 0, 1).held == 3 * 10**9
    assert [one.levelno for one in caplog.records] == [logging.WARNING]


def test_a_function_of_the_users_learns_the_error_and_may_say_what_to_use() -> None:
    seen: list[BudgetExceeded] = []

    def cheaper(error: BudgetExceeded) -> Use:
        seen.append(error)
        return Use("deepseek-chat", max_tokens=10)

    made = enforcer(Budget("1 CNY", name="b", per="total", on_exceed=cheaper), bound=bound_of("2"))
    with pytest.raises(BudgetExceeded) as caught:
        made.admit(facts())
    assert seen == [caught.value]
    assert caught.value.use == Use("deepseek-chat", max_tokens=10)


def test_what_the_users_function_raises_reaches_the_caller() -> None:
    class Stop(RuntimeError):
        pass

    def stop(error: BudgetExceeded) -> None:
        raise Stop

    made = enforcer(Budget("1 CNY", name="b", per="total", on_exceed=stop), bound=bound_of("2"))
    with pytest.raises(Stop):
        made.admit(facts())


def test_a_window_that_ends_between_the_clocks_is_asked_again() -> None:
    """The store's clock is ahead: its answer chooses the window."""
    ahead = 86_400_000

    class Ahead(MemoryBudgetStore):
        def now(self) -> int:
            return super().now() - ahead

        def reserve(self, call: str, asks: Sequence[BudgetAsk], lease: float) -> Any:
            answer = super().reserve(call, asks, lease)
            nonlocal ahead
            if isinstance(answer, WindowOver):
                ahead = 0
            return answer

    held = enforcer(Budget("5 CNY", name="b", per="hour"), store=Ahead()).admit(facts())
    assert held is not None


def test_a_call_that_was_never_asked_for_is_charged_soon() -> None:
    store = CountingStore(waits=True)
    made = enforcer(Budget("9 CNY", name="b", per="total"), store=store)
    made.start()
    made.charge(facts(), record(priced("0.5")))
    until(lambda: store.read("b", 0, 1).spent == 500_000_000, "the charge")


# Waiting ----------------------------------------------------------------------------------------------------------


def test_a_call_waits_until_another_settles() -> None:
    made = enforcer(Budget("1 CNY", name="b", per="total", wait=20.0))
    first = made.admit(facts())
    assert first is not None
    threading.Timer(0.3, first.release).start()
    began = time.monotonic()
    assert made.admit(facts()) is not None
    assert 0.25 < time.monotonic() - began < 10


def test_waiting_ends_in_time_and_the_error_says_held() -> None:
    made = enforcer(Budget("1 CNY", name="b", per="total", wait=0.5))
    assert made.admit(facts()) is not None
    began = time.monotonic()
    with pytest.raises(BudgetExceeded) as caught:
        made.admit(facts())
    assert 0.3 < time.monotonic() - began < 0.5 + 0.2
    assert caught.value.kind == "held"


def test_what_is_spent_is_not_waited_for() -> None:
    made = enforcer(Budget("1 CNY", name="b", per="total", wait=20.0))
    first = made.admit(facts())
    assert first is not None
    first.settle(record(priced("1")))
    began = time.monotonic()
    with pytest.raises(BudgetExceeded):
        made.admit(facts())
    assert time.monotonic() - began < 5


def test_those_who_wait_ask_ten_times_a_second_and_go_on_in_order() -> None:
    store = CountingStore()
    made = enforcer(Budget("1 CNY", name="b", per="total", wait=30.0), store=store)
    holder = made.admit(facts())
    assert holder is not None
    order: list[int] = []

    async def wait(number: int) -> None:
        held = await made.admit_async(facts())
        assert held is not None
        order.append(number)
        held.release()

    async def main() -> None:
        waiting = []
        for number in range(30):
            waiting.append(asyncio.create_task(wait(number)))
            await asyncio.sleep(0)
        store.asked.clear()
        began = time.monotonic()
        await asyncio.sleep(1.0)
        assert len(store.asked) <= 10 * (time.monotonic() - began) + 1
        holder.release()
        await asyncio.gather(*waiting)

    asyncio.run(main())
    assert order == list(range(30))


def test_many_whose_time_is_over_do_not_ask_the_store_each() -> None:
    store = CountingStore()
    made = enforcer(Budget("1 CNY", name="b", per="total", wait=0.6), store=store)
    assert made.admit(facts()) is not None

    async def main() -> list[BaseException]:
        first = asyncio.create_task(made.admit_async(facts()))
        await asyncio.sleep(0.05)
        store.asked.clear()
        more = [made.admit_async(facts()) for _ in range(200)]
        return await asyncio.gather(first, *more, return_exceptions=True)  # type: ignore[return-value]

    errors = asyncio.run(main())
    assert {type(one) for one in errors} == {BudgetExceeded}
    assert {one.kind for one in errors if isinstance(one, BudgetExceeded)} == {"held"}
    assert len(store.asked) <= 12
    assert made._waiting == {}


def test_a_task_that_is_cancelled_leaves_the_queue() -> None:
    made = enforcer(Budget("1 CNY", name="b", per="total", wait=30.0))
    holder = made.admit(facts())
    assert holder is not None

    async def main() -> None:
        gone = asyncio.create_task(made.admit_async(facts()))
        await asyncio.sleep(0.05)
        stays = asyncio.create_task(made.admit_async(facts()))
        await asyncio.sleep(0.05)
        gone.cancel()
        holder.release()
        assert await asyncio.wait_for(stays, 10) is not None

    asyncio.run(main())


# Event loops ------------------------------------------------------------------------------------------------------


def test_an_event_loop_goes_on_while_the_store_is_asked() -> None:
    made = enforcer(Budget("9 CNY", name="b", per="total"), store=CountingStore(0.3, waits=True))
    late: list[float] = []

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - began)

    async def main() -> None:
        watching = asyncio.create_task(watch())
        assert await made.admit_async(facts()) is not None
        watching.cancel()

    asyncio.run(main())
    assert len(late) > 20
    assert sorted(late)[len(late) // 2] < 0.05


def test_a_task_that_is_cancelled_while_the_store_is_asked_holds_nothing() -> None:
    store = CountingStore(0.3, waits=True)
    made = enforcer(Budget("9 CNY", name="b", per="total"), store=store)

    async def main() -> None:
        task = asyncio.create_task(made.admit_async(facts()))
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while not store.asked:
            await asyncio.sleep(0.01)

    asyncio.run(main())
    time.sleep(0.4)
    until(lambda: store.read("b", 0, 1).held == 0, "the withdrawal")


def test_trio(tmp_path: Path) -> None:
    trio = pytest.importorskip("trio")
    made = enforcer(
        Budget("1 CNY", name="b", per="total", wait=20.0), store=SqliteBudgetStore(tmp_path / "b.db", deadline=5)
    )
    order: list[str] = []

    async def later(reservation: Any) -> None:
        await trio.sleep(0.3)
        order.append("released")
        await trio.to_thread.run_sync(reservation.release)

    async def main() -> None:
        first = await made.admit_async(facts())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(later, first)
            assert await made.admit_async(facts()) is not None
            order.append("held")

    trio.run(main)
    assert order == ["released", "held"]


def test_neither_loop_is_imported_before_it_runs() -> None:
    code = (
        "import sys, tokenmeter.budgets.enforcer; "
        "sys.exit([one for one in ('asyncio', 'trio', 'anyio', 'redis') if one in sys.modules] or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
