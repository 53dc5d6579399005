"""Values of a mapping that are made when they are asked for."""

from __future__ import annotations

import pytest

from tokenmeter._support.lazy import LazyMapping


def test_a_value_is_made_once_and_only_where_it_is_asked_for() -> None:
    made: list[str] = []
    found = LazyMapping({"b": 1, "a": 2}, lambda name: made.append(name) or object())  # type: ignore[func-returns-value]
    assert list(found) == ["b", "a"]
    assert len(found) == 2
    assert "a" in found
    assert "c" not in found
    assert made == []
    assert found["a"] is found["a"]
    assert made == ["a"]
    with pytest.raises(KeyError):
        found["c"]
    assert found.get("c") is None
    assert dict(found.items()).keys() == {"b", "a"}
    assert made == ["a", "b"]
