"""The calls of a ledger as calls of other models: ranges, what they rest on, what is left out."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from tests.rigs.bills import ledger_of, metered
from tests.rigs.made_records import record, unpriced
from tokenmeter.ledger.valuation.candidate import Candidate
from tokenmeter.ledger.valuation.recorded_requests import RecordedRequests
from tokenmeter.ledger.valuation.what_if import compare_models
from tokenmeter.prices.book import load_book
from tokenmeter.record import End
from tokenmeter.tokens import count_output, count_request
from tokenmeter.usage import Source, Usage

MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
BEFORE, AFTER = datetime(2024, 5, 10, 4, tzinfo=UTC), datetime(2024, 6, 10, 4, tzinfo=UTC)
AT = datetime(2025, 10, 2, 9, tzinfo=UTC)


def compared(path: str, *models: tuple[str, str], **more: object) -> list[Candidate]:
    return compare_models(path, load_book(), models, **more).candidates  # type: ignore[arg-type]


def test_may_2024_before_and_after(tmp_path: Path) -> None:
    """Same family, so that the figures are the list's to the digit; at its own instant, and all at one."""
    spend = ledger_of(tmp_path / "spend.db", [metered("alibaba", "qwen-turbo", at, MILLION) for at in (BEFORE, AFTER)])
    (own,) = compared(spend, ("alibaba", "qwen-long"))
    assert own.sums["low"] == own.sums["likely"] == own.sums["high"] == own.sums["same_tokens"] == Decimal("42.5")
    (after,) = compared(spend, ("alibaba", "qwen-long"), at=AFTER)
    assert after.sums["likely"] == Decimal("5")


MAY = {
    ("volcengine", "doubao-pro-32k"): (None, "2.8"),
    ("alibaba", "qwen-long"): ("40", "2.5"),
    ("zhipu", "glm-3-turbo"): ("10", "2"),
    ("deepseek", "deepseek-v2"): (None, "3"),
    ("openai", "gpt-4"): ("90", "90"),
}
"""A million in and out before and after the price war of May 2024; None where nobody sold it yet."""


@pytest.mark.parametrize("model", MAY)
def test_may_2024_to_the_digit_for_the_same_tokens(model: tuple[str, str], tmp_path: Path) -> None:
    at = (datetime(2024, 5, 1, 4, tzinfo=UTC), AFTER)
    spend = ledger_of(tmp_path / "spend.db", [metered("alibaba", "qwen-turbo", at[0], MILLION)])
    for instant, price in zip(at, MAY[model], strict=True):
        (found,) = compared(spend, model, at=instant)
        same = found.to_dict({})["same_tokens"]
        if "deepseek-v2" in model:  # its tokenizer was not measured
            assert same is None
            assert any("were not measured" in reason for reason in found.unknown)
        else:
            assert same == price


def test_what_drives_the_difference_adds_up(tmp_path: Path) -> None:
    """DeepSeek to Qwen, half of the input cached: prices, then the cache, then the tokenizer."""
    half = Usage(input_tokens=1_000_000, cache_read_input_tokens=500_000, output_tokens=1_000_000)
    spend = ledger_of(tmp_path / "spend.db", [metered("deepseek", "deepseek-chat", AT, half)])
    for cache in ("keep", "none"):
        (qwen,) = compared(spend, ("alibaba", "qwen-plus"), cache=cache)
        drivers = qwen.drivers()
        spent = qwen.rests_on["CNY"]
        assert all(amount is not None for amount in drivers.values())
        assert sum((amount or Decimal(0) for amount in drivers.values()), spent) == qwen.sums["likely"]
        assert drivers["tools"] == 0
        assert bool(drivers["cache"]) == (cache == "none")
    (dollars,) = compared(spend, ("openai", "gpt-4o"))
    assert dollars.drivers()["prices"] is None


def test_the_measured_cache_rate_is_that_of_the_models_own_calls(tmp_path: Path) -> None:
    quarter = Usage(input_tokens=1_000_000, cache_read_input_tokens=250_000, output_tokens=1_000_000)
    records = [
        metered("deepseek", "deepseek-chat", AT, MILLION),
        metered("alibaba", "qwen-plus", AT, quarter),
    ]
    spend = ledger_of(tmp_path / "spend.db", records)
    qwen, other = compared(spend, ("alibaba", "qwen-plus"), ("openai", "gpt-4o"), cache="measured")
    assert qwen.cache_rate == Fraction(1, 4)
    assert qwen.to_dict({})["cache_rate"] == "0.25"
    kept, _ = compared(spend, ("alibaba", "qwen-plus"), ("openai", "gpt-4o"))
    assert qwen.sums["likely"] < kept.sums["likely"]  # the other call read nothing
    assert (other.calls, other.unknown.total()) == (0, 2)
    assert all("what it read from the cache" in reason for reason in other.unknown)


