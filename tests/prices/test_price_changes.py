"""The real book, over time: what each vendor charged on both sides of every change it made.

Prices are per million tokens, as (input, cached input, output); None is not asked. A date without a time is midnight
in the provider's own zone.
"""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.cost import Cost
from tokenmeter.prices.book import load_book
from tokenmeter.prices.upkeep.coverage import coverage
from tokenmeter.usage import Usage

MILLION = 1_000_000
Prices = tuple[str | None, str | None, str | None]


def ask(provider: str, model: str, at: str, usage: dict[str, Any], params: dict[str, Any] | None = None) -> Cost:
    return load_book().price(Usage.from_dict(usage), provider=provider, model=model, at=at, params=params)


def amount(cost: Cost) -> Decimal | None:
    return None if cost.total is None else cost.total.amount


def per_million(provider: str, model: str, at: str, params: dict[str, Any] | None = None) -> Prices:
    """Input, cached input and output of a short call, each alone, per million tokens."""
    thousand = 1_000
    calls: tuple[dict[str, Any], ...] = (
        {"input_tokens": thousand, "output_tokens": 0},
        {"input_tokens": thousand, "cache_read_input_tokens": thousand, "output_tokens": 0},
        {"input_tokens": 0, "output_tokens": thousand},
    )
    found = [amount(ask(provider, model, at, usage, params)) for usage in calls]
    first, cached, out = (None if each is None else format((each * thousand).normalize(), "f") for each in found)
    return first, cached, out


def row(provider: str, model: str, at: str, *prices: str | None, **params: Any) -> Any:
    name = "-".join([provider, model, at, *(f"{key}={value}" for key, value in params.items())])
    return pytest.param(provider, model, at, prices, params or None, id=name)


