"""Calibration counts the first calls of a model, then one in fifty, and never more than one a second."""

from __future__ import annotations

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter.calls.sampler import CALLS, FIRST, PAUSE, SPREAD, Sampler


def known(provider: str, model: str) -> bool:
    return model == "known"


@settings(max_examples=40, deadline=None)
@given(
    steps=st.lists(st.integers(0, 2 * PAUSE), min_size=1, max_size=600),
    seed=st.integers(0, 99),
    model=st.sampled_from(("new", "known")),
)
def test_the_first_calls_then_at_most_one_in_fifty_and_one_a_second(steps: list[int], seed: int, model: str) -> None:
    now = [0]
    sampler = Sampler(known, monotonic=lambda: now[0], chance=random.Random(seed))
    taken: list[tuple[int, int]] = []
    for number, step in enumerate(steps, 1):
        now[0] += step
        if sampler.due("volcengine", model):
            taken.append((number, now[0]))
    first = FIRST if model == "new" else 0
    assert len(taken) <= first + len(steps) / CALLS
    for (_, at), (_, later) in itertools.pairwise(taken):
        assert later - at >= PAUSE
    for (one, _), (other, _) in itertools.pairwise(taken[max(0, first - 1) :]):
        assert other - one >= CALLS
    if model == "new":
        assert taken[0][0] == 1


def test_models_are_counted_apart() -> None:
    ticks = itertools.count(step=PAUSE)
    sampler = Sampler(known, monotonic=lambda: next(ticks))
    due = [sampler.due("volcengine", model) for _ in range(CALLS + SPREAD) for model in ("known", "new")]
    assert sum(due[::2]) == 1
    assert sum(due[1::2]) == FIRST
