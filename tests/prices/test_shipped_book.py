"""The shipped book holds the vendors' histories: each price before and after each cut, by the fact base's own account.

Prices are per million tokens: input, output, cached input. An instant without a clock is midnight in the vendor's zone.
"""

from __future__ import annotations

import runpy
from decimal import Decimal
from pathlib import Path

import pytest

from tokenmeter.prices.book import Book
from tokenmeter.usage import Usage

BOOK = Book()
M = 1_000_000


def per_million(provider: str, model: str, at: str, **tokens: int) -> Decimal | None:
    """What one token costs, times a million: a short call, so the lowest tier answers."""
    usage = Usage(**{"input_tokens": 0, "output_tokens": 0, **tokens})
    amount = BOOK.price(usage, provider=provider, model=model, at=at).amount
    return None if amount is None else amount * M


@pytest.mark.parametrize(
    ("provider", "model", "at", "paid", "answered", "cached"),
    [
        ("deepseek", "deepseek-chat", "2024-05-06", "1", "2", None),
        ("deepseek", "deepseek-chat", "2024-08-02", "1", "2", "0.1"),
        ("deepseek", "deepseek-chat", "2025-02-08T23:59:59+08:00", "1", "2", "0.1"),
        ("deepseek", "deepseek-chat", "2025-02-09", "2", "8", "0.5"),
        ("deepseek", "deepseek-chat", "2025-09-05T23:59:59+08:00", "2", "8", "0.5"),
        ("deepseek", "deepseek-chat", "2025-09-06T12:00:00+08:00", "4", "12", "0.5"),
        ("deepseek", "deepseek-chat", "2025-09-30", "2", "3", "0.2"),
        ("deepseek", "deepseek-chat", "2026-04-27", "1", "2", "0.02"),
        ("deepseek", "deepseek-reasoner", "2025-01-21", "4", "16", "1"),
        ("deepseek", "deepseek-reasoner", "2025-09-07", "4", "12", "0.5"),
        ("deepseek", "deepseek-v4-pro", "2026-04-25", "12", "24", "1"),
        ("deepseek", "deepseek-v4-pro", "2026-05-15", "3", "6", "0.025"),
        ("deepseek", "deepseek-v4-pro", "2026-08-17", "4.5", "13.5", "0.15"),
        ("deepseek", "deepseek-v4-pro", "2026-08-17T09:00:00+08:00", "9", "27", "0.3"),
        ("deepseek", "deepseek-v4-flash", "2026-08-17", "1.5", "4.5", "0.05"),
        ("deepseek", "deepseek-v4-flash", "2026-09-10T11:59:59+08:00", "3", "9", "0.1"),
        ("deepseek", "deepseek-v4-flash", "2026-09-10T12:00:00+08:00", "1", "4", "0.02"),
        ("alibaba", "qwen-long", "2024-05-20", "20", "20", None),
        ("alibaba", "qwen-long", "2024-05-21", "0.5", "2", None),
        ("alibaba", "qwen-max", "2024-01-15", "20", "20", None),
        ("alibaba", "qwen-max", "2024-05-01", "120", "120", None),
        ("alibaba", "qwen-max", "2024-06-01", "40", "120", None),
        ("alibaba", "qwen-max", "2024-10-01", "20", "60", None),
        ("alibaba", "qwen-max", "2025-03-01", "2.4", "9.6", None),
        ("alibaba", "qwen-plus", "2024-06-01", "4", "12", None),
        ("alibaba", "qwen-plus", "2024-10-01", "0.8", "2", None),
        ("alibaba", "qwen3-max", "2025-10-01", "6", "24", None),
        ("alibaba", "qwen3-max", "2025-12-01", "3.2", "12.8", None),
        ("alibaba", "qwen3-max", "2026-03-01", "2.5", "10", None),
        ("volcengine", "doubao-pro-32k", "2024-05-15", "0.8", "2", None),
        ("volcengine", "doubao-seed-2-0-pro", "2026-03-01", "3.2", "16", None),
        ("volcengine", "doubao-seed-2-1-pro", "2026-10-01", "6", "30", None),
        ("zhipu", "glm-3-turbo", "2024-05-10", "5", "5", None),
        ("zhipu", "glm-3-turbo", "2024-05-11", "1", "1", None),
        ("zhipu", "glm-4-plus", "2025-03-01", "50", "50", None),
        ("zhipu", "glm-4-plus", "2025-05-01", "5", "5", None),
        ("zhipu", "glm-4-flash", "2024-08-20", "0.1", "0.1", None),
        ("zhipu", "glm-4-flash", "2024-08-27", "0", "0", None),
        ("zhipu", "glm-5", "2026-03-01", "4", "18", None),
        ("zhipu", "glm-5.2", "2026-10-01", "8", "28", None),
        ("tencent", "hunyuan-standard", "2024-05-21", "10", "10", None),
        ("tencent", "hunyuan-standard", "2024-05-22", "4.5", "5", None),
        ("tencent", "hunyuan-standard", "2025-03-01", "0.8", "2", None),
        ("tencent", "hunyuan-standard-256K", "2024-05-22", "15", "60", None),
        ("moonshot", "moonshot-v1-8k", "2024-06-01", "12", "12", None),
        ("moonshot", "moonshot-v1-8k", "2025-05-01", "2", "10", None),
        ("moonshot", "moonshot-v1-32k", "2025-05-01", "5", "20", None),
        ("moonshot", "moonshot-v1-128k", "2025-05-01", "10", "30", None),
        ("moonshot", "kimi-k2-0711-preview", "2025-08-01", "4", "16", None),
        ("moonshot", "kimi-k2.5", "2026-03-01", "4", "21", None),
        ("moonshot", "kimi-k2.6", "2026-06-01", "6.5", "27", None),
        ("moonshot", "kimi-k3", "2026-10-01", "20", "100", None),
        ("baidu", "ERNIE-4.0-8K", "2024-05-20", "120", "120", None),
        ("baidu", "ERNIE-Speed-8K", "2024-05-21", "0", "0", None),
        ("baidu", "ERNIE-3.5-8K", "2024-05-20", "12", "12", None),
        ("baidu", "ERNIE-3.5-8K", "2024-10-01", "0.8", "2", None),
        ("baidu", "ernie-4.5-turbo-128k", "2025-05-01", "0.8", "3.2", None),
    ],
)
def test_history(provider: str, model: str, at: str, paid: str, answered: str, cached: str | None) -> None:
    assert per_million(provider, model, at, input_tokens=1) == Decimal(paid)
    assert per_million(provider, model, at, output_tokens=1) == Decimal(answered)
    if cached is not None:
        assert per_million(provider, model, at, input_tokens=1, cache_read_input_tokens=1) == Decimal(cached)


