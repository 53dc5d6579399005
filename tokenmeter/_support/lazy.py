"""A mapping whose values are made when they are first asked for: a catalog has many entries and a process needs few."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

__all__ = ["LazyMapping"]

_Value = TypeVar("_Value")


class LazyMapping(Mapping[str, _Value]):
    """Values by name, each made by `make(name)` once; `names` are all there are, in their order."""

    def __init__(self, names: Mapping[str, Any], make: Callable[[str], _Value]) -> None:
        self._names = names
        self._make = make
        self._made: dict[str, _Value] = {}

    def __getitem__(self, name: str) -> _Value:
        try:
            return self._made[name]
        except KeyError:
            if name not in self._names:
                raise
        return self._made.setdefault(name, self._make(name))  # of two threads, both get the first one's

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._names
