"""One call and its budgets, through the meter: asked once, refused before it is sent, charged once."""

from __future__ import annotations

import asyncio
import gc

import pytest

from tokenmeter import Budget, BudgetExceeded, End, Tokenmeter, Usage
from tokenmeter.budgets.contract import WindowSpend
from tokenmeter.testing import capture

TOKENS = Usage(input_tokens=100, output_tokens=20)


def meter_of(*budgets: Budget) -> Tokenmeter:
    return Tokenmeter(budgets=list(budgets), spans="none")


def read(meter: Tokenmeter, series: str) -> WindowSpend:
    assert meter.flush(10)
    enforcer = meter._gate.enforcer
    assert enforcer is not None
    return enforcer.store.read(series, 0, 1)


def test_a_call_holds_while_it_is_open_and_is_charged_once() -> None:
    meter = meter_of(Budget("9 calls", name="b", per="total"))
    with meter.call("deepseek", "deepseek-chat") as call:
        assert read(meter, "b") == WindowSpend(0, 1, 0, 0)
        call.observe_usage(TOKENS)
    assert read(meter, "b") == WindowSpend(1, 0, 0, 0)


def test_a_refused_call_runs_nothing_and_leaves_a_record() -> None:
    meter = meter_of(Budget("1 calls", name="b", per="total"))
    with capture(meter) as records:
        with meter.call("deepseek", "deepseek-chat") as call:
            call.observe_usage(TOKENS)
        with pytest.raises(BudgetExceeded), meter.call("deepseek", "deepseek-chat"):
            pytest.fail("the block of a refused call ran")
    assert [record.end for record in records] == [End.COMPLETE, End.REFUSED]
    assert records[1].budget_window == {}
    assert read(meter, "b").spent == 1


def test_a_call_that_fails_before_it_is_sent_is_charged_nothing() -> None:
    meter = meter_of(Budget("900 tokens", name="b", per="total"))
    with pytest.raises(ValueError, match="mine"), meter.call("deepseek", "deepseek-chat"):
        raise ValueError("mine")
    assert read(meter, "b") == WindowSpend(0, 0, 0, 0)


def test_a_record_says_that_a_budget_was_exceeded_where_that_is_a_warning() -> None:
    meter = meter_of(Budget("1 calls", name="b", per="total", on_exceed="warn"))
    with capture(meter) as records:
        for _ in range(2):
            with meter.call("deepseek", "deepseek-chat") as call:
                call.observe_usage(TOKENS)
    assert ["budget_exceeded=b" in record.flags for record in records] == [False, True]
    assert read(meter, "b").spent == 2


def test_coroutines_ask_as_others_do() -> None:
    meter = meter_of(Budget("1 calls", name="b", per="total"))

    async def main() -> None:
        async with meter.call("deepseek", "deepseek-chat") as call:
            call.observe_usage(TOKENS)
        with pytest.raises(BudgetExceeded):
            async with meter.call("deepseek", "deepseek-chat"):
                pytest.fail("the block of a refused call ran")

    asyncio.run(main())
    assert read(meter, "b").spent == 1


def test_runs_of_a_scope_leave_nothing_behind() -> None:
    meter = Tokenmeter(spans="none")
    for _ in range(300):
        with meter.scope("nightly", budget="1 calls"), meter.call("deepseek", "deepseek-chat") as call:
            call.observe_usage(TOKENS)
    enforcer = meter._gate.enforcer
    assert enforcer is not None
    del call
    gc.collect()
    over = [one[4] for counters in enforcer.local._counters.values() for one in counters.values()]
    assert len(over) == 300
    assert max(over) < enforcer.store.now()  # each is forgotten within a minute
