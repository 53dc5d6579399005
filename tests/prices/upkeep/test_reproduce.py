"""How much of a base of dated facts the book reproduces: each fact is put to the book as a question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.errors import ConfigurationError
from tokenmeter.prices.book import Book
from tokenmeter.prices.upkeep.reproduce import HELD, outcomes

BOOK = Book.of(Path(__file__).parents[2] / "data" / "prices")
FACT = {
    "vendor": "deepseek",
    "model": "deepseek-chat",
    "currency": "CNY",
    "unit": "per_1m_tokens",
    "price": "1",
    "effective_from": "2024-05-06",
}


def told(tmp_path: Path, *facts: dict[str, Any]) -> list[str]:
    base = tmp_path / "facts.jsonl"
    base.write_text("\n".join(json.dumps(fact) for fact in facts), "utf-8")
    return [outcome for _, outcome, _ in outcomes(BOOK, base)]


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        pytest.param({}, HELD, id="the price of its date"),
        pytest.param({"price": "2"}, HELD, id="of another component"),
        pytest.param({"price": "3"}, "another price is held at its date", id="another price"),
        pytest.param({"price": "8", "effective_from": "2025-02-09"}, HELD, id="a later date, a later price"),
        pytest.param({"effective_from": "2023-01-01"}, "the model has no rate at its date", id="before the first rate"),
        pytest.param({"model": "no-such"}, "the model has no rate at its date", id="a model that is not sold"),
        pytest.param({"effective_from": None}, "no date", id="no date"),
        pytest.param({"vendor": "nobody"}, "no price file of this provider", id="a provider without prices"),
        pytest.param({"converted": True}, "converted from another currency: no list price", id="converted"),
    ],
)
def test_what_becomes_of_a_fact(tmp_path: Path, change: dict[str, Any], outcome: str) -> None:
    assert told(tmp_path, {**FACT, **change}) == [outcome]


def test_facts_are_answered_in_their_order(tmp_path: Path) -> None:
    assert told(tmp_path, FACT, {**FACT, "price": "3"}, FACT) == [HELD, "another price is held at its date", HELD]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.jsonl"):
        list(outcomes(BOOK, tmp_path / "none.jsonl"))
