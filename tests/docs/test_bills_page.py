"""docs/bills.md and docs/what-if.md are true: formats, causes, the example of a map, and the measured ratios."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import pytest

from tokenmeter.ledger.bills.bill_format import CAUSES, format_names, read_format
from tokenmeter.ledger.valuation.token_ratios import token_ratio

DOCS = Path(__file__).parents[2] / "docs"
BILLS = (DOCS / "bills.md").read_text("utf-8")
WHAT_IF = (DOCS / "what-if.md").read_text("utf-8")


def first_cells(text: str, head: str) -> list[str]:
    """The first cell of each row of the table with this head."""
    table = text[text.index(f"| {head} |") :].split("\n\n")[0]
    return [line.split("|")[1].strip().strip("`") for line in table.splitlines()[2:]]


def test_every_format_and_every_cause_has_its_row() -> None:
    assert sorted(first_cells(BILLS, "format")) == format_names()
    assert sorted(first_cells(BILLS, "cause")) == sorted(CAUSES)


def test_the_example_of_a_map_is_a_format(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", BILLS, re.DOTALL)
    (tmp_path / "map.toml").write_text(example, encoding="utf-8")
    form = read_format(tmp_path / "map.toml")
    assert form.known_components() == {"input", "output", "cache_read"}
    assert form.models == {"flagship": "qwen-max"}


@pytest.mark.parametrize("family", first_cells(WHAT_IF, "family"))
def test_the_ratios_are_those_that_are_used(family: str) -> None:
    row = next(line for line in WHAT_IF.splitlines() if line.startswith(f"| {family} |"))
    for cell, language in zip(row.split("|")[2:4], ("zh", "en"), strict=True):
        assert token_ratio("deepseek-v3", family, language) == tuple(Fraction(one.strip()) for one in cell.split(","))
