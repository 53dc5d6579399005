"""What a cache saved, in money: sums a reader can redo by hand, and the same as pricing the call without its cache."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.cost import Cost
from tokenmeter.money import Money
from tokenmeter.prices.book import Book
from tokenmeter.usage import Usage

BOOK = Book.of(Path(__file__).parent / "data" / "prices")
NOON = "2026-11-20T12:30:00+08:00"
M = 1_000_000


def price(provider: str, model: str, usage: dict[str, Any], **params: Any) -> Cost:
    return BOOK.price(Usage.from_dict(usage), provider=provider, model=model, at=NOON, params=params)


def tokens(fresh_in: int, **more: Any) -> dict[str, Any]:
    return {"input_tokens": fresh_in, "output_tokens": 500, **more}


SONNET = ("anthropic", "claude-sonnet-4-5")
CLAUDE_BOTH = tokens(
    10_000, cache_read_input_tokens=5_000, cache_write_5m_input_tokens=1_000, cache_write_1h_input_tokens=2_000
)
SOUND = tokens(1_000, audio_input_tokens=600, cache_read_input_tokens=500, audio_cache_read_input_tokens=300)


@pytest.mark.parametrize(
    ("model", "usage", "params", "saved", "currency"),
    [
        pytest.param(
            SONNET, tokens(10_000, cache_read_input_tokens=8_000), {},
            8_000 * (Decimal(3) - Decimal("0.3")) / M, "USD", id="read at a tenth",
        ),
        pytest.param(
            SONNET, tokens(10_000, cache_read_input_tokens=0, cache_write_5m_input_tokens=9_000), {},
            9_000 * (Decimal(3) - Decimal("3.75")) / M, "USD", id="a write alone costs more than plain input",
        ),
        pytest.param(
            SONNET, CLAUDE_BOTH, {},
            (5_000 * Decimal("2.7") - 1_000 * Decimal("0.75") - 2_000 * Decimal(3)) / M, "USD",
            id="read, less the writes of both lifetimes",
        ),
        pytest.param(
            SONNET, tokens(10_000, cache_read_input_tokens=0, cache_write_input_tokens=1_000), {"cache_ttl": "1h"},
            -1_000 * Decimal(3) / M, "USD", id="a write of the lifetime that was asked for",
        ),
        pytest.param(
            ("alibaba", "qwen-plus"), tokens(200_000, cache_read_input_tokens=100_000), {},
            100_000 * (Decimal("2.4") - Decimal("0.48")) / M, "CNY", id="at the tier the whole input falls into",
        ),
        pytest.param(
            ("openai", "gpt-audio"), SOUND, {},
            (200 * (Decimal("2.5") - Decimal("0.5")) + 300 * (Decimal(40) - Decimal(4))) / M, "USD",
            id="cached sound against sound",
        ),
        pytest.param(
            SONNET, tokens(10_000, cache_read_input_tokens=0), {}, Decimal(0), "USD", id="none read, and that is known"
        ),
    ],
)  # fmt: skip
def test_savings_are_exact_and_in_the_vendors_currency(
    model: tuple[str, str], usage: dict[str, Any], params: dict[str, Any], saved: Decimal, currency: str
) -> None:
    assert price(*model, usage, **params).cache_savings == Money(saved, currency)


@pytest.mark.parametrize(
    ("provider", "model", "usage"),
    [
        pytest.param("anthropic", "claude-unheard-of", tokens(10, cache_read_input_tokens=5), id="unpriced"),
        pytest.param("anthropic", "claude-sonnet-4-5", tokens(10), id="the usage does not tell what was read"),
        pytest.param("anthropic", "claude-sonnet-4-5", tokens(10, cache_read_input_tokens=11), id="a contradiction"),
    ],
)
def test_what_is_not_known_is_none(provider: str, model: str, usage: dict[str, Any]) -> None:
    assert price(provider, model, usage).cache_savings is None


def test_a_model_without_a_cache_price_saves_nothing_and_that_is_known() -> None:
    book = Book.of({"provider": "acme", "currency": "USD", "timezone": "UTC", "rate": [
        {"model": "m", "effective": "2026-01-01", "input": 1, "output": 2, "source": "https://acme.example"},
    ]})  # fmt: skip
    cost = book.price(Usage(input_tokens=10, output_tokens=1), provider="acme", model="m", at="2026-11-01")
    assert cost.cache_savings == Money(Decimal(0), "USD")


def test_a_cost_can_be_copied_and_sent_elsewhere() -> None:
    cost = price("anthropic", "claude-sonnet-4-5", tokens(10_000, cache_read_input_tokens=8_000))
    for again in (copy.deepcopy(cost), pickle.loads(pickle.dumps(cost))):
        assert again == cost
        assert again.cache_savings == cost.cache_savings == Money(Decimal("0.0216"), "USD")


@st.composite
def cached(draw: st.DrawFn) -> Usage:
    """A usage of which a part went through the cache, in any of the ways that vendors tell it."""
    total = draw(st.one_of(st.integers(1, 300_000), st.sampled_from([32_000, 32_001, 128_001, 272_001])))
    read = draw(st.integers(0, total))
    written = draw(st.integers(0, total - read))
    by_lifetime = draw(st.sampled_from([{}, {"5m": written}, {"1h": written}]))
    return Usage(
        input_tokens=total,
        output_tokens=draw(st.integers(0, 50_000)),
        cache_read_input_tokens=read,
        cache_write_input_tokens=None if by_lifetime else draw(st.sampled_from([None, written])),
        cache_writes=by_lifetime,
        cached_media=draw(st.sampled_from([{}, {"audio": read}])),
        audio_input_tokens=draw(st.sampled_from([None, read])),
    )


@given(
    cached(),
    st.sampled_from([
        ("alibaba", "qwen-plus"), ("zhipu", "glm-4.7"), ("anthropic", "claude-sonnet-4-5"), ("openai", "gpt-5.4"),
        ("openai", "gpt-audio"), ("deepseek", "deepseek-chat"), ("deepseek", "deepseek-v4-flash"),
    ]),
    st.integers(1_672_531_200, 1_811_808_000).map(lambda second: datetime.fromtimestamp(second, UTC)),
)  # fmt: skip
def test_savings_are_what_the_call_would_have_cost_without_a_cache_less_its_cost(
    usage: Usage, model: tuple[str, str], at: datetime
) -> None:
    plain = replace(usage, cache_read_input_tokens=0, cache_write_input_tokens=0, cache_writes={}, cached_media={})
    cost = BOOK.price(usage, provider=model[0], model=model[1], at=at)
    without = BOOK.price(plain, provider=model[0], model=model[1], at=at)
    if cost.amount is None or without.amount is None:
        assert cost.amount is not None or cost.cache_savings is None
        return
    assert cost.cache_saved == without.amount - cost.amount