DEEPSEEK = [
    # V2, the first shot of the price war; the cache came with its own price.
    row("deepseek", "deepseek-chat", "2024-05-05", None, None, None),
    row("deepseek", "deepseek-chat", "2024-05-06", "1", None, "2"),
    row("deepseek", "deepseek-chat", "2024-08-01T23:59:59+08:00", "1", None, "2"),
    row("deepseek", "deepseek-chat", "2024-08-02", "1", "0.1", "2"),
    # V3: promotion until midnight after 2025-02-08.
    row("deepseek", "deepseek-chat", "2024-12-26", "1", "0.1", "2"),
    row("deepseek", "deepseek-chat", "2025-02-08T23:59:59+08:00", "1", "0.1", "2"),
    row("deepseek", "deepseek-chat", "2025-02-09T00:00:00+08:00", "2", "0.5", "8"),
    # Nights at half price, and R1's at a quarter, from 2025-02-27 00:30 in Beijing to 2025-09-06 00:00.
    row("deepseek", "deepseek-chat", "2025-02-27T00:29:59+08:00", "2", "0.5", "8"),
    row("deepseek", "deepseek-chat", "2025-02-27T00:30:00+08:00", "1", "0.25", "4"),
    row("deepseek", "deepseek-chat", "2025-02-27T08:29:59+08:00", "1", "0.25", "4"),
    row("deepseek", "deepseek-chat", "2025-02-27T08:30:00+08:00", "2", "0.5", "8"),
    row("deepseek", "deepseek-chat", "2025-09-05T16:00:00Z", "4", "0.5", "12"),
    row("deepseek", "deepseek-chat", "2025-09-06T01:00:00+08:00", "4", "0.5", "12"),
    row("deepseek", "deepseek-reasoner", "2025-01-19", None, None, None),
    row("deepseek", "deepseek-reasoner", "2025-01-20", "4", "1", "16"),
    row("deepseek", "deepseek-reasoner", "2025-03-01T02:00:00+08:00", "1", "0.25", "4"),
    row("deepseek", "deepseek-reasoner", "2025-09-05T15:59:59Z", "4", "1", "16"),
    row("deepseek", "deepseek-reasoner", "2025-09-05T16:00:00Z", "4", "0.5", "12"),
    # V3.2-Exp, then V4-Flash under the old names.
    row("deepseek", "deepseek-chat", "2025-09-28", "4", "0.5", "12"),
    row("deepseek", "deepseek-chat", "2025-09-29", "2", "0.2", "3"),
    row("deepseek", "deepseek-reasoner", "2025-09-29", "2", "0.2", "3"),
    row("deepseek", "deepseek-chat", "2026-04-23", "2", "0.2", "3"),
    row("deepseek", "deepseek-chat", "2026-05-01", "1", "0.02", "2"),
    row("deepseek", "deepseek-v4-flash", "2026-04-24", "1", "0.2", "2"),
    row("deepseek", "deepseek-v4-flash", "2026-04-25", "1", "0.2", "2"),
    row("deepseek", "deepseek-v4-flash", "2026-04-26", "1", "0.02", "2"),
    row("deepseek", "deepseek-chat", "2026-04-25", "1", "0.2", "2"),
    row("deepseek", "deepseek-chat", "2026-04-26", "1", "0.02", "2"),
    row("deepseek", "deepseek-reasoner", "2026-04-25", "1", "0.2", "2"),
    row("deepseek", "deepseek-reasoner", "2026-04-26", "1", "0.02", "2"),
    row("deepseek", "deepseek-v4-pro", "2026-04-24", "12", "1", "24"),
    row("deepseek", "deepseek-v4-pro", "2026-04-26", "3", "0.25", "6"),
    row("deepseek", "deepseek-v4-pro", "2026-04-27", "3", "0.025", "6"),
    # Peak hours since 2026-08-17 00:00 in Beijing: a Monday, so 09:00 to 12:00 costs double.
    row("deepseek", "deepseek-v4-pro", "2026-08-16T23:59:59+08:00", "3", "0.025", "6"),
    row("deepseek", "deepseek-v4-pro", "2026-08-17T00:00:00+08:00", "4.5", "0.15", "13.5"),
    row("deepseek", "deepseek-v4-pro", "2026-08-17T08:59:59+08:00", "4.5", "0.15", "13.5"),
    row("deepseek", "deepseek-v4-pro", "2026-08-17T09:00:00+08:00", "9", "0.3", "27"),
    row("deepseek", "deepseek-v4-flash", "2026-08-17T13:00:00+08:00", "1.5", "0.05", "4.5"),
    row("deepseek", "deepseek-v4-flash", "2026-08-17T17:59:59+08:00", "3", "0.1", "9"),
    row("deepseek", "deepseek-v4-flash", "2026-08-17T18:00:00+08:00", "1.5", "0.05", "4.5"),
    row("deepseek", "deepseek-reasoner", "2026-08-18T20:00:00+08:00", "1.5", "0.05", "4.5"),
    # V4.1 Flash at noon of 2026-09-10 in Beijing, under every name it is known by.
    row("deepseek", "deepseek-v4-flash", "2026-09-10T11:59:59+08:00", "3", "0.1", "9"),
    row("deepseek", "deepseek-v4-flash", "2026-09-10T12:00:00+08:00", "1", "0.02", "4"),
    row("deepseek", "deepseek-flash", "2026-09-10T12:00:00+08:00", "1", "0.02", "4"),
    row("deepseek", "deepseek-chat", "2026-09-10T14:00:00+08:00", "2", "0.04", "8"),
    # Saturday; National Day on a Monday; the make-up Saturday of 2026-10-10 stays off-peak.
    row("deepseek", "deepseek-chat", "2026-11-21T10:00:00+08:00", "1", "0.02", "4"),
    row("deepseek", "deepseek-chat", "2026-10-05T10:00:00+08:00", "1", "0.02", "4"),
    row("deepseek", "deepseek-chat", "2026-10-10T10:00:00+08:00", "1", "0.02", "4"),
    row("deepseek", "deepseek-chat", "2026-11-20T10:00:00+08:00", "2", "0.04", "8"),
    # The dollar list is a list of its own, never a conversion.
    row("deepseek", "deepseek-chat", "2024-06-01", "0.14", "0.014", "0.28", currency="USD"),
    row("deepseek", "deepseek-chat", "2025-02-09T00:00:00+08:00", "0.27", "0.07", "1.1", currency="USD"),
    row("deepseek", "deepseek-chat", "2025-03-01T01:00:00+08:00", "0.135", "0.035", "0.55", currency="USD"),
    row("deepseek", "deepseek-chat", "2025-09-29", "0.28", "0.028", "0.42", currency="USD"),
    row("deepseek", "deepseek-v4-flash", "2026-08-17T10:00:00+08:00", "0.44", "0.014", "1.32", currency="USD"),
    row("deepseek", "deepseek-v4-pro", "2026-11-21T10:00:00+08:00", "0.66", "0.022", "1.98", currency="USD"),
]

