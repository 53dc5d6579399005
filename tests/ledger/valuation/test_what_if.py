"""The calls of a ledger as calls of other models: ranges, what they rest on, what is left out."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.rigs.bills import ledger_of, metered
from tests.rigs.made_records import record, unpriced
from tokenmeter.ledger.valuation.what_if import Candidate, compare_models
from tokenmeter.prices.book import load_book
from tokenmeter.record import End
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
