"""Whole numbers against the book: the same amounts, to the digit, for every usage that they answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter.ledger.valuation.linear_prices import (
    DIGITS,
    FormPrices,
    amount_of,
    amount_text,
    linear_tokens,
)
from tokenmeter.money import plain
from tokenmeter.prices.book import Book, load_book
from tokenmeter.usage import Usage

MODELS = [
    ("deepseek", "deepseek-chat", {}),
    ("deepseek", "deepseek-chat", {"currency": "USD"}),
    ("alibaba", "qwen-plus", {}),
    ("alibaba", "qwen-plus", {"thinking": True}),
    ("alibaba", "qwen3-max", {"region": "cn-beijing"}),
    ("volcengine", "doubao-seed-1-6-250615", {"batch": True}),
    ("google", "gemini-2.5-pro", {}),
    ("anthropic", "claude-sonnet-4-5", {}),
    ("openai", "gpt-5", {"service_tier": "flex"}),
    ("zhipu", "glm-4.6", {}),
    ("openai", "corp-unknown", {}),
]
BOOK = load_book()
FORMS = [FormPrices(BOOK, provider, model, None, params) for provider, model, params in MODELS]
tokens = st.one_of(st.just(0), st.integers(0, 5_000), st.integers(0, 2_000_000))


@given(
    st.integers(0, len(MODELS) - 1), st.integers(0, 40_000), tokens, tokens, tokens, tokens, tokens,
    st.sampled_from([None, "cache", "thought"]),
)  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_whatever_is_answered_is_what_the_book_says(
    which: int, hours: int, fresh: int, read: int, written: int, said: int, thought: int, none: str | None
) -> None:
    provider, model, params = MODELS[which]
    at = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(hours=hours, minutes=hours % 60)
    cached = (None, None) if none == "cache" else (read, written)
    usage = Usage(
        input_tokens=fresh + sum(part or 0 for part in cached),
        cache_read_input_tokens=cached[0],
        cache_write_input_tokens=cached[1],
        output_tokens=said + (0 if none == "thought" else thought),
        reasoning_output_tokens=None if none == "thought" else thought,
    )
    split = linear_tokens(
        usage.input_tokens or 0, usage.output_tokens or 0, *(part or 0 for part in cached),
        usage.reasoning_output_tokens or 0,
    )  # fmt: skip
    assert split is not None
    found = FORMS[which].at(at.timestamp(), usage.input_tokens or 0, usage.output_tokens or 0, split)
    total = None if found is None else found.amount(split)
    cost = BOOK.price(usage, provider=provider, model=model, at=at, params=params)
    if found is None or total is None:
        return
    assert cost.amount == amount_of(total)
    assert amount_text(total) == plain(cost.amount)
    assert (found.rate_id, found.currency) == (cost.rate_id, cost.currency)


@pytest.mark.parametrize("which", range(len(MODELS)))
def test_plain_calls_go_the_fast_way_where_there_is_a_price(which: int) -> None:
    provider, model, params = MODELS[which]
    at = datetime(2026, 9, 1, 4, tzinfo=UTC)
    cost = BOOK.price(
        Usage(input_tokens=1_000, output_tokens=100), provider=provider, model=model, at=at, params=params
    )
    found = FORMS[which].at(at.timestamp(), 1_000, 100, (1_000, 0, 0, 100, 0))
    if cost.amount is None:
        assert found is None
    else:
        assert found is not None
        total = found.amount((1_000, 0, 0, 100, 0))
        assert total is not None
        assert amount_of(total) == cost.amount


@pytest.mark.parametrize("usage", [(10, 1, 11, 0, 0), (10, 1, 6, 5, 0), (10, 1, 0, 0, 2), (10, 1, -1, 0, 0)])
def test_what_contradicts_itself_goes_the_general_way(usage: tuple[int, int, int, int, int]) -> None:
    assert linear_tokens(*usage) is None


def test_a_price_with_more_decimals_goes_the_general_way() -> None:
    fine, finer = Decimal(1).scaleb(6 - DIGITS), Decimal(1).scaleb(5 - DIGITS)
    for price, answered in ((fine, True), (finer, False)):
        book = Book.of(
            {
                "provider": "deepseek", "currency": "CNY", "timezone": "Asia/Shanghai",
                "rate": [
                    {"model": "m", "effective": "2024-01-01", "input": price, "output": 1, "source": "s",
                     "confidence": "official"}
                ],
            }
        )  # fmt: skip
        found = FormPrices(book, "deepseek", "m", None, {}).at(1_790_000_000.0, 1, 0, (1, 0, 0, 0, 0))
        assert (found is not None) == answered


@given(st.integers(0, 10**40))
def test_amounts_are_written_as_plain_money(total: int) -> None:
    assert amount_text(total) == plain(amount_of(total))
