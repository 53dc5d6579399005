"""Remembers what the last events of streams look like, so that one which differs in its id and numbers is not parsed.

The last events of two streams of one model hold the same names and words; the answer's id, the time and the token
counts are all that differs. An event is split at these. If the rest is known, its facts are known, and the usage
object is made anew from the numbers.

What is remembered was read from the same text with marks in place of the id and the numbers, and every mark was found
again. So an event with a number inside a text, a fraction, or the id of something else is never remembered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter.wire.usage_reader import Facts

__all__ = ["EventShapes", "Said"]

Said = tuple[Facts, dict[str, Any] | None]
"""What an event says: its facts, and its usage object if it has one."""
_Rest = tuple[bytes, ...]
_NUMBER: Final = re.compile(rb":( ?(?:[1-9][0-9]{0,17}|0))")
_ID: Final = re.compile(rb'"id": ?"([^"\\]*)"')
_MARKED_ID: Final = "marked"
_FIRST_MARK: Final = 7_000_000_000_000_000
_SHAPES_MOST: Final = 64
_LENGTH_MOST: Final = 2048


class EventShapes:
    """The shapes of events of one dialect of a wire format. An event is the text of a JSON object.

    `read` says what an event's object says; None where that cannot be known by its shape.
    """

    __slots__ = ("_known", "_read")

    def __init__(self, read: Callable[[dict[str, Any]], Said | None]) -> None:
        self._read = read
        self._known: BoundedDict[_Rest, Said] = BoundedDict(_SHAPES_MOST)

    def find(self, event: bytes) -> Said | None:
        """What an event says; None where its shape is not known."""
        found = _ID.search(event)
        if found is None:
            return None
        start, stop = found.span(1)
        parts = _NUMBER.split(event[:start] + event[stop:])
        known = self._known.get(tuple(parts[::2]))
        if known is None:
            return None
        (model, _, tier, finish, error), usage = known
        facts = Facts(model, event[start:stop].decode("utf-8", "replace"), tier, finish, error)
        return facts, None if usage is None else _filled(usage, parts[1::2])

    def learn(self, event: bytes) -> None:
        """Remember the shape of an event, if what it says can be made from its shape, its id and its numbers."""
        found = _ID.search(event) if len(event) <= _LENGTH_MOST else None
        if found is None:
            return
        start, stop = found.span(1)
        marks = count(_FIRST_MARK)
        marked = _NUMBER.sub(lambda _: b":%d" % next(marks), event[:start] + _MARKED_ID.encode() + event[stop:])
        body = json.loads(marked)
        said = self._read(body)
        if said is None or said[0].id != _MARKED_ID or sorted(_integers(body)) != list(range(_FIRST_MARK, next(marks))):
            return
        self._known.put(tuple(_NUMBER.split(event[:start] + event[stop:])[::2]), said)


def _filled(marked: Mapping[str, Any], numbers: list[bytes]) -> dict[str, Any]:
    """A usage object with its numbers in place of their marks."""
    filled: dict[str, Any] = {}
    for name, value in marked.items():
        if type(value) is int:
            filled[name] = int(numbers[value - _FIRST_MARK])
        else:
            filled[name] = _filled(value, numbers) if type(value) is dict else value
    return filled


def _integers(value: object) -> Iterator[int]:
    """The integers in a JSON value."""
    if type(value) is int:
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _integers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _integers(inner)