REQUEST = {
    "messages": [{"role": "user", "content": "What is the weather in Paris?"}],
    "tools": [
        {
            "type": "function",
            "function": {
                "name": "get_weather", "description": "Current weather of a city",
                "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
            },
        }
    ],
}  # fmt: skip
CALL = {"type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}


def test_requests_with_tools_are_counted_anew_by_each_model(tmp_path: Path) -> None:
    tokens = count_request(REQUEST, provider="deepseek", model="deepseek-chat", at=AT).tokens
    assert tokens is not None
    usage = Usage(input_tokens=tokens, output_tokens=20)
    called = metered("deepseek", "deepseek-chat", AT, usage, finish_reasons=("tool_calls",), response_id="answer-7")
    spend = ledger_of(tmp_path / "spend.db", [called])
    (unknown,) = compared(spend, ("alibaba", "qwen-plus"))
    assert [reason.partition(":")[0] for reason in unknown.unknown] == ["tools"]
    file = tmp_path / "requests.jsonl"
    file.write_text(json.dumps({"id": "answer-7", "request": REQUEST, "output": {"tool_calls": [CALL]}}))
    with RecordedRequests(str(file)) as requests:
        qwen, own = compared(spend, ("alibaba", "qwen-plus"), ("deepseek", "deepseek-chat"), requests=requests)
    assert own.sums["low"] == own.sums["likely"] == own.sums["high"] == called.cost.amount
    count = count_request(REQUEST, provider="alibaba", model="qwen-plus", at=AT)
    answers = [
        count_output(provider=provider, model=model, tool_calls=[CALL], request=REQUEST, at=AT)
        for provider, model in (("deepseek", "deepseek-chat"), ("alibaba", "qwen-plus"))
    ]
    there, here = (one.tokens for one in answers)
    assert there is not None
    assert here is not None
    output = (20 * here + there // 2) // there
    expected = load_book().price(
        Usage(input_tokens=count.tokens, output_tokens=output), provider="alibaba", model="qwen-plus", at=AT
    )
    assert qwen.sums["likely"] == expected.amount
    assert qwen.sums["low"] < qwen.sums["likely"] < qwen.sums["high"]
    drivers = qwen.drivers()
    assert drivers["tools"] is not None
    assert drivers["tools"] < 0  # Qwen writes them shorter
    assert sum((amount or Decimal(0) for amount in drivers.values()), qwen.rests_on["CNY"]) == qwen.sums["likely"]
    assert (qwen.recounted, qwen.to_dict({})["recounted"]) == (1, 1)


def test_tokens_are_scaled_by_the_measured_range(tmp_path: Path) -> None:
    """Qwen to Claude, Chinese: 1,055/1,139 to 2,184/983 tokens for one; Claude Opus 4.5 is 5 and 25 USD a million."""
    spend = ledger_of(tmp_path / "spend.db", [metered("alibaba", "qwen-plus", AT, MILLION)])
    (claude,) = compared(spend, ("anthropic", "claude-opus-4-5"), language="zh", at=datetime(2026, 6, 1, tzinfo=UTC))
    assert claude.currency == "USD"
    assert claude.sums["same_tokens"] == 30
    million = Decimal(1_000_000)
    assert claude.sums["low"] == Decimal(30) * (1_055_000_000 // 1_139) / million
    assert claude.sums["high"] == Decimal(30) * (2_184_000_000 // 983 + 1) / million
    assert claude.sums["low"] < claude.sums["likely"] < claude.sums["high"]


def test_what_cannot_be_scaled_is_left_out_and_said(tmp_path: Path) -> None:
    usage = Usage(input_tokens=1_000, output_tokens=1_000)
    records = [
        metered("deepseek", "deepseek-chat", AT, usage),
        metered("deepseek", "deepseek-chat", AT, usage, finish_reasons=("tool_calls",)),
        metered("deepseek", "deepseek-chat", AT, Usage(input_tokens=1_000, image_input_tokens=10, output_tokens=1_000)),
        record(unpriced(), usage=Usage(source=Source.NONE), end=End.ERROR),
        record(end=End.DELEGATED),
    ]
    answer = compare_models(
        ledger_of(tmp_path / "spend.db", records), load_book(), [("alibaba", "qwen-plus"), ("iflytek", "4.0Ultra")]
    )
    assert answer.calls == 4
    qwen, spark = answer.candidates
    assert qwen.calls == 1
    assert sorted(reason.partition(":")[0] for reason in qwen.unknown) == [
        "its usage is not known",
        "media and fees",
        "tools",
    ]
    said = qwen.to_dict(answer.spend)
    assert said["rests_on"] == [{"currency": "CNY", "amount": "0.005", "share": "0.3333"}]
    assert spark.calls == 0
    assert spark.to_dict(answer.spend)["likely"] is None
    assert any("were not measured" in reason for reason in spark.unknown)


def test_the_cache_is_kept_or_not_and_its_break_even_rate(tmp_path: Path) -> None:
    """deepseek-chat in October 2025: 2 fresh, 0.2 cached, 3 out. Half cached: 1.1 + 3; none: 2 + 3."""
    half = Usage(input_tokens=1_000_000, cache_read_input_tokens=500_000, output_tokens=1_000_000)
    spend = ledger_of(tmp_path / "spend.db", [metered("deepseek", "deepseek-chat", AT, half)])
    (keep,) = compared(spend, ("deepseek", "deepseek-chat"))
    (none,) = compared(spend, ("deepseek", "deepseek-chat"), cache="none")
    assert (keep.sums["likely"], none.sums["likely"]) == (Decimal("4.1"), Decimal(5))
    assert keep.break_even_cache_rate() == Decimal("0.5")


def test_cached_tokens_of_a_model_without_a_price_for_them_are_plain_input(tmp_path: Path) -> None:
    half = Usage(input_tokens=1_000_000, cache_read_input_tokens=500_000, output_tokens=1_000_000)
    spend = ledger_of(tmp_path / "spend.db", [metered("alibaba", "qwen-plus", AT, half)])
    (long,) = compared(spend, ("alibaba", "qwen-long"), at=AFTER)
    assert (long.sums["likely"], long.cache_as_input) == (Decimal("2.5"), 1)


@pytest.mark.parametrize("at", [BEFORE, AFTER])
def test_a_model_that_nobody_sold_yet_is_unknown(at: datetime, tmp_path: Path) -> None:
    spend = ledger_of(tmp_path / "spend.db", [metered("deepseek", "deepseek-chat", AFTER, MILLION)])
    (later,) = compared(spend, ("anthropic", "claude-opus-4-5"), at=at)
    assert later.calls == 0
    assert later.unknown.total() == 1
