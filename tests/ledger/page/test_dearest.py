"""The dearest calls and traces are ordered by exact cost, per currency."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

from tests.ledger.page.conftest import figures
from tests.rigs.made_records import NOON, priced, record, unpriced

NEAR = ("1.00000000000000000001", "1.00000000000000000002", "0.9", "10", "2")


def test_calls_by_exact_cost(ledger_of: Callable[..., str]) -> None:
    calls = [record(priced(amount), tags={"user": amount}) for amount in NEAR]
    path = ledger_of(*calls, record(priced("5", "USD")), record(unpriced()), *(record() for _ in range(20)))
    found = figures(path).dearest
    assert [call.cost for call in found["CNY"]][:5] == sorted(map(Decimal, NEAR), reverse=True)
    assert len(found["CNY"]) == 8
    assert found["CNY"][0].tags == {"user": "10"}
    assert [call.cost for call in found["USD"]] == [5]


def test_of_equal_calls_the_earlier_stands_first(ledger_of: Callable[..., str]) -> None:
    ends = [NOON - timedelta(minutes=n) for n in (3, 9, 6)]
    found = figures(ledger_of(*(record(priced("1"), ended=end) for end in ends)), "UTC").dearest["CNY"]
    assert [call.ended for call in found] == sorted(ends)


def test_a_trace_is_the_sum_of_its_calls(ledger_of: Callable[..., str]) -> None:
    one, two = "1" * 32, "2" * 32
    path = ledger_of(
        record(priced("0.7"), trace_id=one, scope=("agent", "plan")), record(priced("0.4"), trace_id=one),
        record(priced("9", "USD"), trace_id=one), record(unpriced(), trace_id=one),
        record(priced("1"), trace_id=two), record(priced("99")),
    )  # fmt: skip
    found = figures(path).traces
    first, second = found["CNY"]
    assert (first.trace, first.cost, first.calls, first.unpriced) == (one, Decimal("1.1"), 2, 1)
    assert first.scope == "agent / plan"
    assert (second.trace, second.cost, second.scope) == (two, 1, None)
    assert [(trace.trace, trace.cost) for trace in found["USD"]] == [(one, 9)]