ALIBABA = [
    row("alibaba", "qwen-long", "2023-12-01", "20", None, "20"),
    row("alibaba", "qwen-long", "2024-05-20T23:59:59+08:00", "20", None, "20"),
    row("alibaba", "qwen-long", "2024-05-21", "0.5", None, "2"),
    row("alibaba", "qwen-max", "2023-12-17", "20", None, "20"),
    row("alibaba", "qwen-max", "2024-03-13", "120", None, "120"),
    row("alibaba", "qwen-max", "2024-05-20", "120", None, "120"),
    row("alibaba", "qwen-max", "2024-05-21", "40", None, "120"),
    row("alibaba", "qwen-plus", "2024-05-21", "4", None, "12"),
    row("alibaba", "qwen-max", "2024-05-23", "40", None, "120"),
    row("alibaba", "qwen-max", "2024-09-20", "20", None, "60"),
    row("alibaba", "qwen-max", "2025-02-06", "2.4", "0.96", "9.6"),
    row("alibaba", "qwen-max", "2026-11-01", "2.4", "0.48", "9.6"),
    row("alibaba", "qwen-plus", "2023-10-01", "140", None, None),
    row("alibaba", "qwen-plus", "2023-12-17", "20", None, "20"),
    row("alibaba", "qwen-plus", "2024-05-23", "4", None, "12"),
    row("alibaba", "qwen-plus", "2024-09-19", "4", None, "12"),
    row("alibaba", "qwen-plus", "2025-05-01", "0.8", None, "2"),
    row("alibaba", "qwen-plus", "2025-06-02", "0.8", None, "16", thinking=True),
    row("alibaba", "qwen-plus", "2025-08-01", "0.8", "0.32", "8", thinking=True),
    row("alibaba", "qwen-plus", "2025-08-01", "0.8", "0.32", "2"),
    row("alibaba", "qwen-plus", "2026-11-01", "0.8", "0.16", "2"),
    row("alibaba", "qwen-plus", "2026-11-01", "0.8", "0.08", "2", cache="explicit"),
    row("alibaba", "qwen3-max", "2026-06-01", "2.5", "0.5", "10"),
    row("alibaba", "qwen3-max", "2026-06-01", "2.5", "0.25", "10", cache="explicit"),
    row("alibaba-intl", "qwen3-next-80b-a3b-thinking", "2025-11-01", "0.15", None, "1.2"),
    # As the reports of 2024 write the names; DeepSeek-V2 is no longer sold once V3 is.
    row("deepseek", "DeepSeek-V2", "2024-05-06", "1", None, "2"),
    row("deepseek", "DeepSeek-V2", "2024-12-26", None, None, None),
    row("iflytek", "Spark Lite", "2024-05-22", "0", None, "0"),
    row("baidu", "ERNIE 4.0", "2024-05-21", "120", None, "120"),
    row("openai", "GPT-4.1 mini", "2025-08-01", "0.4", "0.1", "1.6"),
    row("alibaba", "qwen-turbo", "2024-05-21", "8", None, "8"),
    row("alibaba", "qwen-turbo", "2024-05-22", "2", None, "6"),
    row("alibaba", "qwen-turbo", "2024-09-20", "0.3", None, "0.6"),
    row("alibaba", "qwen-plus-latest", "2026-11-01", "0.8", "0.16", "8", thinking=True),
    row("alibaba", "qwen-turbo", "2026-11-01", "0.3", "0.06", "0.6"),
    row("alibaba", "qwen-turbo", "2026-11-01", "0.3", "0.06", "3", thinking=True),
    row("alibaba", "qwen3-8b", "2026-11-01", "0.5", None, "2"),
    row("alibaba", "qwen3-8b", "2026-11-01", "0.5", None, "5", thinking=True),
    row("alibaba", "qwen3-max", "2025-10-01", "6", "1.2", "24"),
    row("alibaba", "qwen3-max", "2025-11-14", "3.2", "0.64", "12.8"),
    row("alibaba", "qwen3-max", "2026-02-27", "3.2", "0.64", "12.8"),
    row("alibaba", "qwen3-max", "2026-02-28", "2.5", "0.5", "10"),
]

