"""Sums of one candidate: shares, break-even rate, what is null."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tokenmeter.ledger.valuation.candidate import Candidate


def candidate(**sums: str) -> Candidate:
    made = Candidate("alibaba", "qwen-plus", currency="CNY", calls=1)
    for name, amount in sums.items():
        made.add(name, Decimal(amount))
    made.rests_on["CNY"] = Decimal(4)
    return made


@pytest.mark.parametrize(
    ("none", "whole", "rate"),
    [
        ("5", "3", "0.5"),
        ("4", "3", "0"),
        ("5", "4", "1"),
        ("3", "2", None),
        ("9", "5", None),
        ("4", "4", None),
        ("3", "5", None),
    ],
)
def test_the_cache_rate_at_which_it_breaks_even(none: str, whole: str, rate: str | None) -> None:
    found = candidate(uncached=none, all_cached=whole).break_even_cache_rate()
    assert found == (None if rate is None else Decimal(rate))


def test_prices_and_break_even_are_unknown_where_the_spend_is() -> None:
    made = candidate(uncached="5", all_cached="3", as_they_were="6", same_tokens="6", with_tools="6", likely="7")
    assert made.drivers() == {"prices": 2, "cache": 0, "tools": 0, "tokenizer": 1}
    made.unpriced = 1
    assert made.drivers()["prices"] is None
    assert made.break_even_cache_rate() is None


def test_shares_are_rounded_down_and_no_call_is_null() -> None:
    said = candidate(likely="1").to_dict({"CNY": Decimal("4.0001"), "USD": Decimal(1)})
    assert [(one["currency"], one["share"]) for one in said["rests_on"]] == [("CNY", "0.9999"), ("USD", "0")]
    nothing = Candidate("alibaba", "qwen-plus").to_dict({})
    assert {nothing[name] for name in ("low", "likely", "high", "same_tokens", "drivers", "cache_rate")} == {None}
