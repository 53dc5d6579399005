"""How numbers are written for people."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.ledger.page.wording import amount, log_ticks, named, percent, places_of, seconds, ticks
from tokenmeter.ledger.page.words import Words


@pytest.mark.parametrize(
    ("value", "places", "expected"),
    [
        ("0", 2, "0.00"), ("1234.565", 2, "1,234.56"), ("0.98", 2, "0.980"), ("0.98", 4, "0.9800"),
        ("0.0000012", 2, "0.00000120"), ("-0.5", 2, "-0.500"), ("1E+3", 2, "1,000.00"), ("7", 0, "7"),
    ],
)  # fmt: skip
def test_an_amount(value: str, places: int, expected: str) -> None:
    assert amount(Decimal(value), places) == expected


@given(st.decimals("0.000000000001", 10**12, places=12))
def test_only_nothing_looks_like_nothing(value: Decimal) -> None:
    assert Decimal(amount(value).replace(",", "")) != 0


def test_a_column_has_the_decimals_of_its_smallest_up_to_four() -> None:
    assert places_of([]) == places_of([Decimal(5), None, Decimal(0)]) == 2
    assert places_of([Decimal(5), Decimal("0.3")]) == 3
    assert places_of([Decimal("0.0000003")]) == 4


@pytest.mark.parametrize(
    ("part", "of", "expected"),
    [
        ("1", "3", "33.3%"), ("0", "3", "0%"), ("1", "100000", "<0.1%"), ("99999", "100000", ">99.9%"),
        ("3", "3", "100.0%"), ("6", "3", "200.0%"), ("1", "0", "0%"),
    ],
)  # fmt: skip
def test_a_share(part: str, of: str, expected: str) -> None:
    assert percent(Decimal(part), Decimal(of)) == expected


@given(st.decimals("0.0000001", 10**15, places=7))
def test_an_axis_has_a_few_round_lines_and_reaches_the_highest(most: Decimal) -> None:
    lines = ticks(most)
    assert lines[-2] < most <= lines[-1]
    assert 2 <= len(lines) <= 6
    step = lines[1]
    assert lines == [step * number for number in range(len(lines))]
    assert len(step.normalize().as_tuple().digits) <= 2


def test_an_axis_of_nothing() -> None:
    assert ticks(Decimal(0)) == [0, 1]


@given(st.floats(1e-6, 1e6), st.floats(3, 1e5))
def test_a_logarithmic_axis_has_lines_inside_it(low: float, factor: float) -> None:
    lines = log_ticks(low, low * factor)
    assert lines == sorted(lines)
    assert all(low <= line <= low * factor for line in lines)
    assert len(lines) <= 8


def test_seconds() -> None:
    assert [seconds(value) for value in (0.123, 9.994, 12.34, None)] == ["0.12", "9.99", "12.3", "–"]


def test_names_that_are_said_twice_have_their_other_part() -> None:
    groups = [("a", "m"), ("b", "m"), ("a", None)]
    assert [named(group, groups, Words("en")) for group in groups] == ["m (a)", "m (b)", "not set"]
    assert named(("x" * 80,), [], Words("en")) == "x" * 24 + "…" + "x" * 23