OTHERS = [
    # xAI bills who still sends a retired name at Grok 4.3's price, since noon in California.
    row("xai", "grok-4-fast-reasoning", "2026-05-15", "0.2", "0.05", "0.5"),
    row("xai", "grok-4-fast-reasoning", "2026-05-16", "1.25", "0.2", "2.5"),
    row("xai", "grok-3", "2026-11-30", "1.25", "0.2", "2.5"),
    row("xai", "grok-3-mini", "2026-11-30", "0.3", "0.075", "0.5"),
    row("tencent", "hy4", "2026-11-10", "6", "0.3", "18"),
    # On Bedrock an id of one region costs 10% more than global., whatever a catalog copied.
    row("aws-bedrock", "global.openai.gpt-6-luna", "2026-12-01", "0.1", None, "0.5"),
    row("aws-bedrock", "us.openai.gpt-6-luna", "2026-12-01", "0.11", None, "0.55"),
    row("aws-bedrock", "mistral.mistral-large-2402-v1:0", "2026-12-01", "4", None, "12"),
    row("azure-openai", "eu/gpt-4o", "2026-12-01", "2.75", None, "11"),
    row("fireworks", "accounts/fireworks/models/deepseek-v4-pro", "2026-12-01", "1.2", None, "1.2"),
    row("google", "gemini-flash-latest", "2026-12-01", "0.75", None, "3.75"),
    row("volcengine", "Doubao-pro-32k", "2024-05-14", None, None, None),
    row("volcengine", "Doubao-pro-32k", "2024-05-15", "0.8", None, "2"),
    row("volcengine", "doubao-pro-32k", "2024-06-01", "0.8", None, "2"),
    row("volcengine", "Doubao-lite-32k", "2024-05-15", "0.3", None, "0.6"),
    row("volcengine", "doubao-seed-2.1-pro", "2026-11-01", "6", "1.2", "30"),
    row("volcengine", "doubao-seed-2-1-pro-260628", "2026-11-01", "6", "1.2", "30"),
    row("volcengine", "doubao-seed-2.0-pro", "2026-11-01", "3.2", "0.64", "16"),
    row("zhipu", "GLM-3-Turbo", "2024-05-10T23:59:59+08:00", "5", None, "5"),
    row("zhipu", "glm-3-turbo", "2024-05-11", "1", None, "1"),
    row("zhipu", "glm-4-plus", "2024-10-01", "50", None, "50"),
    row("zhipu", "glm-4-plus", "2026-11-01", "5", None, "5"),
    row("zhipu", "glm-4-flash", "2024-08-26", "0.1", None, "0.1"),
    row("zhipu", "glm-4-flash", "2024-08-27", "0", "0", "0"),
    row("zhipu", "glm-5", "2026-11-01", "4", "1", "18"),
    row("zhipu", "glm-5.2", "2026-11-01", "8", "2", "28"),
    row("tencent", "hunyuan-standard", "2024-05-21", "10", None, "10"),
    row("tencent", "hunyuan-standard", "2024-05-22", "4.5", None, "5"),
    row("tencent", "hunyuan-standard", "2025-02-01", "0.8", None, "2"),
    row("tencent", "hunyuan-standard-256k", "2024-05-21", "120", None, None),
    row("tencent", "hunyuan-standard-256k", "2024-05-22", "15", None, "60"),
    row("tencent", "hunyuan-standard-256k", "2025-02-01", "0.5", None, "2"),
    row("tencent", "hunyuan-lite", "2024-05-22", "0", "0", "0"),
    row("tencent", "hunyuan-turbos", "2025-02-27", "0.8", None, "2"),
    row("baidu", "ERNIE-4.0-8K", "2024-05-22", "120", None, "120"),
    row("baidu", "ERNIE-3.5-8K", "2024-05-22", "12", None, "12"),
    row("baidu", "ERNIE-3.5-8K", "2024-09-30", "0.8", None, "2"),
    row("baidu", "ERNIE-Speed", "2024-05-20", "4", None, "8"),
    row("baidu", "ERNIE-Speed", "2024-05-21", "0", "0", "0"),
    row("baidu", "ERNIE-Speed-128K", "2024-05-20", "4", None, None),
    row("baidu", "ernie-speed-128k", "2024-05-21", "0", "0", "0"),
    row("baidu", "ERNIE-Lite-8K", "2024-05-20", "3", None, None),
    row("baidu", "ERNIE-Lite-8K", "2024-05-21", "0", "0", "0"),
    row("baidu", "ernie-4.5-turbo-128k", "2025-04-27", "0.8", "0.2", "3.2"),
    row("iflytek", "lite", "2024-05-22", "0", "0", "0"),
    row("iflytek", "spark-lite", "2024-05-21", None, None, None),
    row("moonshot", "moonshot-v1-8k", "2024-05-20", "12", None, "12"),
    row("moonshot", "moonshot-v1-32k", "2025-03-01", "24", None, "24"),
    row("moonshot", "moonshot-v1-128k", "2025-03-01", "60", None, "60"),
    row("moonshot", "moonshot-v1-8k", "2025-05-01", "2", None, "10"),
    row("moonshot", "moonshot-v1-32k", "2025-05-01", "5", None, "20"),
    row("moonshot", "moonshot-v1-128k", "2025-05-01", "10", None, "30"),
    row("moonshot", "kimi-k2.5", "2026-11-01", "4", "0.7", "21"),
    row("moonshot", "kimi-k2.6", "2026-11-01", "6.5", "1.1", "27"),
    row("moonshot", "kimi-k3", "2026-11-01", "20", "2", "100"),
    row("minimax", "abab6.5-chat", "2024-05-20", "30", None, "30"),
    row("minimax", "abab6.5s-chat", "2024-05-20", "10", None, "10"),
    row("minimax", "abab5.5-chat", "2024-05-20", "15", None, "15"),
    row("baichuan", "Baichuan2-Turbo", "2024-05-20", "8", None, "8"),
    row("baichuan", "Baichuan3-Turbo", "2024-06-01", "12", None, "12"),
    row("baichuan", "Baichuan4", "2024-06-01", "100", None, "100"),
    row("01ai", "yi-large", "2024-06-01", "20", None, "20"),
    row("01ai", "yi-34b-chat-0205", "2024-04-01", "2.5", None, "2.5"),
    row("stepfun", "step-1-8k", "2024-08-01", "5", "1", "20"),
    row("sensetime", "SenseChat-5", "2024-11-01", "40", None, "100"),
    row("siliconflow", "Qwen/Qwen2.5-7B-Instruct", "2025-01-01", "0", "0", "0"),
    row("siliconflow", "Pro/Qwen/Qwen2.5-7B-Instruct", "2025-01-01", "0.35", None, "0.35"),
    row("openai", "gpt-4", "2024-05-15", "30", None, "60"),
    row("openai", "gpt-4o", "2024-06-01", "5", None, "15"),
    row("openai", "gpt-4o", "2026-11-01", "2.5", "1.25", "10"),
    row("openai", "gpt-4o-2024-05-13", "2026-11-01", "5", None, "15"),
    row("openai", "gpt-5", "2026-11-01", "1.25", "0.125", "10"),
    row("openai", "gpt-5", "2026-11-01", "2.5", "0.25", "20", service_tier="priority"),
    row("openai", "gpt-5", "2026-11-01", "0.625", "0.0625", "5", service_tier="flex"),
    row("openai", "gpt-5.6-sol", "2026-08-20", "5", "0.5", "30"),
    row("openai", "gpt-5.6-sol", "2026-08-21", "4", "0.4", "20"),
    row("openai", "gpt-5.6-sol", "2026-11-20", "8", "0.8", "40", service_tier="priority"),
    row("openai", "gpt-5.6-sol", "2026-11-20", "8", "0.8", "40", service_tier="fast"),
    row("openai", "ft:gpt-4o-mini-2024-07-18:acme::x1", "2026-11-01", "0.3", None, "1.2"),
    row("mistral", "mistral-medium-3", "2026-08-30", "0.4", None, "2"),
    row("mistral", "mistral-medium-3", "2026-08-31", "1.5", "0.15", "7.5"),
    row("anthropic", "claude-fable-5", "2026-11-01", "10", "1", "50"),
    row("anthropic", "claude-fable-5.1", "2026-11-01", "10", "0.25", "50"),
    row("anthropic", "claude-opus-4-6", "2026-11-01", "30", "3", "150", speed="fast"),
    row("zai", "glm-5.1", "2026-11-01", "1.4", "0.26", "4.4"),
    row("alibaba-intl", "qwen-plus", "2026-11-01", "0.4", None, "1.2"),
    row("alibaba-intl", "qwen-plus", "2026-11-01", "0.4", None, "4", thinking=True),
    # Two conditions at once: a batch of a tuned model is half the tuned price.
    row("openai", "ft:gpt-4o-2024-08-06:acme::x", "2026-11-01", "1.875", None, "7.5", batch=True),
    row("openai", "ft:davinci-002:acme::x", "2026-11-01", "6", None, "6", batch=True),
    # A batch has no discount for cached tokens at Alibaba; at Ark one costs what it costs online.
    row("alibaba", "qwen3-max", "2026-11-01", "1.25", "1.25", "5", batch=True),
    row("alibaba", "qwen3.8-max", "2026-09-20", "6", "6", "18", batch=True),
    row("alibaba-intl", "qwen-plus", "2026-11-01", "0.2", None, "0.6", batch=True),
    row("volcengine", "doubao-seed-1-6-250615", "2026-11-01", "0.4", "0.16", "4", batch=True),
    row("alibaba-intl", "qwen3.7-max", "2026-11-01", "2.5", "0.5", "7.5"),
    row("alibaba-intl", "qwen3.7-max", "2026-11-01", "2.5", "0.25", "7.5", cache="explicit"),
    row("alibaba-intl", "qwen3.8-max", "2026-11-28", "2", "0.25", "6"),
    # One announcement dates all its rows.
    row("alibaba", "qwen3-235b-a22b", "2025-07-12", "4", None, "12"),
    row("alibaba", "qwen3-235b-a22b", "2025-07-13", "2", None, "8"),
    row("tencent", "hunyuan-pro", "2024-05-22", "30", None, "100"),
    row("google", "gemini-2.5-flash", "2025-11-06", "0.3", "0.075", "2.5"),
    row("google", "gemini-2.5-flash", "2025-11-07", "0.3", "0.03", "2.5"),
    # iFlytek's `general` was V1.5; Spark Lite, free, answers there since 2024-05-22.
    row("iflytek", "general", "2024-05-21", "18", None, "18"),
    row("iflytek", "general", "2024-05-22", "0", None, "0"),
    # A region with a price of its own.
    row("aws-bedrock", "nvidia.nemotron-super-3-120b", "2026-11-22", "0.15", None, "0.65"),
    row("aws-bedrock", "nvidia.nemotron-super-3-120b", "2026-11-22", "0.23", None, "1.01", region="eu-west-2"),
    row("aws-bedrock", "anthropic.claude-opus-4-8", "2026-11-22", "5.5", "0.55", "27.5", region="us-east-1"),
    # What answers under the name of a retired model bills.
    row("xai", "grok-code-fast-1", "2026-04-01", "0.2", "0.02", "1.5"),
    row("xai", "grok-code-fast-1", "2026-11-22", "1", "0.2", "2"),
    row("google-vertex", "claude-opus-4-6", "2026-11-22", "5", "0.5", "25"),
    row("cohere", "command-r7b-12-2024", "2026-11-22", "0.0375", None, "0.15"),
    # Gateways and hosts; a free variant costs nothing, known or not.
    row("openrouter", "openai/gpt-4o", "2026-11-22", "2.5", "1.25", "10"),
    row("openrouter", "who/ever-8b:free", "2026-11-30", "0", None, "0"),
    row("openrouter", "who/ever-8b", "2026-11-30", None, None, None),
    row("vercel", "anthropic/claude-sonnet-4.5", "2026-11-22", "3", "0.3", "15"),
    row("github-copilot", "gpt-5.4", "2026-11-22", "2.5", "0.25", "15"),
    row("azure-openai", "gpt-4o-mini-2024-07-18.ft-0123456789abcdef", "2026-11-22", "0.15", "0.075", "0.6"),
    row("azure-ai-foundry", "gpt-4o-mini", "2026-11-22", "0.15", "0.075", "0.6"),
]


