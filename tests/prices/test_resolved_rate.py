"""Cells: a usage's cell is found by its quantities, and any value inside a cell meets the same ranges."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.prices.conditions import Range
from tokenmeter.prices.resolved_rate import Cells
from tokenmeter.usage import Usage

edges = st.integers(1, 50)
ranges = st.lists(
    st.builds(
        lambda name, low, width: Range(name, low, None if width is None else low + width),
        st.sampled_from(["input_tokens", "output_tokens"]),
        edges,
        st.none() | st.integers(1, 20),
    ),
    min_size=1,
    max_size=6,
)


@given(ranges, st.integers(0, 80), st.integers(0, 80))
def test_the_sample_of_a_cell_meets_the_ranges_its_usages_meet(found: list[Range], given: int, made: int) -> None:
    usage = Usage(input_tokens=given, output_tokens=made)
    cells = Cells(found)
    cell = cells.find(usage)
    assert not isinstance(cell, str)
    sample = cells.sample(cell)
    assert [one.contains(sample[one.quantity]) for one in found] == [
        one.contains(getattr(usage, one.quantity)) for one in found
    ]


def test_a_tier_over_an_unknown_total_has_no_cell() -> None:
    assert Cells([Range("input_tokens", 10, None)]).find(Usage(output_tokens=3)) == (
        "the price depends on input_tokens, which is not known"
    )


def test_a_subset_not_reported_is_none_of_it() -> None:
    cells = Cells([Range("reasoning_output_tokens", 1, None)])
    assert cells.find(Usage(input_tokens=1, output_tokens=1)) == (0,)
