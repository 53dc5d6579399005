"""Values are as dataclasses are: fields in their order, defaults, equality, and no change."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from tokenmeter._support.value import Value


class Row(Value):
    name: str
    majors: tuple[int, ...] = ()
    extra: str | None = None

    @property
    def label(self) -> str:
        return self.extra or self.name


def test_fields_are_given_by_place_or_name_and_else_have_their_default() -> None:
    row = Row("openai", (1, 2))
    assert (row.name, row.majors, row.extra, row.label) == ("openai", (1, 2), None, "openai")
    assert row == Row(name="openai", majors=(1, 2), extra=None)
    assert hash(row) == hash(Row("openai", majors=(1, 2)))
    assert row != Row("openai")
    assert row != "openai"
    assert repr(row) == "Row(name='openai', majors=(1, 2))"
    assert pickle.loads(pickle.dumps(row)) == row


def test_another_value_is_made_of_it() -> None:
    row = Row("openai")
    assert row._replace(extra="x") == Row("openai", extra="x")
    assert row.extra is None
    with pytest.raises(AttributeError, match="does not change"):
        row.extra = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("fields", "named", "said"),
    [
        pytest.param((), {}, r"missing fields \['name'\]", id="too few"),
        pytest.param(("a", (), "b", "c"), {}, "has 3 fields, not 4", id="too many"),
        pytest.param(("a",), {"nmae": 1}, r"unknown fields \['nmae'\]", id="unknown"),
    ],
)
def test_a_value_of_other_fields_is_an_error(fields: tuple[Any, ...], named: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        Row(*fields, **named)