@pytest.mark.parametrize(("provider", "model", "at", "prices", "params"), [*DEEPSEEK, *ALIBABA, *OTHERS])
def test_the_book_of_that_day(
    provider: str, model: str, at: str, prices: Prices, params: dict[str, Any] | None
) -> None:
    found = per_million(provider, model, at, params)
    assert tuple(f for f, p in zip(found, prices, strict=True) if p is not None) == tuple(p for p in prices if p)
    if not any(prices):
        assert found == (None, None, None)


def case(
    name: str, provider: str, model: str, at: str, usage: dict[str, Any], expected: str | None, **params: Any
) -> Any:
    return pytest.param(provider, model, at, usage, expected, params or None, id=name)


NOW = "2026-11-01"


def tokens(input_tokens: int, output_tokens: int = 0, **rest: Any) -> dict[str, Any]:
    return {"input_tokens": input_tokens, "output_tokens": output_tokens, **rest}


REGIONAL_ARN = "arn:aws:bedrock:eu-west-2::foundation-model/nvidia.nemotron-super-3-120b"
WHOLE_CALLS = [
    # What other libraries get wrong, and what it should be.
    case(
        "Saturday morning",
        "deepseek",
        "deepseek-v4-flash",
        "2026-11-21T02:00:00Z",
        tokens(MILLION, MILLION),
        "0.75",
        currency="USD",
    ),
    case(
        "National Day",
        "deepseek",
        "deepseek-v4-flash",
        "2026-10-05T02:00:00Z",
        tokens(MILLION, MILLION),
        "0.75",
        currency="USD",
    ),
    case("gpt-4o in June 2024", "openai", "gpt-4o", "2024-06-01", tokens(MILLION), "5"),
    case("glm-4.7's tier on both lengths", "zhipu", "glm-4.7", NOW, tokens(50_000, 1_000), "0.216"),
    case("moonshot-v1-8k before the cut", "moonshot", "moonshot-v1-8k", "2025-03-01", tokens(MILLION, MILLION), "24"),
    case(
        "Sonnet 4.5 one token above 200K",
        "anthropic",
        "claude-sonnet-4-5",
        "2025-11-15",
        tokens(200_001, 1_000),
        "1.222506",
    ),
    case("Sonnet 4.5 at 200K", "anthropic", "claude-sonnet-4-5", "2025-11-15", tokens(200_000, 1_000), "0.615"),
    case("Grok 4.3 at exactly 200K", "xai", "grok-4.3", NOW, tokens(200_000, 1_000), "0.505"),
    case("Grok 4.3 one below", "xai", "grok-4.3", NOW, tokens(199_999, 1_000), "0.25249875"),
    case("qwen-plus to 128K", "alibaba", "qwen-plus", NOW, tokens(128_000, 1_000), "0.1044"),
    case("qwen-plus above 128K", "alibaba", "qwen-plus", NOW, tokens(128_001, 1_000), "0.3272024"),
    case(
        "qwen-plus above 256K, thinking",
        "alibaba",
        "qwen-plus",
        NOW,
        tokens(256_001, 1_000),
        "1.2928048",
        thinking=True,
    ),
    case(
        "qwen3-max's middle tier in October 2025",
        "alibaba",
        "qwen3-max",
        "2025-10-01",
        tokens(32_001, 1_000),
        "0.36001",
    ),
    case("qwen3-max's last tier today", "alibaba", "qwen3-max", NOW, tokens(128_001, 1_000), "0.924007"),
    case("Seed 1.6, short answer", "volcengine", "doubao-seed-1.6", NOW, tokens(32_000, 200), "0.026"),
    case("Seed 1.6, longer answer", "volcengine", "doubao-seed-1.6", NOW, tokens(32_000, 201), "0.027208"),
    case("Seed 1.6 in June 2025", "volcengine", "doubao-seed-1.6", "2025-06-20", tokens(128_001, 1_000), "0.3312024"),
    case("glm-4.7, 200 tokens out", "zhipu", "glm-4.7", NOW, tokens(32_000, 200), "0.0656"),
    case("glm-4.7, 201 tokens out", "zhipu", "glm-4.7", NOW, tokens(32_000, 201), "0.098814"),
    case("glm-5 above 32K", "zhipu", "glm-5", NOW, tokens(32_001, 1_000), "0.214006"),
    case(
        "Opus 4.6 above 200K, the last day",
        "anthropic",
        "claude-opus-4-6",
        "2026-03-12",
        tokens(300_000, 1_000),
        "3.0375",
    ),
    case(
        "Opus 4.6 above 200K, the day after",
        "anthropic",
        "claude-opus-4-6",
        "2026-03-13",
        tokens(300_000, 1_000),
        "1.525",
    ),
    case("GPT-5.4 at 272,000", "openai", "gpt-5.4", NOW, tokens(272_000, 1_000), "0.695"),
    case("GPT-5.4 above", "openai", "gpt-5.4", NOW, tokens(272_001, 1_000), "1.382505"),
    case("Gemini 2.5 Pro above 200K", "google", "gemini-2.5-pro", NOW, tokens(200_001, 1_000), "0.5150025"),
    case(
        "Claude's two cache lifetimes",
        "anthropic",
        "claude-sonnet-4-5",
        NOW,
        tokens(3_000, 0, cache_write_5m_input_tokens=1_000, cache_write_1h_input_tokens=1_000),
        "0.01275",
    ),
    case(
        "Claude's one-hour cache write in a batch is twice the batch's input",
        "anthropic",
        "claude-sonnet-4-5",
        NOW,
        tokens(3_000, 0, cache_write_5m_input_tokens=1_000, cache_write_1h_input_tokens=1_000),
        "0.006375",
        batch=True,
    ),
    case(
        "Claude's cache write without a lifetime",
        "anthropic",
        "claude-sonnet-4-5",
        NOW,
        tokens(1_000, 0, cache_write_input_tokens=1_000),
        "0.00375",
    ),
    case("Omni: text, then audio beside it", "alibaba", "qwen-omni-turbo", NOW, tokens(1_000, 1_000), "0.002"),
    case(
        "Omni: audio in makes text out dearer",
        "alibaba",
        "qwen-omni-turbo",
        NOW,
        tokens(1_000, 1_000, audio_input_tokens=500),
        "0.0172",
    ),
    case(
        "explicit cache creation",
        "alibaba",
        "qwen-plus",
        NOW,
        tokens(1_000, 0, cache_write_input_tokens=1_000),
        "0.001",
        cache="explicit",
    ),
    case(
        "Doubao's cache storage",
        "volcengine",
        "doubao-seed-2.1-pro",
        NOW,
        tokens(0, 0, quantities={"cache_storage_token_hours": 2 * MILLION}),
        "0.034",
    ),
    case(
        "Moonshot's cache of 2024",
        "moonshot",
        "moonshot-v1-8k",
        "2024-08-06",
        tokens(0, 0, quantities={"cache_storage_token_minutes": MILLION, "cache_hit_calls": 2}),
        "10.04",
    ),
    case(
        "and a day later",
        "moonshot",
        "moonshot-v1-8k",
        "2024-08-07",
        tokens(0, 0, quantities={"cache_storage_token_minutes": MILLION, "cache_hit_calls": 2}),
        "5.04",
    ),
    case(
        "Claude's web search",
        "anthropic",
        "claude-sonnet-4-5",
        NOW,
        tokens(0, 0, quantities={"web_search_calls": 3}),
        "0.03",
    ),
    case(
        "batch on Gemini 2.5: cached tokens keep their price",
        "google-vertex",
        "gemini-2.5-pro",
        NOW,
        tokens(1_000, 0, cache_read_input_tokens=1_000),
        "0.000125",
        batch=True,
    ),
    case("Grok's batch", "xai", "grok-4.3", NOW, tokens(1_000, 1_000), "0.003", batch=True),
    case("xAI's US endpoint", "xai", "grok-4.3", NOW, tokens(1_000, 1_000), "0.004125", region="us"),
    case(
        "Claude served in the US alone",
        "anthropic",
        "claude-opus-4-6",
        NOW,
        tokens(10_000, 1_000),
        "0.0825",
        inference_geo="us",
    ),
    case(
        "Claude served anywhere",
        "anthropic",
        "claude-opus-4-6",
        NOW,
        tokens(10_000, 1_000),
        "0.075",
        inference_geo="global",
    ),
    case("unknown is not free", "openai", "gpt-99", NOW, tokens(1), None),
    case(
        "audio of an alias at its snapshot's price",
        "openai",
        "gpt-4o-audio-preview",
        NOW,
        tokens(100, 50, audio_input_tokens=60, audio_output_tokens=40),
        "0.0058",
    ),
    case(
        "images apart from the text beside them",
        "google",
        "gemini-3-pro-image",
        NOW,
        tokens(0, 1_100, image_output_tokens=1_000),
        "0.1212",
    ),
    case(
        "DeepSeek's search", "deepseek", "deepseek-flash", NOW, tokens(0, 0, quantities={"web_search_calls": 2}), "0.01"
    ),
    case("pages of DeepSeek's OCR", "deepseek", "deepseek-flash", NOW, tokens(0, 0, quantities={"pages": 100}), "0.15"),
    case("DashScope's search", "alibaba", "qwen3-max", NOW, tokens(0, 0, quantities={"web_search_calls": 2}), "0.008"),
    *(
        case(
            f"Sonar's request, {size}",
            "perplexity",
            "sonar",
            NOW,
            tokens(0, 0, quantities={"requests": 1}),
            fee,
            **asked,
        )
        for size, fee, asked in [
            ("unasked", "0.005", {}),
            ("low", "0.005", {"search_context_size": "low"}),
            ("medium", "0.008", {"search_context_size": "medium"}),
            ("high", "0.012", {"search_context_size": "high"}),
        ]
    ),
    case("the region that an ARN names", "aws-bedrock", REGIONAL_ARN, "2026-11-22", tokens(10_000, 1_000), "0.00331"),
]


