"""The fit of an overhead and a factor to pairs of counted and reported tokens: bounded, whatever is reported."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter.tokens.calibration.fit import FACTOR, OVERHEAD, WINDOW, Pair, fit, shifted

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
    assert OVERHEAD[0] <= known.overhead <= OVERHEAD[1]
    assert FACTOR[0] <= known.factor <= FACTOR[1]
    best, low, high = known.apply(tokens)
    assert 0 <= low <= best <= high
    assert 0 < known.weight <= known.pairs == len(pairs)


@settings(max_examples=40, deadline=None)
@given(pairs=PAIRS, tokens=st.integers(1, 10**6), data=st.data())
def test_the_order_of_pairs_is_no_matter(pairs: list[Pair], tokens: int, data: st.DataObject) -> None:
    mixed = data.draw(st.permutations(pairs))
    assert fit(pairs).apply(tokens) == pytest.approx(fit(mixed).apply(tokens), abs=1)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**9), noise=st.floats(0, 0.3), overhead=st.integers(-20, 500))
def test_noise_is_not_taken_for_a_change(seed: int, noise: float, overhead: int) -> None:
    rng = random.Random(seed)
    pairs: list[Pair] = []
    for number in range(WINDOW):
        tokens = int(30 * 100 ** rng.random())
        pairs.append(Pair(START + number, tokens, max(1, round(overhead + tokens * (1 + rng.gauss(0, noise))))))
    assert shifted(pairs[:40]) is None
    assert shifted(pairs) is None
