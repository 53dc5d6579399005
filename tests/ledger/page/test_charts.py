"""Geometry: what is drawn has the proportions of the numbers, and stays inside its plot."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rigs.page_tables import Page
from tokenmeter.ledger.page.charts import HEIGHT, StackedColumn, bar, stacked

PIECE = re.compile(r"([Mm])(-?\d+)[ ]?(-?\d+)h8v(\d+)h-8z")
AMOUNTS = st.decimals(0, 10**20, places=6) | st.decimals("-5", 5, places=20)


def paths(drawn: str) -> dict[str, list[tuple[int, int, int]]]:
    found: dict[str, list[tuple[int, int, int]]] = {}
    for name, attributes in Page(drawn).elements:
        if name == "path" and (attributes.get("class") or "").startswith("c"):
            x = y = 0
            pieces = found.setdefault(str(attributes["class"]), [])
            assert PIECE.sub("", attributes["d"] or "") == ""
            for move, right, down, tall in PIECE.findall(attributes["d"] or ""):
                x, y = (int(right), int(down)) if move == "M" else (x + int(right), y + int(down))
                assert x % 10 == 1
                pieces.append((x // 10, y, int(tall)))
    return found


def test_columns_are_stacked_from_the_bottom() -> None:
    columns = [
        StackedColumn("a", {"c0": Decimal(2), "c1": Decimal(3)}, "first"),
        StackedColumn("b", {"c1": Decimal(10)}, "second"),
    ]
    drawn = stacked(columns, ["c0", "c1"], label="two", marks=[(1, "1")])
    assert paths(drawn) == {"c0": [(0, 800, 200)], "c1": [(0, 500, 300), (1, 0, 1000)]}
    assert 'viewBox="0 0 70 1000"' in drawn  # two columns are no wider than two of seven
    page = Page(drawn)
    assert ("div", {"class": "mark", "style": "left:14.3%"}) in page.elements
    assert {"first", "second", "a", "b", "0", "10"} <= set(page.texts)


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS), min_size=1, max_size=40), st.none() | st.decimals("0.01", 10**6))
def test_any_amounts_stay_inside(amounts: list[tuple[Decimal, Decimal]], limit: Decimal | None) -> None:
    columns = [StackedColumn("x", {"c0": one, "c1": two}, "t") for one, two in amounts]
    for pieces in paths(stacked(columns, ["c0", "c1"], label="l", limit=limit)).values():
        for column, high, tall in pieces:
            assert 0 <= column < len(columns)
            assert 0 <= high < high + tall <= HEIGHT


@pytest.mark.parametrize(
    ("parts", "whole", "expected"),
    [
        ([("a", 1), ("b", 3)], 4, [(None, "25%"), ("25%", "75%")]),
        ([("a", 1), ("b", -3)], 4, [(None, "25%")]),
        ([("a", 1)], 0, []),
    ],
)
def test_a_bar(parts: list[tuple[str, int]], whole: int, expected: list[tuple[str | None, str]]) -> None:
    drawn = bar([(name, Decimal(part)) for name, part in parts], Decimal(whole))
    assert [(found.get("x"), found["width"]) for name, found in Page(drawn).elements if name == "rect"] == expected
