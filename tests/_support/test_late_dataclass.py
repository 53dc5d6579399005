"""A late dataclass is as the dataclass that the standard library makes of the same class."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
from dataclasses import FrozenInstanceError, dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from tokenmeter._support.late_dataclass import late_dataclass

if TYPE_CHECKING:
    from collections.abc import Callable


def define(decorator: Callable[..., Any], **options: bool) -> Any:
    @decorator(frozen=True, **options)
    class Amount:
        """An amount."""

        value: int
        currency: str = "CNY"
        notes: list[str] = field(default_factory=list, repr=False)

        def __post_init__(self) -> None:
            if self.value < 0:
                raise ValueError("below zero")

        @property
        def shown(self) -> str:
            return f"{self.value} {self.currency}"

    return Amount


@late_dataclass(frozen=True, slots=True)
class Pickled:
    value: int


@late_dataclass(frozen=True, kw_only=True, eq=False)
class PickledByName:
    value: int


OPTIONS = [{}, {"slots": True}, {"kw_only": True}, {"eq": False}, {"slots": True, "kw_only": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_it_does_what_a_dataclass_does(options: dict[str, bool]) -> None:
    late, early = define(late_dataclass, **options), define(dataclass, **options)
    assert str(inspect.signature(late)) == str(inspect.signature(early))
    assert [(one.name, one.type) for one in dataclasses.fields(late)] == [
        (one.name, one.type) for one in dataclasses.fields(early)
    ]
    assert hasattr(late(value=1), "__dict__") is hasattr(early(value=1), "__dict__")
    for made, same, other in ((cls(value=1), cls(value=1), cls(value=2)) for cls in (late, early)):
        assert (made.shown, made.notes, repr(made).rpartition(".")[2]) == (
            "1 CNY",
            [],
            "Amount(value=1, currency='CNY')",
        )
        assert (made == same, made == other, made == 1) == (options.get("eq", True), False, False)
        assert dataclasses.replace(made, value=2).shown == other.shown
        assert dataclasses.asdict(made) == {"value": 1, "currency": "CNY", "notes": []}
        assert copy.copy(made).shown == copy.deepcopy(made).shown == "1 CNY"
        for change in (lambda one: setattr(one, "value", 2), lambda one: delattr(one, "value")):
            with pytest.raises(FrozenInstanceError):
                change(made)
        with pytest.raises(ValueError, match="below zero"):
            type(made)(value=-1)
        with pytest.raises(TypeError, match="unexpected keyword argument 'x'"):
            type(made)(value=1, x=1)
        if options.get("eq", True):
            with pytest.raises(TypeError, match="unhashable"):  # it holds a list
                hash(made)
    if options.get("kw_only"):
        with pytest.raises(TypeError, match="positional"):
            late(1)
    else:
        assert late(1, "USD").shown == "1 USD"


def test_equal_values_have_one_hash() -> None:
    assert hash(Pickled(1)) == hash(Pickled(1))
    assert {Pickled(1), Pickled(1), Pickled(2)} == {Pickled(1), Pickled(2)}


def test_it_can_be_pickled() -> None:
    assert pickle.loads(pickle.dumps(Pickled(1))) == Pickled(1)
    assert pickle.loads(pickle.dumps(PickledByName(value=1))).value == 1


def test_a_method_is_generated_when_it_is_called_first() -> None:
    late = define(late_dataclass)
    before = vars(late)["__init__"]
    late(1)
    assert vars(late)["__init__"] is not before
    assert vars(late)["__init__"].__defaults__ == define(dataclass).__init__.__defaults__
