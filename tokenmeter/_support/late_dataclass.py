"""A frozen dataclass whose methods are generated when the first of them is called, not when the class is defined.

`@dataclass` compiles `__init__`, `__repr__`, `__eq__` and `__hash__` from text: 0.4 to 2 ms for each of the public
values, which a program waits for before its first call, though that call makes them by other ways. A type checker
sees `dataclasses.dataclass`; at run time fields, `replace`, equality, pickles and signatures are the same.
"""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, fields
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass as late_dataclass

__all__ = ["late_dataclass"]


def _late_dataclass(*, frozen: bool, slots: bool = False, kw_only: bool = False, eq: bool = True) -> Any:
    """As `dataclass`; only frozen ones are made."""

    def define(cls: type) -> Any:
        made: Any = dataclass(init=False, repr=False, eq=False, slots=slots, kw_only=kw_only)(cls)
        made.__dataclass_params__.frozen = frozen
        methods = _Methods(made, kw_only=kw_only, eq=eq)
        for name in ("__init__", "__repr__", *(("__eq__", "__hash__") if eq else ())):
            if name not in vars(cls) or vars(cls)[name] is None:  # the hash of a class that has `__eq__`
                setattr(made, name, methods.later(name))
        made.__signature__ = methods
        made.__setattr__, made.__delattr__ = _no_assignment, _no_deletion
        if slots:
            made.__getstate__, made.__setstate__ = _state, _set_state
        return made

    return define


if not TYPE_CHECKING:
    late_dataclass = _late_dataclass


class _Methods:
    """The methods of one class, generated together. Stands in it for its signature."""

    def __init__(self, owner: type, **options: bool) -> None:
        self._owner = owner
        self._options = options
        self._twin: Any = None

    def later(self, name: str) -> Any:
        """What stands for a method until it is called: then the method takes its place in the class."""

        made: Any = None

        def method(*args: Any, **named: Any) -> Any:
            nonlocal made
            if made is None:
                made = vars(self.twin())[name]
                if vars(self._owner)[name] is method:  # and not a wrapper around it
                    setattr(self._owner, name, made)
            return made(*args, **named)

        method.__name__, method.__qualname__ = name, f"{self._owner.__qualname__}.{name}"
        return method

    def twin(self) -> Any:
        """A dataclass of the same fields, whose methods are those of the class."""
        if self._twin is None:
            kept = {field.name: field for field in fields(self._owner)}
            body: dict[str, Any] = {**kept, "__annotations__": {name: field.type for name, field in kept.items()}}
            if hasattr(self._owner, "__post_init__"):
                body["__post_init__"] = self._owner.__post_init__
            body |= {"__module__": self._owner.__module__, "__qualname__": self._owner.__qualname__}
            self._twin = dataclass(frozen=True, **self._options)(type(self._owner.__name__, (), body))
        return self._twin

    def __get__(self, instance: object, owner: type) -> Any:
        import inspect

        return inspect.signature(self.twin())


def _no_assignment(self: object, name: str, value: object) -> NoReturn:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _no_deletion(self: object, name: str) -> NoReturn:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _state(self: Any) -> list[Any]:
    return [getattr(self, field.name) for field in fields(self)]


def _set_state(self: Any, state: list[Any]) -> None:
    for field, value in zip(fields(self), state, strict=True):
        object.__setattr__(self, field.name, value)
