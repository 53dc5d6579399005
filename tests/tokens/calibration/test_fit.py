"""The fit of an overhead and a factor to pairs of counted and reported tokens: bounded, whatever is reported."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter.tokens.calibration.fit import FACTOR, OVERHEAD, Line, Pair, fit

START = 1_767_225_600_000_000
"""2026-01-01 (UTC), in microseconds."""

PAIRS = st.lists(
    st.builds(Pair, st.integers(START, START + 10**8), st.integers(0, 10**6), st.integers(0, 10**7)),
    min_size=1,
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(pairs=PAIRS, tokens=st.integers(0, 10**6))
def test_whatever_is_reported_the_figures_stay_bounded(pairs: list[Pair], tokens: int) -> None:
    known = fit(pairs)
    assert OVERHEAD[0] <= known.line.overhead <= OVERHEAD[1]
    assert FACTOR[0] <= known.line.factor <= FACTOR[1]
    best, low, high = known.apply(tokens)
    assert 0 <= low <= best <= high
    assert 0 < known.weight <= known.pairs == len(pairs)


@settings(max_examples=40, deadline=None)
@given(pairs=PAIRS, tokens=st.integers(1, 10**6), data=st.data())
def test_the_order_of_pairs_is_no_matter(pairs: list[Pair], tokens: int, data: st.DataObject) -> None:
    mixed = data.draw(st.permutations(pairs))
    assert fit(pairs).apply(tokens) == pytest.approx(fit(mixed).apply(tokens), abs=1)


@pytest.mark.parametrize(
    ("base", "line"),
    [
        pytest.param(Line(0, 1), Line(12, 1.2), id="tools alone differ"),
        pytest.param(Line(30, 1), Line(0, 1), id="a hidden prompt around tools that are counted right"),
        pytest.param(Line(30, 1.1), Line(-4, 0.8), id="both differ"),
    ],
)
def test_tools_are_fitted_apart_from_the_text_around_them(base: Line, line: Line) -> None:
    rng = random.Random(11)
    pairs = []
    for number in range(40):
        text, tools = rng.randint(20, 4000), rng.randint(50, 900)
        pairs.append(Pair(START + number, text + tools, round(base.at(text) + line.at(tools)), False, tools))
    known = fit(pairs, base)
    assert known.line.overhead == pytest.approx(line.overhead, abs=1)
    assert known.line.factor == pytest.approx(line.factor, abs=0.002)
    assert known.apply(5000, 200)[0] == pytest.approx(base.at(4800) + line.at(200), abs=2)


def test_the_range_of_few_pairs_is_never_narrower_than_our_own() -> None:
    known = fit([Pair(START + n, 100 * n, 100 * n + 12) for n in range(1, 6)])
    assert known.line == Line(12, 1)
    assert known.holds(START)
    best, low, high = known.range(250, 240, 270)
    assert best == 262
    assert low <= 252
    assert high >= 282


def test_few_pairs_say_nothing_of_other_sizes_unless_a_hidden_prompt_explains_them() -> None:
    fewer = fit([Pair(START + n, 100 + n, 90 + n) for n in range(6)])
    more = fit([Pair(START + n, 100 + n, 130 + n) for n in range(6)])
    assert not fewer.reaches(20)
    assert fewer.reaches(60)
    assert more.reaches(20)
