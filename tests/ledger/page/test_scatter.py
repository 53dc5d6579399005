"""Points, their lines and names stay inside the plot, and near names stand apart."""

from __future__ import annotations

import re
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.rigs.page_tables import Page
from tokenmeter.ledger.page.scatter import Point, _apart, scatter

POSITIVE = st.floats(1e-9, 1e9)


@given(st.lists(st.tuples(POSITIVE, POSITIVE, POSITIVE, POSITIVE), min_size=1, max_size=7))
def test_any_points_stay_inside(values: list[tuple[float, float, float, float]]) -> None:
    points = [Point((a, b), (c, d), f"c{n}", f"m{n}", "t") for n, (a, b, c, d) in enumerate(values)]
    page = Page(scatter(points, label="l"))
    dots = [found for _, found in page.elements if (found.get("class") or "").startswith("dot")]
    assert len(dots) == len(points)
    for _, found in page.elements:
        places = re.findall(r"[MHV](\d+)(?: (\d+))?", found.get("d") or "")
        assert all(0 <= int(one) <= 1000 for place in places for one in place if one)


def test_a_dearer_and_slower_model_lies_above_and_to_the_right() -> None:
    points = [Point((1, 2), (0.01, 0.02), "c0", "a", "t"), Point((10, 20), (0.1, 0.2), "c1", "b", "t")]
    page = Page(scatter(points, label="l"))
    (a, b) = (
        [int(one) for one in re.findall(r"\d+", found["d"] or "")[:2]]
        for _, found in page.elements
        if (found.get("class") or "").startswith("dot")
    )
    assert a[0] < b[0]
    assert a[1] > b[1]
    assert {"a", "b", "1", "10", "0.01", "0.1"} <= set(page.texts)


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 100)), min_size=2, max_size=7))
def test_names_do_not_cover_each_other(places: list[tuple[float, float]]) -> None:
    heights = sorted(_apart(places))
    assert all(after - before > 5.4 for before, after in pairwise(heights))
