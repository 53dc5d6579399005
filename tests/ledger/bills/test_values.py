"""Numbers and days as vendors write them."""

from __future__ import annotations

from datetime import UTC
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from tokenmeter.ledger.bills.values import read_day, read_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2.8e-6", "0.0000028"),
        ("1,234,567.50", "1234567.50"),
        ("-3.20", "-3.20"),
        ("(3.20)", "-3.20"),
        ("¥1,000", "1000"),
        ("-$0.5", "-0.5"),
        (" 7 ", "7"),
        ("0.000000000000000000000000000001", "1e-30"),
    ],
)
def test_numbers(text: str, number: str) -> None:
    assert read_number(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", " ", "-", "--", "N/A", "null"])
def test_an_empty_field_is_unknown_and_not_zero(text: str) -> None:
    assert read_number(text) is None


@pytest.mark.parametrize("text", ["1.234,50", "1,2", "12,34", "abc", "1e9999", "Infinity", "1 234", "0x10", "1.2.3"])
def test_what_is_no_number_or_an_unclear_one_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        read_number(text)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("20261101", "2026-11-01"),
        ("2026-11-01", "2026-11-01"),
        ("2026/11/1 23:59:59", "2026-11-01"),
        ("2026年11月1日", "2026-11-01"),
        ("2026-11-01T16:00:00Z", "2026-11-02"),  # midnight in Shanghai
        ("2026-11-01T15:59:59.999Z", "2026-11-01"),
        ("2026-11-01 19:00:00+03:00", "2026-11-02"),
        ("1793548800", "2026-11-02"),  # 2026-11-01T16:00:00Z
    ],
)
def test_days_on_the_clock_of_shanghai(text: str, day: str) -> None:
    assert read_day(text, ZoneInfo("Asia/Shanghai")) == day


@pytest.mark.parametrize("text", ["", "2026-13-01", "2026-02-30", "yesterday", "2026-11", "2026-11-01x", "12"])
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        read_day(text, UTC)
