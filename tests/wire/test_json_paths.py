"""Paths into JSON: what stands at a place, everything in a list, and which writings are numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.rigs.vendorish import VENDORISH
from tokenmeter.wire.json_paths import collector, getter, number


@given(
    st.integers(-(10**9), 10**9), st.sampled_from([int, float, str, Decimal, lambda n: f" {n} ", lambda n: f"{n}.0"])
)
def test_a_whole_number_is_read_from_any_writing(value: int, write: Any) -> None:
    assert number(write(value)) == value
    assert type(number(write(value))) is int


@pytest.mark.parametrize(
    "value", [True, None, "", "x", "1e400", float("nan"), float("inf"), Decimal("NaN"), [], "１２x"]
)
def test_what_is_no_number_is_not_read_as_one(value: object) -> None:
    assert number(value) is None


@given(VENDORISH, st.sampled_from(["usage", "usage.a", "choices.0.usage", "a.b.c", "choices.9"]))
def test_getters_give_what_stands_there_or_none(value: object, path: str) -> None:
    expected: Any = value
    for step in path.split("."):
        if isinstance(expected, dict):
            expected = expected.get(step)
        elif isinstance(expected, list) and step.isdigit() and int(step) < len(expected):
            expected = expected[int(step)]
        else:
            expected = None
    assert getter(path)(value) is expected


def test_a_collector_gives_everything_in_a_list() -> None:
    body = {"choices": [{"delta": {"content": "a"}}, None, {"delta": {}}, {"delta": {"content": "b"}}]}
    assert list(collector("choices[].delta.content")(body)) == ["a", "b"]
    assert list(collector("choices[].finish")(body)) == []