@pytest.mark.parametrize(("provider", "model", "at", "usage", "expected", "params"), WHOLE_CALLS)
def test_whole_calls(
    provider: str, model: str, at: str, usage: dict[str, Any], expected: str | None, params: dict[str, Any] | None
) -> None:
    cost = ask(provider, model, at, usage, params)
    assert amount(cost) == (None if expected is None else Decimal(expected)), cost.reason


@pytest.mark.parametrize(
    ("provider", "name", "model"),
    [
        ("azure-openai", "gpt-4o-2024-11-20", "gpt-4o-1120"),
        ("azure-openai", "gpt-5.6-luna-2026-07-09", "gpt-5.6-luna"),
        (
            "aws-bedrock",
            "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0",
            "anthropic.claude-3-haiku-20240307-v1:0",
        ),
        ("aws-bedrock", "anthropic.claude-3-haiku-20240307-v1:0:48k", "anthropic.claude-3-haiku-20240307-v1:0"),
        ("aws-bedrock", "eu.anthropic.claude-sonnet-4-20250514-v1:0", "anthropic.claude-sonnet-4-20250514-v1:0"),
        (
            "google-vertex",
            "projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash",
            "gemini-2.5-flash",
        ),
        ("google-vertex", "claude-sonnet-4-5", "claude-sonnet-4-5@20250929"),
        ("fireworks", "accounts/fireworks/models/gpt-oss-120b", "gpt-oss-120b"),
        (
            "google-vertex",
            "projects/p/locations/us-central1/publishers/anthropic/models/claude-sonnet-4-5@20250929",
            "claude-sonnet-4-5@20250929",
        ),
        ("volcengine", "Doubao-lite", "Doubao-lite-32k"),
        ("baidu", "eb-instant", "ERNIE-Bot-turbo"),
        ("siliconflow", "ft:LoRA/Qwen/Qwen2.5-7B-Instruct:a:b:c", "LoRA/Qwen/Qwen2.5-7B-Instruct"),
        ("iflytek", "generalv3.5", "SparkDesk-v3.5"),
        ("alibaba", "qwen-plus-2025-07-28", "qwen-plus"),
    ],
)
def test_the_names_that_vendors_return_mean_their_model(provider: str, name: str, model: str) -> None:
    asked, own = (ask(provider, each, NOW, tokens(200_000, 1_000)) for each in (name, model))
    assert asked.status == "priced"
    assert amount(asked) == amount(own)


