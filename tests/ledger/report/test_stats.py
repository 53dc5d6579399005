"""Statistics per call: nearest-rank percentiles of exact amounts, sums, and what the cache saved."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from decimal import Decimal
from math import ceil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rigs.asker import UTC_ZONE, Asker
from tests.rigs.made_records import NOON, priced, record, unpriced
from tokenmeter import Tokenmeter
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.report.stats import parse_stats
from tokenmeter.ledger.writer import Ledger
from tokenmeter.prices.book import load_book
from tokenmeter.usage import Usage


@given(
    st.lists(st.decimals("-5", "50000", places=12), min_size=1, max_size=30),
    st.lists(st.integers(0, 100), min_size=1, max_size=4, unique=True),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_percentile_is_the_call_of_nearest_rank(amounts: list[Decimal], percents: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "spend.db")
        for amount in amounts:
            ledger.write(record(priced(str(amount))))
        ledger.close(30)
        stats = parse_stats(",".join(f"p{percent}" for percent in percents))
        (row,) = ask(ledger.path, Question(by=("model",), zone=UTC_ZONE, stats=stats)).rows
    ordered = sorted(amounts)
    assert row.stats == {
        f"cost_p{percent}": ordered[max(1, ceil(percent * len(amounts) / 100)) - 1] for percent in percents
    }


def test_each_group_and_the_totals_have_their_own(held: Callable[..., Asker]) -> None:
    asked = held(
        *(record(priced(amount), tags={"team": "a"}) for amount in ("1", "2", "3")),
        record(priced("10"), tags={"team": "b"}),
        record(priced("7", "USD"), tags={"team": "b"}),
        record(unpriced(), tags={"team": "b"}),
    )
    report = asked("team", stats=parse_stats("min,median,max,sum"))
    assert {(*row.group, row.currency): [*row.stats.values()] for row in report.rows} == {
        ("a", "CNY"): [1, 2, 3, 6],
        ("b", "CNY"): [10, 10, 10, 10],
        ("b", "USD"): [7, 7, 7, 7],
        ("b", None): [None] * 4,
    }
    assert [[*row.stats.values()] for row in report.totals] == [[1, 2, 10, 16], [7, 7, 7, 7], [None] * 4]


def test_numbers_other_than_the_cost(held: Callable[..., Asker]) -> None:
    asked = held(*(record(usage=Usage(input_tokens=tokens)) for tokens in (10, 30, 20)), record(usage=Usage()))
    (row,) = asked(
        "model", stats=parse_stats("p50:input_tokens,sum:input_tokens,max:duration,p90:time_to_first_chunk")
    ).rows
    assert row.stats == {
        "input_tokens_p50": 20, "input_tokens_sum": 60, "duration_max": 1.0, "time_to_first_chunk_p90": None,
    }  # fmt: skip


def test_what_the_cache_saved_is_what_the_price_book_says(tmp_path: Path) -> None:
    meter = Tokenmeter(ledger=str(tmp_path / "spend.db"))
    saved = Decimal(0)
    for provider, model, usage in (
        ("deepseek", "deepseek-chat", Usage(input_tokens=9_000, cache_read_input_tokens=8_000, output_tokens=10)),
        ("deepseek", "deepseek-chat", Usage(input_tokens=9_000, output_tokens=10)),  # does not say: not known
        ("deepseek", "deepseek-chat", Usage(input_tokens=9_000, cache_read_input_tokens=0, output_tokens=10)),
        ("deepseek", "deepseek-chat", Usage(input_tokens=10**6, cache_read_input_tokens=1, output_tokens=10)),
    ):
        with meter.call(provider, model) as call:
            call.observe_usage(usage)
        savings = meter.price(usage, provider=provider, model=model).cache_savings
        saved += Decimal(0) if savings is None else savings.amount
    meter.shutdown()
    question = Question(by=("model",), zone=UTC_ZONE, stats=parse_stats("sum:cache_saved"))
    (row,) = ask(str(tmp_path / "spend.db"), question).rows
    assert row.stats == {"cache_saved_sum": saved}
    assert saved > 0


def test_a_call_that_read_everything_from_the_cache_saved_too(held: Callable[..., Asker]) -> None:
    """Its charges name no price of fresh input; the price of its own time, which the row keeps, does."""
    usage = Usage(input_tokens=1000, output_tokens=10, cache_read_input_tokens=1000)
    cost = load_book().price(usage, provider="deepseek", model="deepseek-chat", at=NOON)
    assert {charge.component for charge in cost.charges} == {"cache_read", "output"}
    (row,) = held(record(cost, usage=usage))("model", stats=parse_stats("sum:cache_saved")).rows
    assert cost.cache_saved
    assert row.stats == {"cache_saved_sum": cost.cache_saved}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("p101", "'p101' is not sum, min, median, max or p0 to p100"),
        ("mean", "'mean' is not"),
        ("p95:money", "'money' is not a number"),
    ],
)
def test_other_statistics_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--stat: {problem}"):
        parse_stats(text)
