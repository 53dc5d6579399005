"""A dict that never holds more than its limit: for what a process remembers about names that others send."""

from __future__ import annotations

from typing import Final, TypeVar

__all__ = ["BoundedDict"]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class BoundedDict(dict[_Key, _Value]):
    """A dict whose `put` and `keep` respect a limit; reading it costs what reading a dict costs.

    Writing by `[key] = value` is not limited.
    """

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit: Final = limit

    def put(self, key: _Key, value: _Value) -> _Value:
        """Store a value that can be made again: a full dict is emptied first. Returns the value."""
        if len(self) >= self.limit and key not in self:
            self.clear()
        self[key] = value
        return value

    def keep(self, key: _Key, value: _Value) -> bool:
        """Store a value that must not be lost: a full dict takes no new key. Whether it is stored."""
        if len(self) >= self.limit and key not in self:
            return False
        self[key] = value
        return True

    def push(self, key: _Key, value: _Value) -> None:
        """Store a value as the newest: a full dict forgets its oldest keys."""
        self.pop(key, None)
        while len(self) >= self.limit:
            del self[next(iter(self))]
        self[key] = value
