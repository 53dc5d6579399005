"""Sums in whole numbers against the book's own prices of scaled usages, call by call."""

from __future__ import annotations

import itertools
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rigs.bills import ledger_of, metered
from tokenmeter.ledger.valuation.recorded_requests import RecordedRequests
from tokenmeter.ledger.valuation.token_ratios import scaled, token_ratio, with_cache_rate, without_cache
from tokenmeter.ledger.valuation.what_if import compare_models
from tokenmeter.money import EXACT
from tokenmeter.prices.book import load_book
from tokenmeter.record import Record
from tokenmeter.tokens.families import match_model
from tokenmeter.usage import Usage

SOURCES = [("deepseek", "deepseek-chat"), ("alibaba", "qwen-plus"), ("zhipu", "glm-4.6")]
TARGETS = [
    ("alibaba", "qwen-plus"), ("google", "gemini-2.5-pro"), ("anthropic", "claude-sonnet-4-5"),
    ("volcengine", "doubao-seed-1-6-250615"), ("deepseek", "deepseek-chat"),
]  # fmt: skip
BOOK = load_book()
_numbers = itertools.count()
CALLS = st.lists(
    st.tuples(
        st.sampled_from(SOURCES),
        st.integers(0, 9_000),
        st.one_of(st.integers(1, 3_000), st.integers(1, 400_000)),
        st.integers(0, 4),
        st.integers(0, 9_000),
        st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


def made(calls: list[tuple[tuple[str, str], int, int, int, int, bool]]) -> list[Record]:
    return [
        metered(
            provider, model, datetime(2025, 11, 1, tzinfo=UTC) + timedelta(hours=hours, minutes=hours % 60),
            Usage(
                input_tokens=tokens, cache_read_input_tokens=tokens * cached // 5 if cached else None,
                output_tokens=output, reasoning_output_tokens=output // 3 if thinking else None,
            ),
        )
        for (provider, model), hours, tokens, cached, output, thinking in calls
    ]  # fmt: skip


@pytest.mark.parametrize("way", ["rows", "columns"])
@pytest.mark.parametrize("cache", ["keep", "none", "measured"])
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_sums_are_those_of_the_book(
    way: str, cache: str, calls: list[tuple[tuple[str, str], int, int, int, int, bool]], tmp_path: Path
) -> None:
    """By columns where pyarrow is installed; a file of requests, even an empty one, has the calls read as rows."""
    if way == "columns":
        pytest.importorskip("pyarrow")
    records = made(calls)
    path = ledger_of(tmp_path / f"{next(_numbers)}.db", records)
    (tmp_path / "none.jsonl").touch()
    with RecordedRequests(str(tmp_path / "none.jsonl")) as nothing:
        requests = None if way == "columns" else nothing
        candidates = compare_models(path, BOOK, TARGETS, cache=cache, requests=requests).candidates
    for found in candidates:
        expected: dict[str, Decimal] = defaultdict(Decimal)
        counted = 0
        for one in records:
            costs = _costs(one, found.name, cache, found.cache_rate)
            if costs is not None:
                counted += 1
                for name, amount in costs.items():
                    expected[name] = EXACT.add(expected[name], amount)
        assert found.calls == counted
        assert {name: found.sums[name] for name in expected} == expected


def _costs(call: Record, target: tuple[str, str], cache: str, rate: Fraction | None) -> dict[str, Decimal] | None:
    """The amounts of a call as one of another model, by the book; None if one of them is not known."""
    if cache == "measured" and rate is None:
        return None
    family = match_model(call.request_model or "", call.provider).family
    ratio = token_ratio(family, match_model(target[1], target[0]).family)
    assert ratio is not None

    def assumed(usage: Usage) -> Usage:
        return (
            usage
            if cache == "keep"
            else with_cache_rate(usage, Fraction(0) if rate is None or cache == "none" else rate)
        )

    usages = {
        "as_they_were": call.usage, "same_tokens": assumed(call.usage),
        "low": assumed(scaled(call.usage, ratio.low, up=False)),
        "likely": assumed(scaled(call.usage, ratio.likely, up=None)),
        "high": assumed(scaled(call.usage, ratio.high, up=True)),
    }  # fmt: skip
    costs = {}
    for name, usage in usages.items():
        for tried in (usage, without_cache(usage)):
            cost = BOOK.price(tried, provider=target[0], model=target[1], at=call.cost.at)
            if cost.amount is not None or not usage.cache_read_input_tokens:
                break
        if cost.amount is None:
            return None
        costs[name] = cost.amount
    return costs
