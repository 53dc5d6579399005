"""What only we asked for, taken out again before the caller sees it.

A provider that is asked for stream usage sends one chunk more, and some put `usage: null` into every other chunk. The
first is passed over; the second is unsaid, since an SDK's model remembers which fields were set and would write it
out again. Both happen in the SDK's own iterator: its stream object stays what it is.
"""

from __future__ import annotations

from typing import Any

__all__ = ["hide_usage"]


def hide_usage(stream: Any, *, nulls: bool) -> None:
    """Hide the usage that this SDK stream was asked for; `nulls`: also what asking put into the other chunks."""
    inner = stream._iterator
    stream._iterator = _HidingAsync(inner, nulls) if hasattr(inner, "__anext__") else _Hiding(inner, nulls)


def _only_usage(chunk: Any) -> bool:
    return getattr(chunk, "usage", None) is not None and getattr(chunk, "choices", None) == []


def _unsay(chunk: Any) -> Any:
    if getattr(chunk, "usage", None) is None:
        # pydantic 2, then 1
        fields = getattr(chunk, "__pydantic_fields_set__", None) or getattr(chunk, "__fields_set__", None)
        if isinstance(fields, set):
            fields.discard("usage")
    return chunk


class _Hiding:
    """The SDK's own iterator, without what only we asked for."""

    # No generator: it would add a finalizer, and with it another moment at which a dropped stream ends.
    __slots__ = ("_inner", "_nulls")

    def __init__(self, inner: Any, nulls: bool) -> None:
        self._inner = inner
        self._nulls = nulls

    def __iter__(self) -> _Hiding:
        return self

    def __next__(self) -> Any:
        chunk = next(self._inner)
        while _only_usage(chunk):
            chunk = next(self._inner)
        return _unsay(chunk) if self._nulls else chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _HidingAsync:
    """The same for an async stream."""

    __slots__ = ("_inner", "_nulls")

    def __init__(self, inner: Any, nulls: bool) -> None:
        self._inner = inner
        self._nulls = nulls

    def __aiter__(self) -> _HidingAsync:
        return self

    async def __anext__(self) -> Any:
        chunk = await self._inner.__anext__()
        while _only_usage(chunk):
            chunk = await self._inner.__anext__()
        return _unsay(chunk) if self._nulls else chunk

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)
