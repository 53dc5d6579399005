"""A limit as an exact integer of a unit; what cannot be one is said."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter import Money
from tokenmeter.budgets.limits import BudgetLimit
from tokenmeter.errors import ConfigurationError


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("50 CNY", (50 * 10**9, "CNY", 9)),
        (" 0.000000001USD ", (1, "USD", 9)),
        ("2_000_000 tokens", (2_000_000, "tokens", 0)),
        ("1 Token", (1, "tokens", 0)),
        ("500 CALLS", (500, "calls", 0)),
        (Money(Decimal("1.5"), "EUR"), (1_500_000_000, "EUR", 9)),
        ("9007199.254740991 CNY", (2**53 - 1, "CNY", 9)),
        ("9007200 CNY", (9_007_200 * 10**6, "CNY", 6)),  # in millionths from here on
        ("9007199254.740991 CNY", (2**53 - 1, "CNY", 6)),
        ("9007199254740991 tokens", (2**53 - 1, "tokens", 0)),
    ],
)
def test_a_limit(value: object, expected: tuple[int, str, int]) -> None:
    assert tuple(BudgetLimit.read(value, "b")) == expected


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("0 CNY", "lets no call through"),
        ("-1 CNY", "no limit"),
        (Money(Decimal(-1), "CNY"), "lets no call through"),
        ("NaN CNY", "no limit"),
        (50, "no limit"),
        (50.0, "no limit"),
        (None, "no limit"),
        ("50", "no limit"),
        ("50 cny", "no unit"),
        ("50 yuan", "no unit"),
        ("1.5 calls", "more digits"),
        ("0.0000000001 CNY", "more digits"),
        ("9007200.0000001 CNY", "more digits"),
        ("9007199255 CNY", "at most 9,007,199,254 CNY"),
        ("9007199254740992 tokens", "more than every store can compare"),
    ],
)
def test_what_is_no_limit(value: object, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        BudgetLimit.read(value, "budget 'b'")
    assert str(caught.value).startswith("budget 'b': ")


@given(st.decimals(min_value=0, max_value=10**6, places=12))
def test_an_amount_is_rounded_by_half_a_billionth_and_a_hold_never_below(amount: Decimal) -> None:
    limit = BudgetLimit.read("1 CNY", "b")
    assert abs(limit.amount(limit.of(amount)) - amount) <= Decimal("0.5e-9")
    held = limit.amount(limit.of(amount, up=True)) - amount
    assert 0 <= held < Decimal("1e-9")


def test_units_for_people() -> None:
    assert BudgetLimit.read("50 CNY", "b").show(12_500_000_000) == "12.5 CNY"
    assert BudgetLimit.read("5 tokens", "b").show(300) == "300 tokens"