@pytest.mark.parametrize(
    ("at", "factor"),
    [
        pytest.param("2026-11-20T08:59:59+08:00", 1, id="Friday before nine"),
        pytest.param("2026-11-20T09:00:00+08:00", 2, id="Friday at nine"),
        pytest.param("2026-11-20T11:59:59+08:00", 2, id="before noon"),
        pytest.param("2026-11-20T12:00:00+08:00", 1, id="noon"),
        pytest.param("2026-11-20T14:00:00+08:00", 2, id="two"),
        pytest.param("2026-11-20T18:00:00+08:00", 1, id="six"),
        pytest.param("2026-11-21T10:00:00+08:00", 1, id="Saturday"),
        pytest.param("2026-10-05T10:00:00+08:00", 1, id="National Day week"),
        pytest.param("2026-10-10T10:00:00+08:00", 1, id="a make-up working Saturday"),
    ],
)
def test_peak_hours(at: str, factor: int) -> None:
    assert per_million("deepseek", "deepseek-v4-flash", at, input_tokens=1) == factor
    assert per_million("deepseek", "deepseek-v4-flash", at, output_tokens=1) == 4 * factor


@pytest.mark.parametrize(
    ("provider", "model", "at", "tokens_in", "tokens_out", "expected"),
    [
        pytest.param("alibaba", "qwen-plus", "2026-11-01", 128_000, 1_000, "0.1044", id="first tier"),
        pytest.param("alibaba", "qwen-plus", "2026-11-01", 128_001, 1_000, "0.3272024", id="second tier"),
        pytest.param("alibaba", "qwen-plus", "2026-11-01", 256_001, 1_000, "1.2768048", id="third tier"),
        pytest.param("zhipu", "glm-4.7", "2026-11-01", 50_000, 1_000, "0.216", id="glm-4.7"),
        pytest.param("anthropic", "claude-sonnet-4-5", "2025-11-01", 200_001, 1_000, "1.222506", id="above 200,000"),
        pytest.param("xai", "grok-4.3", "2026-11-01", 200_000, 1_000, "0.505", id="exactly 200,000"),
        pytest.param("openai", "gpt-4o", "2024-06-01", M, 0, "5", id="gpt-4o as it was"),
        pytest.param("openai", "gpt-4o-2024-05-13", "2026-11-01", M, M, "20", id="a dated id keeps its price"),
    ],
)
def test_what_others_get_wrong(
    provider: str, model: str, at: str, tokens_in: int, tokens_out: int, expected: str
) -> None:
    usage = Usage(input_tokens=tokens_in, output_tokens=tokens_out)

    assert BOOK.price(usage, provider=provider, model=model, at=at).amount == Decimal(expected)


def test_free_is_known_and_before_it_was_not() -> None:
    call = Usage(input_tokens=M, output_tokens=M)
    for provider, model, day in (
        ("baidu", "ERNIE-Speed", "2024-05-21"),
        ("baidu", "ERNIE-Lite", "2024-05-21"),
        ("iflytek", "spark-lite", "2024-05-22"),
        ("tencent", "hunyuan-lite", "2024-05-22"),
        ("zhipu", "glm-4-flash", "2024-08-27"),
    ):
        assert BOOK.price(call, provider=provider, model=model, at=day).status == "free", model
    assert BOOK.price(call, provider="tencent", model="hunyuan-lite", at="2024-05-21").status == "unpriced"


def test_a_region_of_another_site_is_billed_by_that_site() -> None:
    cost = BOOK.price(
        Usage(input_tokens=M, output_tokens=0),
        provider="alibaba",
        model="qwen-turbo",
        at="2026-11-01",
        params={"region": "ap-southeast-1"},
    )

    assert (cost.provider, cost.list) == ("alibaba-intl", "USD")


def test_the_price_war_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(Path(__file__).parents[2] / "examples" / "price_war.py"), run_name="__main__")

    out = capsys.readouterr().out
    assert "holds      One yuan buys 2 million tokens of Qwen-Long input" in out
    assert "not quite  Qwen-Long's input falls by 97%\n           20 -> 0.5 CNY per million, -97.5%" in out
