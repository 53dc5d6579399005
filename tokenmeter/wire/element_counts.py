"""Counts what an answer shows and no usage field states: searches, tool calls, images, pages.

Vendors bill hosted tools and media by the piece, and many answers only list the pieces. A declared place says how to
count them:

    output[type=web_search_call]     each element of the list that fits is one
    web_search?                      one, if anything stands there
    duration                         the number that stands there

`of` counts one whole answer. Events of a stream repeat what earlier events listed, so `gather` keeps the distinct
elements of all events, and `gathered` counts those.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.wire.json_paths import collector, number

if TYPE_CHECKING:
    from tokenmeter.wire.formats import Api

__all__ = ["ElementCounts", "Gathered", "elements_of_model"]

Number = int | Decimal
Gathered = dict[tuple[str, str], dict[str, Number]]
"""(component, place) -> what was found there, by its JSON text."""

_Read = Callable[[Any], Sequence[Any]]
_ELEMENTS_MOST: Final = 10_000


class _Place:
    """One declared place of one component."""

    __slots__ = ("component", "once", "path", "pieces", "read")

    def __init__(self, component: str, path: str) -> None:
        self.component = component
        self.path = path
        self.once = path.endswith("?")
        plain = path.removesuffix("?")
        self.pieces = plain.endswith("]")
        self.read = collector(plain)

    def number(self, found: Sequence[Any]) -> Number:
        if self.once:
            return 1 if any(found) else 0
        return len(found) if self.pieces else sum(self.amount(value) for value in found)

    def amount(self, value: object) -> Number:
        """What one found element adds."""
        if self.pieces or self.once:
            return 1
        read = number(value)
        return read if read is not None and read > 0 else 0


class ElementCounts:
    """The declared places of one wire format, compiled: component -> places whose counts add up.

    With `first`, the places are alternatives and the first that finds something is the count.
    """

    __slots__ = ("_by_head", "_heads", "any", "first", "needles")

    def __init__(self, declared: Mapping[str, Sequence[str]], *, first: bool = False) -> None:
        self.first = first
        self._by_head: dict[str, list[_Place]] = {}
        self.needles: set[str] = set()
        for component, paths in declared.items():
            for path in paths:
                self._by_head.setdefault(_head(path), []).append(_Place(component, path))
                self.needles.add(_needle(path))
        self.any = bool(self._by_head)
        self._heads = tuple(
            (head, _kinds(head, places), _fields(head, places), places) for head, places in self._by_head.items()
        )

    def __bool__(self) -> bool:
        return bool(self._by_head)

    def of(self, root: Mapping[str, Any]) -> dict[str, Number]:
        """Component -> count over one whole answer; components of which there is nothing are left out."""
        counts: dict[str, Number] = {}
        for head, kinds, fields, places in self._heads:
            value = root.get(head)
            if not value:
                continue
            if kinds is not None and type(value) is list:  # `_may_hold`, spelled out: on the path of every answer
                for item in value:
                    if type(item) is dict and item.get("type") in kinds:
                        break
                else:
                    continue
            elif not _may_hold(value, kinds, fields):
                continue
            for place in places:
                if self.first and place.component in counts:
                    continue
                if count := place.number(place.read(root)):
                    counts[place.component] = counts.get(place.component, 0) + count
        return counts

    def gather(self, root: Mapping[str, Any], into: Gathered) -> None:
        """Add the elements of one event of a stream."""
        for head, kinds, fields, places in self._heads:
            value = root.get(head)
            if not value or not _may_hold(value, kinds, fields):
                continue
            for place in places:
                found = place.read(root)
                if not found or (place.once and not any(found)):
                    continue
                held = into.setdefault((place.component, place.path), {})
                for item in found if len(held) < _ELEMENTS_MOST else ():
                    name = "" if place.once else json.dumps(item, sort_keys=True, default=str)
                    held[name] = place.amount(item)

    @staticmethod
    def gathered(found: Gathered) -> dict[str, Number]:
        """Component -> count over all events of a stream."""
        counts: dict[str, Number] = {}
        for (component, _), held in found.items():
            if count := sum(held.values()):
                counts[component] = counts.get(component, 0) + count
        return counts


def elements_of_model(api: Api, general: ElementCounts, model: str) -> tuple[ElementCounts, dict[str, int]]:
    """What is counted in the answers of a model, and what each answer of it is one of, as its format declares."""
    elements = general
    for pattern, declared in api.elements_of.items():
        if fnmatch.fnmatchcase(model, pattern):
            elements = ElementCounts({**api.elements, **declared})
            break
    each = {
        component: 1
        for component, patterns in api.per_answer.items()
        if any(fnmatch.fnmatchcase(model, pattern) for pattern in patterns)
    }
    return elements, each


def _head(path: str) -> str:
    """The top-level name that must be there for a path to find anything."""
    return path.removesuffix("?").split(".")[0].split("[")[0]


def _needle(path: str) -> str:
    """The word that the text of an event must hold for the path to find anything: the most telling one."""
    plain = path.removesuffix("?")
    if "=" in plain:
        return plain.split("=")[1].split("&")[0].split("]")[0]
    names = plain.replace("[]", "").rstrip("]").replace("[", ".").split(".")
    return f'"{names[-1].lstrip("!")}"'


def _kinds(head: str, places: Sequence[_Place]) -> tuple[str, ...] | None:
    """The types of the list's elements that any of the places asks for; None where the type does not decide."""
    start = f"{head}[type="
    if not all(place.path.startswith(start) for place in places):
        return None
    return tuple({place.path.removeprefix(start).split("&")[0].split("]")[0] for place in places})


def _fields(head: str, places: Sequence[_Place]) -> frozenset[str] | None:
    """The fields of the list's elements that all places go through; None where there is no such list."""
    start = f"{head}[]."
    if not all(place.path.startswith(start) for place in places):
        return None
    return frozenset(place.path.removeprefix(start).split(".")[0].split("[")[0] for place in places)


def _may_hold(value: Any, kinds: tuple[str, ...] | None, fields: frozenset[str] | None) -> bool:
    """Whether what stands under a head can hold any of its places: a cheap test, as most answers hold none."""
    if kinds is None and fields is None:
        return True
    if type(value) is not list:
        return False
    for item in value:
        if type(item) is not dict:
            continue
        if kinds is not None:
            if item.get("type") in kinds:
                return True
        elif fields is not None and not fields.isdisjoint(item):
            return True
    return False
