"""Money is exact, keeps its currency, and does not care about the host's decimal context."""

from __future__ import annotations

import decimal
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.errors import CurrencyMismatch
from tokenmeter.money import EXACT, Money, exact_decimal, plain, sum_money

amounts = st.decimals(allow_nan=False, allow_infinity=False, places=9, min_value=-(10**12), max_value=10**12)


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        pytest.param("0.10", "0.1", id="trailing zero"),
        pytest.param("1E-7", "0.0000001", id="small exponent"),
        pytest.param("1.2E+3", "1200", id="large exponent"),
        pytest.param("-0.000", "0", id="negative zero"),
        pytest.param("100", "100", id="zeros before the point stay"),
        pytest.param("-0.50", "-0.5", id="negative"),
    ],
)
def test_plain_has_no_exponent_and_no_trailing_zeros(number: str, shown: str) -> None:
    assert plain(Decimal(number)) == shown


@given(amounts)
def test_plain_reads_back_as_the_same_number(amount: Decimal) -> None:
    assert Decimal(plain(amount)) == amount


@pytest.mark.parametrize("value", [0.1, True, None, float("nan"), b"1"])
def test_inexact_things_are_refused(value: object) -> None:
    with pytest.raises(TypeError):
        exact_decimal(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "one", "", "1" * 200])
def test_text_that_is_no_exact_number_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        exact_decimal(value)


@given(st.lists(amounts, max_size=20))
def test_sums_are_exact_under_any_host_context(values: list[Decimal]) -> None:
    with decimal.localcontext(decimal.Context(prec=3, rounding=decimal.ROUND_UP)):
        total = sum_money(Money(value, "CNY") for value in values)
    scaled = sum(int(value.scaleb(9, EXACT)) for value in values)
    assert total.get("CNY", Money(Decimal(0), "CNY")).amount == Decimal(scaled).scaleb(-9, EXACT)


def test_currencies_do_not_mix() -> None:
    yuan, dollar = Money(Decimal(1), "CNY"), Money(Decimal(1), "USD")
    for combine in (lambda: yuan + dollar, lambda: yuan - dollar, lambda: yuan < dollar):
        with pytest.raises(CurrencyMismatch, match="convert one of them at a dated rate"):
            combine()
    assert sum_money([yuan, dollar, yuan]) == {"CNY": Money(Decimal(2), "CNY"), "USD": dollar}


def test_money_is_shown_rounded_and_kept_exact() -> None:
    third = Money(Decimal("0.333333333333"), "USD")
    assert third.rounded(2) == "0.33 USD"
    assert str(third * 3) == "0.999999999999 USD"
    with pytest.raises(TypeError):
        third * 0.5  # type: ignore[operator]
