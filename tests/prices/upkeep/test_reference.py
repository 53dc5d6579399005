"""The tables of docs/prices.md are made from the book, and current."""

from __future__ import annotations

from pathlib import Path

from tokenmeter.prices.upkeep.reference import reference

ROOT = Path(__file__).parents[3]


def test_the_tables_of_the_docs_are_current() -> None:
    assert (ROOT / "docs" / "prices.md").read_text(encoding="utf-8") == reference()