@pytest.mark.parametrize("group", ["us", "jp", "au", "eu"])
@pytest.mark.parametrize("model", ["claude-sonnet-4-5-20250929-v1:0", "claude-opus-4-8", "claude-sonnet-5"])
def test_a_region_group_of_bedrock_costs_a_tenth_more_than_global(group: str, model: str) -> None:
    near, anywhere = (per_million("aws-bedrock", f"{place}.anthropic.{model}", NOW) for place in (group, "global"))
    assert [Decimal(price or 0) for price in near] == [Decimal(price or 0) * Decimal("1.1") for price in anywhere]


@pytest.mark.parametrize(
    ("provider", "model"),
    [("alibaba", "qwen-plus"), ("volcengine", "Doubao-pro-32k"), ("baidu", "ERNIE-4.0-8K"), ("tencent", "hunyuan-pro")],
)
def test_beijing_bills_in_its_own_money(provider: str, model: str) -> None:
    cost = ask(provider, model, "2024-06-01", tokens(MILLION))
    assert cost.total is not None
    assert cost.total.currency == "CNY"


def test_how_a_rate_is_dated_is_told() -> None:
    open_, official, observed = (
        ask("alibaba", "qwen-long", "2024-05-01", tokens(1)),
        ask("alibaba", "qwen-long", "2024-05-21", tokens(1)),
        ask("01ai", "yi-large", "2024-06-01", tokens(1)),
    )
    assert [c.dating for c in (open_, official, observed)] == ["open", "official", "observed"]
    assert [c.confidence for c in (open_, official, observed)] == ["official", "official", "corroborated"]


