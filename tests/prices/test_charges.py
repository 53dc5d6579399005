"""What calls cost: one row per trap, with sums a reader can redo by hand. The prices are in tests/data/prices."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.charge import Charge
from tokenmeter.cost import Cost
from tokenmeter.money import Money
from tokenmeter.prices.book import Book
from tokenmeter.usage import Usage

BOOK = Book.of(Path(__file__).parents[1] / "data" / "prices")
M = 1_000_000


def price(provider: str, model: str, at: str, usage: dict[str, Any], **params: Any) -> Cost:
    return BOOK.price(Usage.from_dict(usage), provider=provider, model=model, at=at, params=params)


def mtok(price: str, tokens: int) -> Decimal:
    """`tokens` at `price` per million."""
    return Decimal(price) * tokens / M


def io(tokens_in: int, tokens_out: int, **subsets: int) -> dict[str, Any]:
    return {"input_tokens": tokens_in, "output_tokens": tokens_out, **subsets}


NOON = "2026-11-20T12:30:00+08:00"


@pytest.mark.parametrize(
    ("provider", "model", "at", "usage", "params", "expected"),
    [
        pytest.param(
            "alibaba",
            "qwen-plus",
            NOON,
            io(128_000, 1_000),
            {},
            mtok("0.8", 128_000) + mtok("2", 1_000),
            id="last token of a tier",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            NOON,
            io(128_001, 1_000),
            {},
            mtok("2.4", 128_001) + mtok("20", 1_000),
            id="first token of the next: all of it is dearer",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            NOON,
            io(256_000, 1_000),
            {},
            mtok("2.4", 256_000) + mtok("20", 1_000),
            id="last of the second",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            NOON,
            io(256_001, 1_000),
            {},
            mtok("4.8", 256_001) + mtok("48", 1_000),
            id="first of the third",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            NOON,
            io(128_001, 0, cache_read_input_tokens=128_001),
            {},
            mtok("0.48", 128_001),
            id="cached tokens count towards the length",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            NOON,
            io(1_000, 1_000),
            {"thinking": True},
            mtok("0.8", 1_000) + mtok("8", 1_000),
            id="thinking",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            NOON,
            io(1_000, 1_000),
            {"thinking": "enabled"},
            mtok("0.8", 1_000) + mtok("8", 1_000),
            id="thinking in the vendor's word",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            NOON,
            io(1_000, 1_000, reasoning_output_tokens=900),
            {},
            mtok("0.8", 1_000) + mtok("8", 1_000),
            id="thoughts reported: all output is dearer",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            NOON,
            io(1_000, 1_000, reasoning_output_tokens=0),
            {},
            mtok("0.8", 1_000) + mtok("2", 1_000),
            id="no thoughts reported",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            NOON,
            io(1_000, 1_000, reasoning_output_tokens=5),
            {"thinking": False},
            mtok("0.8", 1_000) + mtok("2", 1_000),
            id="the request says it does not think",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            NOON,
            io(200_000, 1_000),
            {"thinking": True},
            mtok("2.4", 200_000) + mtok("24", 1_000),
            id="thinking in the second tier",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            NOON,
            io(1_000, 1_000, cache_read_input_tokens=500),
            {"batch": True},
            mtok("0.4", 500) + mtok("0.16", 500) + mtok("1", 1_000),
            id="batch leaves cached tokens as they are",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            NOON,
            io(1_000, 0, image_input_tokens=400),
            {},
            mtok("0.8", 1_000),
            id="a declared stand-in",
        ),
        pytest.param(
            "alibaba",
            "qwen-long",
            "2024-05-22",
            {"input_tokens": 2 * M},
            {},
            Decimal(1),
            id="one yuan buys two million",
        ),
        pytest.param(
            "zhipu", "glm-4.7", NOON, io(32_000, 200), {}, mtok("2", 32_000) + mtok("8", 200), id="short answer"
        ),
        pytest.param(
            "zhipu",
            "glm-4.7",
            NOON,
            io(32_000, 201),
            {},
            mtok("3", 32_000) + mtok("14", 201),
            id="a longer answer moves the input price",
        ),
        pytest.param(
            "zhipu",
            "glm-4.7",
            NOON,
            io(32_001, 200),
            {},
            mtok("4", 32_001) + mtok("16", 200),
            id="long input, short answer",
        ),
        pytest.param("zhipu", "glm-4.7", NOON, io(50_000, 1_000), {}, Decimal("0.216"), id="the case others get wrong"),
        pytest.param(
            "zhipu",
            "GLM-4-Flash",
            "2024-08-26T23:59:59+08:00",
            io(600_000, 400_000),
            {},
            Decimal("0.1"),
            id="one price for both, last second before it was free",
        ),
        pytest.param(
            "zhipu",
            "GLM-4-Flash",
            "2024-08-27",
            {**io(M, M), "quantities": {"web_search_calls": 3}},
            {},
            Decimal("0.03"),
            id="a free model's search is not free",
        ),
        pytest.param(
            "anthropic",
            "claude-sonnet-4-5",
            NOON,
            io(200_000, 1_000),
            {},
            mtok("3", 200_000) + mtok("15", 1_000),
            id="200,000 is not above 200,000",
        ),
        pytest.param(
            "anthropic", "claude-sonnet-4-5", NOON, io(200_001, 1_000), {}, Decimal("1.222506"), id="above 200,000"
        ),
        pytest.param(
            "anthropic",
            "claude-sonnet-4-5",
            NOON,
            io(
                5_000, 0, cache_write_input_tokens=3_000, cache_write_1h_input_tokens=1_000, cache_read_input_tokens=500
            ),
            {},
            mtok("3", 1_500) + mtok("0.3", 500) + mtok("3.75", 2_000) + mtok("6", 1_000),
            id="writes of one hour, the rest by the stand-in",
        ),
        pytest.param(
            "anthropic",
            "claude-sonnet-4-5",
            NOON,
            io(1_000, 0, cache_write_input_tokens=1_000),
            {"cache_ttl": "1h"},
            mtok("6", 1_000),
            id="the lifetime asked for",
        ),
        pytest.param(
            "anthropic",
            "us.anthropic.claude-sonnet-4-5-20250929",
            NOON,
            io(1_000, 0),
            {},
            mtok("3", 1_000),
            id="a declared form of an alias",
        ),
        pytest.param(
            "openai", "gpt-5.4", NOON, io(272_000, 1_000), {}, mtok("2.5", 272_000) + mtok("15", 1_000), id="272,000"
        ),
        pytest.param(
            "openai",
            "gpt-5.4",
            NOON,
            io(272_001, 1_000),
            {},
            mtok("5", 272_001) + mtok("22.5", 1_000),
            id="multiplied above",
        ),
        pytest.param(
            "openai",
            "gpt-5.4",
            NOON,
            io(272_001, 1_000),
            {"service_tier": "flex"},
            mtok("2.5", 272_001) + mtok("11.25", 1_000),
            id="flex stacks where the file says so",
        ),
        pytest.param(
            "openai",
            "gpt-5.4",
            NOON,
            io(1_000, 1_000),
            {"service_tier": "priority"},
            mtok("5", 1_000) + mtok("30", 1_000),
            id="priority",
        ),
        pytest.param(
            "openai",
            "gpt-5.4",
            NOON,
            io(1_000, 1_000),
            {"service_tier": "Default"},
            mtok("2.5", 1_000) + mtok("15", 1_000),
            id="a priority call the vendor served as default",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            NOON,
            io(M, 0),
            {"service_tier": "batch"},
            Decimal("2.4"),
            id="a tier that means batch",
        ),
        pytest.param("openai", "text-embedding-3-small", NOON, io(M, 0), {}, Decimal("0.02"), id="no output to price"),
        pytest.param(
            "openai",
            "gpt-audio",
            NOON,
            io(
                1_000,
                500,
                audio_input_tokens=600,
                cache_read_input_tokens=300,
                audio_cache_read_input_tokens=200,
                audio_output_tokens=400,
            ),
            {},
            mtok("2.5", 300) + mtok("0.5", 100) + mtok("4", 200) + mtok("40", 400) + mtok("10", 100) + mtok("80", 400),
            id="cached audio is part of both, charged once",
        ),
        pytest.param(
            "deepseek",
            "deepseek-chat",
            "2024-08-01T23:59:59+08:00",
            io(M, 0),
            {},
            Decimal(1),
            id="last second of a price day",
        ),
        pytest.param(
            "deepseek",
            "deepseek-chat",
            "2024-08-02T00:00:00+08:00",
            io(M, 0, cache_read_input_tokens=M),
            {},
            Decimal("0.1"),
            id="midnight where the provider is",
        ),
        pytest.param(
            "deepseek",
            "deepseek-chat",
            "2024-08-01T16:00:00Z",
            io(M, 0, cache_read_input_tokens=M),
            {},
            Decimal("0.1"),
            id="the same midnight in UTC",
        ),
        pytest.param(
            "deepseek",
            "deepseek-chat",
            "2025-02-08T23:59:59.999999+08:00",
            io(M, 0),
            {},
            Decimal(1),
            id="last microsecond of the promotion",
        ),
        pytest.param(
            "deepseek", "deepseek-chat", "2025-02-09", io(M, 0), {}, Decimal(2), id="a bare day is its midnight"
        ),
        pytest.param(
            "deepseek",
            "deepseek-chat",
            "2025-03-01T00:29:59+08:00",
            io(M, 0),
            {},
            Decimal(2),
            id="before the night window",
        ),
        pytest.param(
            "deepseek",
            "deepseek-chat",
            "2025-03-01T00:30:00+08:00",
            io(M, 0),
            {},
            Decimal(1),
            id="night, also on a Saturday",
        ),
        pytest.param(
            "deepseek",
            "deepseek-chat",
            "2025-03-01T08:30:00+08:00",
            io(M, 0),
            {},
            Decimal(2),
            id="the window is half-open",
        ),
        pytest.param(
            "deepseek",
            "deepseek-chat",
            NOON,
            io(M, 0),
            {"currency": "USD"},
            Decimal("0.28"),
            id="the other list, not converted",
        ),
        pytest.param(
            "deepseek",
            "deepseek-v4-flash",
            "2026-08-16T23:59:59+08:00",
            io(M, M),
            {},
            Decimal(3),
            id="before peak hours were introduced",
        ),
        pytest.param(
            "deepseek",
            "deepseek-v4-flash",
            "2026-08-17T08:59:59+08:00",
            io(M, M),
            {},
            Decimal(6),
            id="Monday before nine",
        ),
        pytest.param(
            "deepseek", "deepseek-v4-flash", "2026-08-17T09:00:00+08:00", io(M, M), {}, Decimal(12), id="Monday at nine"
        ),
        pytest.param(
            "deepseek",
            "deepseek-v4-flash",
            "2026-08-17T01:00:00Z",
            io(M, M),
            {},
            Decimal(12),
            id="Monday at nine, told in UTC",
        ),
        pytest.param("deepseek", "deepseek-v4-flash", "2026-08-17T12:00:00+08:00", io(M, M), {}, Decimal(6), id="noon"),
        pytest.param(
            "deepseek", "deepseek-v4-flash", "2026-08-17T17:59:59+08:00", io(M, M), {}, Decimal(12), id="before six"
        ),
        pytest.param(
            "deepseek", "deepseek-v4-flash", "2026-11-21T10:00:00+08:00", io(M, M), {}, Decimal(5), id="Saturday"
        ),
        pytest.param(
            "deepseek",
            "deepseek-v4-flash",
            "2026-10-05T10:00:00+08:00",
            io(M, M),
            {},
            Decimal(5),
            id="Monday of the National Day week",
        ),
        pytest.param(
            "deepseek",
            "deepseek-v4-flash",
            "2026-10-10T10:00:00+08:00",
            io(M, M),
            {},
            Decimal(5),
            id="a make-up working Saturday stays off-peak",
        ),
        pytest.param(
            "deepseek",
            "deepseek-v4-flash",
            "2026-10-09T10:00:00+08:00",
            io(M, M),
            {},
            Decimal(10),
            id="the Friday before it is peak",
        ),
        pytest.param(
            "deepseek",
            "DeepSeek-V4-Flash",
            "2026-11-20T10:00:00+08:00",
            io(M, M),
            {},
            Decimal(10),
            id="served by its successor, whatever the case",
        ),
    ],
)
def test_a_call_costs(
    provider: str, model: str, at: str, usage: dict[str, Any], params: dict[str, Any], expected: Decimal
) -> None:
    cost = price(provider, model, at, usage, **params)

    assert cost.reason is None
    assert cost.amount == expected
    assert sum(charge.amount for charge in cost.charges) == expected
    for charge in cost.charges:
        assert charge.amount == charge.rate * charge.quantity / charge.per


@pytest.mark.parametrize(
    ("provider", "model", "at", "usage", "params", "reason"),
    [
        pytest.param("nobody", "x", NOON, io(1, 1), {}, "no prices for provider 'nobody'", id="unknown provider"),
        pytest.param("opnai", "x", NOON, io(1, 1), {}, "did you mean 'openai'", id="a near provider"),
        pytest.param(
            "openai", "gpt-5.5", NOON, io(1, 1), {}, "near names: gpt-5.4", id="a newer model is not an older one"
        ),
        pytest.param("openai", "gpt-5.4-mini", NOON, io(1, 1), {}, "has no model", id="no prefix match"),
        pytest.param(
            "zhipu", "glm-4.7", "2025-12-23", io(1, 1), {}, "the book's first is later", id="before the first rate"
        ),
        pytest.param(
            "openai",
            "gpt-5.4",
            NOON,
            io(300_000, 1),
            {"service_tier": "priority"},
            "no rate for service_tier = priority",
            id="a tier not sold at this length",
        ),
        pytest.param(
            "openai",
            "gpt-5.4",
            NOON,
            io(1, 1),
            {"service_tier": "scale"},
            "no rate for service_tier = scale",
            id="an unknown service tier",
        ),
        pytest.param(
            "openai",
            "gpt-5.4",
            NOON,
            io(1, 1),
            {"batch": True},
            "no rate for batch = true",
            id="no batch price is known",
        ),
        pytest.param(
            "openai",
            "ft:gpt-5.4:acme::1",
            NOON,
            io(1, 1),
            {},
            "no rate for tuned = true",
            id="tuned, without a tuned price",
        ),
        pytest.param(
            "openai",
            "gpt-5.4",
            NOON,
            io(1, 1),
            {"currency": "CNY"},
            "nothing is converted",
            id="a list there is none of",
        ),
        pytest.param(
            "openai",
            "gpt-5.4",
            NOON,
            io(1, 1),
            {"thinking": "perhaps"},
            "neither true nor false",
            id="a switch of no known position",
        ),
        pytest.param(
            "zhipu",
            "glm-4.7",
            NOON,
            {"input_tokens": 100},
            {},
            "depends on output_tokens",
            id="the tier needs the output",
        ),
        pytest.param(
            "deepseek",
            "deepseek-chat",
            "2024-07-01",
            io(10, 1, cache_read_input_tokens=5),
            {},
            "no rate for cache_read",
            id="a component without a rate",
        ),
        pytest.param(
            "openai",
            "gpt-5.4",
            NOON,
            {**io(1, 1), "quantities": {"web_search_calls": 1}},
            {},
            "no rate for web_search",
            id="a tool without a rate",
        ),
        pytest.param(
            "openai",
            "gpt-5.4",
            NOON,
            {**io(1, 1), "quantities": {"spells": 1}},
            {},
            "no rate for spells",
            id="a quantity nobody has heard of",
        ),
        pytest.param("openai", "gpt-5.4", NOON, io(-1, 1), {}, "input_tokens is negative", id="negative"),
        pytest.param(
            "openai",
            "gpt-5.4",
            NOON,
            io(10, 1, cache_read_input_tokens=11),
            {},
            "above input_tokens",
            id="cache larger than input",
        ),
        pytest.param(
            "openai", "gpt-5.4", NOON, io(10, 1, cache_read_input_tokens=-1), {}, "is negative", id="negative cache"
        ),
        pytest.param(
            "openai",
            "gpt-audio",
            NOON,
            io(10, 9, reasoning_output_tokens=5, audio_output_tokens=5),
            {},
            "together are above output_tokens",
            id="parts above the whole",
        ),
        pytest.param(
            "openai",
            "gpt-audio",
            NOON,
            io(10, 0, cache_read_input_tokens=6, audio_input_tokens=6),
            {},
            "overlap by an amount",
            id="how much of the audio was cached is not told",
        ),
        pytest.param(
            "openai",
            "gpt-5.6-sol",
            NOON,
            {"output_tokens": 1, "cache_read_input_tokens": 1},
            {},
            "without input_tokens",
            id="a part without its whole",
        ),
        pytest.param("openai", "gpt-5.6-sol", NOON, {}, {}, "no usage is known", id="nothing at all"),
        pytest.param("openai", "gpt-5.4", NOON, io(int("7" * 300), 1), {}, "beyond what can be billed", id="absurd"),
        pytest.param(
            "openai", "gpt-5.4", "2026-11-20T10:00:00", io(1, 1), {}, "has no offset", id="a time without offset"
        ),
        pytest.param(
            "deepseek", "deepseek-v4-flash", "9999-12-31T23:59:59-14:00", io(1, 1), {}, "beyond any", id="beyond time"
        ),
        pytest.param("openai", "gpt-5.4", "yesterday", io(1, 1), {}, "is not a time", id="not a time"),
    ],
)
def test_what_is_not_known_is_unpriced_with_the_reason(
    provider: str, model: str, at: str, usage: dict[str, Any], params: dict[str, Any], reason: str
) -> None:
    cost = price(provider, model, at, usage, **params)

    assert cost.status == "unpriced"
    assert cost.total is None
    assert cost.to_dict()["cost"] is None
    assert reason in (cost.reason or "")


def test_known_charges_are_listed_beside_the_unknown_one() -> None:
    cost = price("deepseek", "deepseek-chat", "2024-07-01", io(1_000, 100, cache_read_input_tokens=400))

    assert [(charge.component, charge.quantity) for charge in cost.charges] == [("input", 600), ("output", 100)]
    assert cost.reason == "no rate for cache_read"


@pytest.mark.parametrize(
    ("at", "status", "amount"),
    [
        pytest.param("2024-08-27T00:00:00+08:00", "free", Decimal(0), id="known to cost nothing"),
        pytest.param("2024-06-30T23:59:59+08:00", "unpriced", None, id="unknown is not free"),
    ],
)
def test_free_is_known_and_unknown_is_not_free(at: str, status: str, amount: Decimal | None) -> None:
    cost = price("zhipu", "GLM-4-Flash", at, io(M, M, cache_read_input_tokens=5))

    assert (cost.status, cost.amount) == (status, amount)


@pytest.mark.parametrize("model", ["qwen-plus", "qwen-long", 'a "new"\n模型'])
def test_the_short_json_is_the_long_one(model: str) -> None:
    cost = price("alibaba", model, "2026-11-20", io(130_000, 10, cache_read_input_tokens=7))

    assert json.loads("{" + cost.to_json() + "}") == cost.to_dict()


def test_no_tokens_on_a_priced_model_is_priced_at_nothing() -> None:
    assert price("openai", "gpt-5.4", NOON, io(0, 0)).status == "priced"


def test_the_answer_says_what_it_rests_on() -> None:
    cost = price("alibaba", "qwen-plus", "2026-11-20", io(130_000, 10), thinking=True)

    assert cost.to_dict() == {
        "status": "priced",
        "cost": {"amount": "0.31224", "currency": "CNY"},
        "charges": [
            {"component": "input", "quantity": 130_000, "rate": "2.4", "per": "1000000", "amount": "0.312"},
            {"component": "output", "quantity": 10, "rate": "24", "per": "1000000", "amount": "0.00024"},
        ],
        "rate_id": "alibaba/qwen-plus@2025-08-30",
        "effective_from": "2025-08-30T00:00:00+08:00",
        "dating": "observed",
        "confidence": "corroborated",
        "list": "CNY",
        "last_seen": "2026-09-27",
        "at": "2026-11-20T00:00:00+08:00",
        "book": BOOK.version,
        "covered_by": None,
        "flags": ["tier_edge_128000_or_131072"],
        "reason": None,
    }


@pytest.mark.parametrize(
    ("provider", "model", "at", "dating", "flags"),
    [
        pytest.param("alibaba", "qwen-long", "2019-01-01", "open", (), id="known by its end alone: reaches back"),
        pytest.param("alibaba", "qwen-long", "2024-05-20T23:59:59+08:00", "open", (), id="its last second"),
        pytest.param("alibaba", "qwen-long", "2024-05-21", "official", (), id="the vendor's date"),
        pytest.param("alibaba", "qwen-plus", "2024-09-19", "observed", (), id="first day seen"),
        pytest.param(
            "alibaba", "qwen-plus", "2025-06-01", "observed", ("between_observations",), id="changed some day between"
        ),
        pytest.param("alibaba", "qwen-plus", "2027-01-01", "observed", (), id="last known"),
        pytest.param("openai", "gpt-5.6-sol", "2026-11-21T23:59:59Z", "official", (), id="last day of the review"),
        pytest.param(
            "openai", "gpt-5.6-sol", "2026-11-22", "official", ("past_review",), id="the promotion may be over"
        ),
        pytest.param(
            "deepseek",
            "deepseek-v4-flash",
            "2027-01-04T10:00:00+08:00",
            "official",
            ("calendar_unknown",),
            id="beyond the holiday calendar",
        ),
    ],
)
def test_every_answer_says_how_it_is_dated(
    provider: str, model: str, at: str, dating: str, flags: tuple[str, ...]
) -> None:
    cost = price(provider, model, at, io(1_000, 100))

    assert cost.status == "priced"
    assert (cost.dating, cost.flags) == (dating, flags)


def test_a_total_nobody_reported_is_flagged() -> None:
    assert price("openai", "gpt-5.4", NOON, {"input_tokens": 10}).flags == ("output_tokens_unknown",)


def test_the_responses_model_is_billed_if_the_book_knows_it() -> None:
    usage = Usage(input_tokens=M, output_tokens=0)

    def billed(response_model: str) -> Cost:
        return BOOK.price(usage, provider="openai", model="gpt-5.4", response_model=response_model, at=NOON)

    assert billed("gpt-5.6-sol").model == "gpt-5.6-sol"
    assert (billed("gpt-router").model, billed("gpt-router").flags) == ("gpt-5.4", ("response_model_unknown",))


def test_a_plan_covers_a_call_whose_list_cost_stays() -> None:
    cost = price("zhipu", "glm-4.7", NOON, io(1_000, 100), plan="glm-coding-lite")

    assert (cost.covered_by, cost.amount, cost.flags) == ("glm-coding-lite", mtok("2", 1_000) + mtok("8", 100), ())
    assert price("zhipu", "glm-4.7", NOON, io(1, 1), plan="gold").flags == ("plan_unknown",)


def test_a_cost_compares_shows_and_adds_as_a_value() -> None:
    one, same = (price("openai", "gpt-5.4", NOON, io(1_000, 10)) for _ in range(2))

    assert one == same
    assert hash(one) == hash(same)
    assert one.total == Money(Decimal("0.00265"), "USD")
    assert one.charges[0] == Charge("input", 1_000, Decimal("2.5"), M, Decimal("0.0025"), "USD")
    assert repr(one) == "<Cost priced 0.00265 USD openai/gpt-5.4 by openai/gpt-5.4@2026-03-05>"
    with pytest.raises(AttributeError):
        one.status = "free"  # type: ignore[misc]
