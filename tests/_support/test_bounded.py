"""A bounded dict never exceeds its limit, whichever of its three ways to store is used."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tokenmeter._support.bounded import BoundedDict

_STEPS = st.lists(st.tuples(st.sampled_from(["put", "keep", "push"]), st.integers(0, 9)), max_size=60)


@given(_STEPS, st.integers(1, 5))
def test_it_never_holds_more_than_its_limit(steps: list[tuple[str, int]], limit: int) -> None:
    bounded: BoundedDict[int, int] = BoundedDict(limit)
    for step, (way, key) in enumerate(steps):
        stored = getattr(bounded, way)(key, step)
        assert len(bounded) <= limit
        assert (bounded.get(key) == step) is (stored is not False or way != "keep")


def test_what_a_full_one_does() -> None:
    put: BoundedDict[str, int] = BoundedDict(2)
    assert [put.put(key, 1) for key in "abac"] == [1, 1, 1, 1]
    assert list(put) == ["c"]
    keep: BoundedDict[str, int] = BoundedDict(2)
    assert [keep.keep(key, 1) for key in "abac"] == [True, True, True, False]
    assert list(keep) == ["a", "b"]
    push: BoundedDict[str, int] = BoundedDict(2)
    for key in "abac":
        push.push(key, 1)
    assert list(push) == ["a", "c"]
