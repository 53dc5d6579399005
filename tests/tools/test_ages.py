"""The day on which each price was last seen: a catalog's last reading, a page's own, and up to the next price only."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from tools.price_book.build_book import compile_book
from tools.price_book.fact_files import read_file
from tools.price_book.facts import read_facts

CATALOG = "source litellm==1 read=2026-02-01 by=catalog license=MIT\n"
LATER = "source litellm==9 read=2026-11-01 by=catalog license=MIT\nmodel other\ninput 1 USD\noutput 1 USD\n"
PAGE = "source https://example.com/pricing read=2026-03-01 by=vendor_doc license=facts\n"
PRICES = "model m\ninput 2 USD\noutput 10 USD\n"
DATED = PRICES.replace("USD", "USD from=2026-01-01")
RISE = "input 3 USD from=2026-02-10\noutput 15 USD from=2026-02-10\n"
DROPPED = PRICES.replace("USD", "USD seen=2026-02-01..2026-05-01")


def entries(tmp_path: Path, text: str) -> list[dict[str, Any]]:
    file = tmp_path / "example.facts"
    file.write_text(text, encoding="utf-8")
    book = tomllib.loads(compile_book(read_facts(read_file(file)))["example"])
    return [rate for rate in book["rate"] if rate["model"] == "m"]


def seen(rate: dict[str, Any]) -> str:
    return str(rate.get("seen") or rate["observed"][1])


@pytest.mark.parametrize(
    ("text", "days"),
    [
        pytest.param(CATALOG + PRICES + LATER, ["2026-11-01"], id="a catalog still has what it has not dropped"),
        pytest.param(CATALOG + DROPPED + LATER, ["2026-05-01"], id="dropped by its catalog"),
        pytest.param(PAGE + PRICES + LATER, ["2026-03-01"], id="a page is read once"),
        pytest.param(PAGE + DATED + LATER, ["2026-03-01"], id="a page with its date"),
        pytest.param(PAGE + DATED + RISE, ["2026-02-10", "2026-03-01"], id="no later than the next price"),
    ],
)
def test_a_price_was_last_seen(tmp_path: Path, text: str, days: list[str]) -> None:
    assert [seen(rate) for rate in entries(tmp_path, text)] == days


def test_a_case_and_a_component_seen_long_before_have_their_own_day(tmp_path: Path) -> None:
    catalog = CATALOG + PRICES + LATER
    (rate,) = entries(tmp_path, catalog + PAGE + "model m\ncache_read 1 USD\ninput 1 USD when=mode=batch\n")
    assert seen(rate) == "2026-11-01"
    assert {name: str(day) for name, day in rate["seen_by"].items()} == {"cache_read": "2026-03-01"}
    assert [str(case["seen"]) for case in rate["case"]] == ["2026-03-01"]


def test_a_file_says_when_each_catalog_was_read(tmp_path: Path) -> None:
    file = tmp_path / "example.facts"
    file.write_text(CATALOG + PRICES + LATER + PAGE + PRICES, encoding="utf-8")
    head = tomllib.loads(compile_book(read_facts(read_file(file)))["example"])
    assert str(head["read"]) == "2026-11-01"
    assert {name: str(day) for name, day in head["sources"].items()} == {"litellm": "2026-11-01"}
