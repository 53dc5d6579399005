"""Picks the declared figures out of a usage object, in one pass.

`Fields` is compiled from the paths that a wire format declares; `pick` gives what it found as `Found`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from tokenmeter.usage import TOKEN_FIELDS

__all__ = ["Fields", "Found"]

_STEP: Final = r"([^.\[\]]+)(?:\[([^\]=]*)(?:=([^\]]*))?\])?"
_PLAIN: Final = frozenset((*TOKEN_FIELDS, "total"))
_UNKNOWN_MOST: Final = 50
_ELEMENTS_MOST: Final = 200  # of a list inside a usage object: modalities, iterations, models


class Found:
    """What one pass over a usage object picked up.

    `odd` holds (path, component, rank, value) of what is not a plain integer, with no component where an object was
    expected; `plain` says that all values are token counts. `unknown`, `odd` and `disagreements` are empty tuples
    until there is something to say, which for most calls there is not.
    """

    __slots__ = ("disagreements", "odd", "plain", "ranks", "unknown", "values")

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.ranks: dict[str, int] = {}
        self.unknown: tuple[str, ...] = ()
        self.odd: tuple[tuple[str, str | None, int, object], ...] = ()
        self.disagreements: tuple[str, ...] = ()
        self.plain = True

    def put(self, component: str, rank: int, value: Any, path: str) -> None:
        """Keep a value unless a better declared name gave one already."""
        held = self.values.get(component)
        if held is None:
            self.values[component] = value
            self.ranks[component] = rank
            self.plain = self.plain and component in _PLAIN
            return
        if held != value and held and value:
            self.disagreements += (f"{component}: {path} says {value}, another field {held}",)
        if rank < self.ranks.get(component, 0):
            self.values[component] = value
            self.ranks[component] = rank


class _List:
    """What is declared about the elements of one list: a table for all, and tables for those that say so."""

    __slots__ = ("chosen", "every", "key")

    def __init__(self) -> None:
        self.every: _Table | None = None
        self.key: str | None = None
        self.chosen: dict[str, _Table] = {}

    def table(self, key: str, value: str | None) -> _Table:
        if value is None:
            self.every = self.every if self.every is not None else {}
            return self.every
        self.key = key
        return self.chosen.setdefault(value, {})


# (component or None for a field that is known and not counted, its rank among the names of that component,
#  the table below it or None for a leaf)
_Step = tuple[str | None, int, "_Table | _List | None"]
# A token count with one name is put down as its component alone, and read without bookkeeping: the common case.
_Table = dict[str, _Step | str]


class Fields:
    """The declared fields of one usage object, compiled.

    `counts` maps paths to components in order of preference, `info` lists the paths that are known and not
    counted. `pick(usage)` is the pass; `open_` objects hold other things too, so their unknown fields are not said.
    """

    __slots__ = ("_open", "_root")

    def __init__(self, counts: Mapping[str, str], info: Iterable[str] = (), *, open_: bool = False) -> None:
        self._root: _Table = {}
        self._open = open_
        seen: dict[str, int] = {}
        for path, component in counts.items():
            rank = seen.get(component, 0)
            seen[component] = rank + 1
            self._declare(path, component, rank)
        for path in info:
            self._declare(path, None, 0)
        _simplify(self._root, frozenset(name for name, times in seen.items() if times == 1 and name in _PLAIN))

    def _declare(self, path: str, component: str | None, rank: int) -> None:
        table: dict[str, Any] = self._root
        *way, last = [(match[1], match[2], match[3]) for match in re.finditer(_STEP, path)]
        for name, key, value in (*way, last) if last[1] is not None else way:
            held = table.get(name, (None, 0, None))
            if key is None:
                below = held[2] if isinstance(held[2], dict) else {}
                table[name] = (held[0], held[1], below)
                table = below
            else:
                items = held[2] if isinstance(held[2], _List) else _List()
                table[name] = (None, 0, items)
                table = items.table(key, value)
        name = last[0]
        if last[1] is None and not (component is None and name in table):
            table[name] = (component, rank, table[name][2] if name in table else None)

    def pick(self, usage: dict[str, Any]) -> Found:
        """Read every declared field of a usage object."""
        found = Found()
        self._read(usage, self._root, "", found)
        return found

    def _read(self, node: dict[str, Any], table: _Table, prefix: str, found: Found) -> None:
        values = found.values
        for key, value in node.items():
            try:
                step = table[key]
            except KeyError:
                if not self._open and len(found.unknown) < _UNKNOWN_MOST:
                    found.unknown += (f"{prefix}{key}",)
                continue
            if isinstance(step, str):
                if type(value) is int:
                    values[step] = value
                elif value is not None:
                    found.odd += ((f"{prefix}{key}", step, 0, value),)
                continue
            component, rank, below = step
            if value is None:
                continue
            if type(value) is int:
                if component in values:
                    found.put(component, rank, value, f"{prefix}{key}")
                elif component is not None:
                    values[component] = value
                    if rank:
                        found.ranks[component] = rank
                    if component not in _PLAIN:
                        found.plain = False
                elif below is not None:
                    found.odd += ((f"{prefix}{key}", None, 0, value),)
            elif type(value) is dict and type(below) is dict:
                self._read(value, below, f"{prefix}{key}.", found)
            elif type(value) is list and type(below) is _List:
                self._read_list(value[:_ELEMENTS_MOST], below, f"{prefix}{key}", found)
            elif component is not None or below is not None:
                found.odd += ((f"{prefix}{key}", component, rank, value),)

    def _read_list(self, items: list[Any], below: _List, prefix: str, found: Found) -> None:
        sums: dict[str, tuple[int, int]] = {}
        for item in items:
            if type(item) is not dict:
                if item is not None:
                    found.odd += ((f"{prefix}[]", None, 0, item),)
                continue
            table = below.every
            label = "[]"
            if below.key is not None and (said := item.get(below.key)) is not None:
                label = f"[{below.key}={said}]"
                table = below.chosen.get(str(said), below.every)
            if table is None:
                found.unknown += (f"{prefix}{label}",)
                continue
            part = Found()
            self._read(item, table if below.key is None else {**table, below.key: (None, 0, None)}, "", part)
            new = (f"{prefix}[].{name}" for name in part.unknown)
            found.unknown += tuple(name for name in new if name not in found.unknown)
            found.odd += tuple((f"{prefix}[].{name}", *rest) for name, *rest in part.odd)  # type: ignore[misc]
            for component, value in part.values.items():
                total, _ = sums.get(component, (0, 0))
                sums[component] = (total + value, part.ranks.get(component, 0))
        for component, (total, rank) in sums.items():
            found.put(component, rank, total, f"{prefix}[]")


def _simplify(table: _Table, sole: frozenset[str]) -> None:
    """Put leaves of components with one name down as the component alone."""
    for name, step in list(table.items()):
        if isinstance(step, str):
            continue
        component, _, below = step
        if below is None and component in sole:
            table[name] = str(component)
        elif isinstance(below, dict):
            _simplify(below, sole)
        elif isinstance(below, _List):
            for inner in (below.every, *below.chosen.values()):
                if inner is not None:
                    _simplify(inner, sole)
