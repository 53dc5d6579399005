"""Digests of blocks: equal for equal values, different for different ones, whatever kind of mapping holds them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.tokens.requests import block_cache

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def copied(value: Any) -> Any:
    """An equal value of which no part is the same object."""
    if isinstance(value, dict):
        return {"".join(list(key)): copied(one) for key, one in value.items()}
    if isinstance(value, list):
        return [copied(one) for one in value]
    return "".join(list(value)) if isinstance(value, str) else value


@given(JSON)
def test_an_equal_block_has_the_same_digest(value: Any) -> None:
    assert block_cache.digest("rule", value) == block_cache.digest("rule", copied(value)) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"a": 1}, {"a": 2}, id="a value"),
        pytest.param({"a": 1}, {"a": "1"}, id="a type"),
        pytest.param({"a": True}, {"a": 1}, id="true is not one"),
        pytest.param({"a": 1, "b": 2}, {"b": 2, "a": 1}, id="the order, which is written out"),
        pytest.param(OrderedDict(a=1), OrderedDict(a=2), id="in a subclass of dict"),
    ],
)
def test_another_block_has_another_digest(one: Any, other: Any) -> None:
    assert block_cache.digest(one) != block_cache.digest(other)
    assert None not in (block_cache.digest(one), block_cache.digest(other))


def test_what_cannot_be_written_has_none() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert [block_cache.digest(one) for one in (object(), deep)] == [None, None]