def test_a_call_between_the_two_readings_of_k_is_flagged() -> None:
    assert "tier_edge_128000_or_131072" in ask("alibaba", "qwen-plus", NOW, tokens(130_000)).flags
    assert ask("alibaba", "qwen-plus", NOW, tokens(131_073)).flags == ()


def test_a_price_past_its_review_day_says_so() -> None:
    assert "past_review" in ask("openai", "gpt-5.6-sol", "2026-11-23", tokens(1)).flags


ROOT = Path(__file__).parents[2]


def compiler(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tools.price_book", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_book_is_what_the_facts_and_decisions_give() -> None:
    run = compiler("--check")
    assert run.returncode == 0, run.stderr
    assert "What changed:\nnothing" in run.stdout


def test_a_missing_folder_of_facts_is_named(tmp_path: Path) -> None:
    run = compiler("--check", str(tmp_path / "facts"))
    assert run.returncode == 2
    assert str(tmp_path / "facts") in run.stderr
    assert "Traceback" not in run.stderr


def test_every_fact_is_used_or_left_out_with_a_reason(tmp_path: Path) -> None:
    exported = tmp_path / "facts.jsonl"
    assert compiler("--export", str(exported)).returncode == 0
    covered = coverage(exported)
    assert sum(one.facts for one in covered) == sum(1 for _ in exported.open(encoding="utf-8"))
    assert all(one.used + sum(one.left_out.values()) == one.facts for one in covered)
    assert not any("without a word" in reason for one in covered for reason in one.left_out)
