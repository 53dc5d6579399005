"""What an open call holds, how it grows, and what it is charged by how it ended."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.rigs.budget_calls import bound_of, enforcer, facts
from tests.rigs.made_records import priced, record, unpriced
from tokenmeter import Budget, End, Usage
from tokenmeter.budgets.contract import WindowSpend
from tokenmeter.record import Record

NO_USAGE = Usage(input_tokens=None, output_tokens=None)  # type: ignore[arg-type]

TOO_MANY = record(unpriced(), end=End.ERROR, status_code=429, usage=NO_USAGE)


def spent_after(budget: Budget, done: Record, **more: Any) -> int:
    made = enforcer(budget, bound=bound_of("0.5", "0.001", tokens=40, limit=100), **more)
    held = made.admit(facts())
    assert held is not None
    held.settle(done)
    held.settle(done)  # once only
    read = made.store.read("b", 0, 1)
    assert read.held == 0
    return read.spent


def total(limit: str, **more: Any) -> Budget:
    return Budget(limit, name="b", per="total", **more)


@pytest.mark.parametrize(
    ("budget", "done", "spent"),
    [
        pytest.param(total("9 CNY"), record(priced("0.3")), 300_000_000, id="its cost"),
        pytest.param(total("9 CNY"), record(priced("7")), 7 * 10**9, id="its cost above the hold"),
        pytest.param(total("9 CNY"), record(priced("0")), 0, id="free"),
        pytest.param(total("9 calls"), record(), 1, id="a call"),
        pytest.param(total("9000 tokens"), record(), 1_100, id="its tokens"),
        pytest.param(total("9 CNY"), record(priced("0.3", "USD")), 0, id="another currency without a rate"),
        pytest.param(total("9 CNY"), record(unpriced()), 0, id="no price"),
        pytest.param(total("9 CNY", unpriced="1000 CNY"), record(unpriced()), 1_100_000_000, id="price by hand"),
        pytest.param(total("9 CNY"), record(end=End.DELEGATED), 0, id="another call's record has the cost"),
        pytest.param(total("9 CNY"), TOO_MANY, 0, id="not billed"),
        pytest.param(total("9000 tokens"), record(unpriced(), end=End.ERROR, usage=NO_USAGE), 0, id="never sent"),
    ],
)  # fmt: skip
def test_what_a_call_is_charged(budget: Budget, done: Record, spent: int) -> None:
    assert spent_after(budget, done) == spent


def test_a_cancelled_call_without_usage_is_charged_its_input() -> None:
    done = record(unpriced(), end=End.CANCELLED, usage=NO_USAGE)
    assert spent_after(total("9 CNY"), done) == 500_000_000
    assert spent_after(total("9000 tokens"), done) == 40
    assert spent_after(total("9 calls"), done) == 1


def test_a_cost_in_another_currency_is_converted() -> None:
    def convert(amount: Decimal, base: str, to: str) -> Decimal:
        return amount * 7

    assert spent_after(total("9 CNY"), record(priced("0.3", "USD")), convert=convert) == 2_100_000_000


def test_release_charges_nothing() -> None:
    made = enforcer(total("9 CNY"), bound=bound_of("0.5"))
    held = made.admit(facts())
    assert held is not None
    held.release()
    assert made.store.read("b", 0, 1) == WindowSpend(0, 0, 0, 0)


def test_a_stream_grows_in_steps_up_to_its_limit() -> None:
    made = enforcer(total("90000 tokens"), bound=bound_of("0", tokens=40, limit=2_000))
    held = made.admit(facts(stream=True))
    assert held is not None
    steps = []
    for tokens in range(0, 4_000, 10):
        assert held.grow(tokens) is None
        steps.append(made.store.read("b", 0, 1).held)
    assert steps[0] == 1_040
    assert steps[-1] == 2_040
    assert 2 <= len(set(steps)) <= 6
    assert steps == sorted(steps)


@pytest.mark.parametrize(("cuts", "flag"), [(True, "budget_cut"), (False, "budget_overrun")])
def test_a_stream_that_does_not_fit(cuts: bool, flag: str) -> None:
    made = enforcer(total("1200 tokens", cut_streams=cuts), bound=bound_of("0", tokens=40, limit=8_000))
    held = made.admit(facts(stream=True))
    assert held is not None
    refused = [made.grow(held, tokens) for tokens in range(0, 3_000, 100)]
    assert any(refused) is cuts
    assert held.flags == (flag,)
    held.settle(record(usage=Usage(input_tokens=40, output_tokens=2_900)))
    assert made.store.read("b", 0, 1) == WindowSpend(2_940, 0, 0, 0)


def test_the_windows_of_a_call_are_those_of_its_reservation() -> None:
    made = enforcer(Budget("9 CNY", name="day"), Budget("9 calls", name="all", per="total"))
    held = made.admit(facts())
    assert held is not None
    assert held.windows["all"] == "total"
    assert len(held.windows["day"]) == len("2026-11-30")
