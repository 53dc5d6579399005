"""A correction is used where it predicts past calls better than our own count does, and begins anew after a change."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter.tokens.calibration.fit import AS_IS, WINDOW, Line, Pair
from tokenmeter.tokens.calibration.trial import judged, shifted, wins

START = 1_767_225_600_000_000
"""2026-01-01 (UTC), in microseconds."""


def pairs_of(rows: Sequence[tuple[int, int]]) -> list[Pair]:
    return [Pair(START + number, counted, reported) for number, (counted, reported) in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        pytest.param([(20, 32), (41, 53), (90, 102), (300, 312), (12, 24)], Line(12, 1), id="a hidden prompt"),
        pytest.param([(665, 711), (665, 711), (669, 715), (665, 711), (665, 711)], Line(46, 1), id="of two sizes"),
        pytest.param([(100, 80), (250, 200), (60, 48), (410, 328), (150, 120)], Line(0, 0.8), id="a factor"),
        pytest.param([(20, 32), (41, 53), (90, 102), (300, 312)], AS_IS, id="too few"),
        pytest.param([(665, 711)] * 9, AS_IS, id="one size says nothing of others"),
        pytest.param([(20, 20), (41, 53), (90, 90), (300, 300), (12, 12)], AS_IS, id="one odd call"),
        pytest.param([(20, 28), (41, 41), (90, 60), (300, 330), (12, 11), (70, 75)], AS_IS, id="no pattern"),
        pytest.param(
            [(161, 157), (23, 23), (29, 29), (101, 97), (338, 334), (20, 20), (46, 42), (19, 19)],
            AS_IS,
            id="two kinds of call mixed",
        ),
    ],
)
def test_a_handful_of_calls_corrects_only_where_the_others_foretell_each(
    rows: list[tuple[int, int]], line: Line
) -> None:
    assert judged(pairs_of(rows)).line == line


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**9), size=st.integers(5, 60))
def test_counts_that_are_right_on_average_are_left_alone(seed: int, size: int) -> None:
    rng = random.Random(seed)
    rows = [(counted := rng.randint(10, 3000), max(1, round(counted * rng.gauss(1, 0.1)))) for _ in range(size)]
    pairs = pairs_of(rows)
    known = judged(pairs)
    if known.corrects:  # by chance they lie on one side; then it has to be nearer to those calls
        assert wins(pairs)
        after = sum(abs(known.apply(pair.counted)[0] - pair.reported) / pair.reported for pair in pairs)
        assert after < sum(abs(pair.counted - pair.reported) / pair.reported for pair in pairs)


@pytest.mark.parametrize(
    ("before", "after", "at"),
    [
        pytest.param(6, 5, 6, id="few calls"),
        pytest.param(6, 4, None, id="too early to say"),
        pytest.param(30, 8, 30, id="many calls"),
    ],
)
def test_a_run_beyond_the_range_on_one_side_is_a_change(before: int, after: int, at: int | None) -> None:
    rows = [(100 + 7 * n, 110 + 7 * n) for n in range(before)] + [(90 + 9 * n, 150 + 9 * n) for n in range(after)]
    assert shifted(pairs_of(rows)) == (None if at is None else START + at)


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
