"""`Value`: a class of named fields, written as a dataclass is, that takes no time to define.

What `@dataclass` and `NamedTuple` generate for one class is compiled when its module is loaded: 0.1 to 1.8 ms, and a
program waits for that before its first call. A `Value` has one constructor for all classes. It is for rows of tables
and entries of the catalog, which are made once; values that each call makes are tuples or have slots.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self, dataclass_transform

__all__ = ["Value"]


@dataclass_transform(frozen_default=True)
class Value:
    """Fields are the annotations of the class, in their order; what the class gives them is their default.

    Does not change. Equal where all fields are; hashable where they are.
    """

    _needed: ClassVar[frozenset[str]]

    def __init_subclass__(cls) -> None:
        cls._needed = frozenset(name for name in cls.__annotations__ if name not in vars(cls))

    def __init__(self, *fields: Any, **named: Any) -> None:
        names = self.__annotations__
        if fields:
            if len(fields) > len(names):
                raise TypeError(f"{type(self).__name__} has {len(names)} fields, not {len(fields)}")
            named |= zip(names, fields, strict=False)
        if not (self._needed <= named.keys() <= names.keys()):
            missing, unknown = sorted(self._needed - named.keys()), sorted(named.keys() - names.keys())
            raise TypeError(f"{type(self).__name__}: missing fields {missing}, unknown fields {unknown}")
        self.__dict__.update(named)

    def _replace(self, **changes: Any) -> Self:
        """The same value with other fields."""
        return type(self)(**{**self.__dict__, **changes})

    def _key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in self.__annotations__)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a {type(self).__name__} does not change: make another by _replace({name}=…)")

    def __eq__(self, other: object) -> bool:
        return self._key() == other._key() if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__dict__.items())})"
