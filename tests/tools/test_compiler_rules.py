"""The compiler's rules, each on a handful of facts: what is announced, and what belongs to which base."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tools.price_book.build_book import compile_book
from tools.price_book.fact_files import read_file
from tools.price_book.facts import read_facts


def compiled(tmp_path: Path, text: str) -> dict[str, Any]:
    file = tmp_path / "example.facts"
    file.write_text(text, encoding="utf-8")
    return tomllib.loads(compile_book(read_facts(read_file(file)))["example"])


def prices(book: dict[str, Any], model: str = "m") -> list[tuple[str, Any]]:
    """The beginning and the input price of each entry of a model."""
    rates = [rate for rate in book["rate"] if rate["model"] == model]
    return [(str(rate.get("effective") or rate["observed"][0]), rate.get("input")) for rate in rates]


OLD = "source litellm==1 read=2026-06-30 by=catalog license=MIT\nmodel m\ninput 2 USD\noutput 10 USD\n"
RISE = "input 3 USD from=2026-09-01\noutput 15 USD from=2026-09-01\n"


def later(price: int, day: str) -> str:
    source = f"source anomalyco/models.dev read={day} by=catalog license=MIT\n"
    return f"{source}model m\ninput {price} USD\noutput {price * 5} USD\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(later(3, "2026-09-10"), [("2026-06-30", 2), ("2026-09-01", 3)], id="confirmed by a later reading"),
        pytest.param(later(2, "2026-09-10"), [("2026-06-30", 2)], id="a later reading has the old price"),
        pytest.param(later(2, "2026-08-30"), [("2026-06-30", 2)], id="read before the day only"),
        pytest.param("", [("2026-06-30", 2)], id="nobody read since"),
    ],
)
def test_an_announced_price_is_a_forecast(tmp_path: Path, text: str, expected: list[tuple[str, int]]) -> None:
    assert prices(compiled(tmp_path, OLD + RISE + text)) == expected


def test_a_forecast_of_a_day_to_come_marks_the_price_that_goes_on(tmp_path: Path) -> None:
    (rate,) = compiled(tmp_path, OLD + RISE)["rate"]
    assert str(rate["announced"]) == "2026-09-01"


def test_a_vendor_that_announces_a_price_is_waited_for_too(tmp_path: Path) -> None:
    """Anthropic's page announced a rise of Claude Sonnet 5 for 2026-09-01, and took it back."""
    text = (OLD + RISE).replace("by=catalog", "by=vendor_doc")
    assert prices(compiled(tmp_path, text + later(2, "2026-09-10"))) == [("2026-06-30", 2)]
    assert prices(compiled(tmp_path, text + later(3, "2026-09-10"))) == [("2026-06-30", 2), ("2026-09-01", 3)]


def test_a_price_read_long_after_it_was_announced_and_refuted_is_of_its_own_day(tmp_path: Path) -> None:
    text = (
        OLD
        + RISE
        + later(2, "2026-09-10")
        + later(3, "2027-01-10").replace("anomalyco/models.dev", "langfuse/langfuse")
    )
    assert ("2026-09-01", 3) not in prices(compiled(tmp_path, text))


def test_a_finer_list_holds_from_the_day_it_was_seen(tmp_path: Path) -> None:
    tiers = later(2, "2026-07-10").replace(
        "input 2 USD", "input 2 USD tier=input<=128000\ninput 4 USD tier=input>128000"
    )
    first, finer = compiled(tmp_path, OLD + tiers)["rate"]
    assert "case" not in first
    assert [case["input"] for case in finer["case"]] == [4]


def test_a_refuted_announcement_marks_nothing(tmp_path: Path) -> None:
    (rate,) = compiled(tmp_path, OLD + RISE + later(2, "2026-09-10"))["rate"]
    assert "announced" not in rate


@pytest.mark.parametrize(
    ("line", "case"),
    [
        pytest.param("input 1 USD when=mode=batch\n", "batch", id="batch"),
        pytest.param("cache_read 0.2 USD\n", "cache_read", id="cache"),
        pytest.param("input 4 USD tier=input>200000\n", "tier", id="tier"),
    ],
)
def test_a_price_belongs_to_the_base_that_it_was_read_with(tmp_path: Path, line: str, case: str) -> None:
    """The cheaper list of another source did not say what a batch, a cache hit or a long call costs."""
    new = later(1, "2026-09-10").replace("USD", "USD from=2026-09-05") + later(1, "2026-09-10").replace(
        "anomalyco/models.dev", "langfuse/langfuse"
    )
    old, fresh = compiled(tmp_path, OLD + line + new)["rate"]
    assert ("case" in old) == (case != "cache_read")
    assert ("cache_read" in old) == (case == "cache_read")
    assert "case" not in fresh
    assert "cache_read" not in fresh


def test_a_flat_row_of_a_snapshot_loses_to_the_tiers_of_its_model(tmp_path: Path) -> None:
    text = (
        "source litellm==1 read=2026-06-30 by=catalog license=MIT\nmodel m-2026-06-01\ninput 2 USD\noutput 10 USD\n"
        "source anomalyco/models.dev read=2026-06-30 by=catalog license=MIT\nmodel m also=m-2026-06-01\n"
        "input 2 USD tier=input<=128000\noutput 10 USD tier=input<=128000\n"
        "input 4 USD tier=input>128000\noutput 20 USD tier=input>128000\n"
    )
    book = compiled(tmp_path, text)
    assert [rate["model"] for rate in book["rate"]] == ["m"]
    assert [(alias["model"], alias["of"]) for alias in book["alias"]] == [("m-2026-06-01", "m")]
