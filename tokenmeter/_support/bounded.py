"""A dict that never holds more than its limit, and names cut to a length: bounds of what a process remembers."""

from __future__ import annotations

from typing import Final, TypeVar

__all__ = ["NAME_MOST", "BoundedDict", "short_name"]

NAME_MOST: Final = 256
"""Characters of a model's name, a tag or a host that are kept: they are keys of caches, and others choose them."""

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


def short_name(name: str) -> str:
    """A name as it is kept: a longer one is cut and ends in an ellipsis."""
    return name if len(name) <= NAME_MOST else name[: NAME_MOST - 1] + "…"
