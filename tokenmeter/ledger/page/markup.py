"""HTML elements as text: whatever is not `Markup` already is escaped, so no name out of a ledger is ever markup."""

from __future__ import annotations

import re
from html import escape
from typing import Final

from tokenmeter._support.logs import printable

__all__ = ["Markup", "element", "joined"]

_VOID: Final = frozenset({"meta"})
_END_LEFT_OUT: Final = frozenset({"td", "th", "tr", "li"})
"""Elements that HTML lets end without a tag: a page has thousands of them."""
_EMPTY: Final = frozenset({"path", "rect"})
"""Shapes, which end at once where nothing is in them."""
_WORD: Final = re.compile(r"[A-Za-z0-9.:%-]+")
_LONGEST: Final = 300
"""Characters that a name keeps: a tag may hold a megabyte."""


class Markup(str):
    """Text that is HTML, made by `element`."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: str | int | bool | None) -> Markup:
    """An element with its children in order; `class_` is `class`, `aria_label` is `aria-label`.

    Control, format and half characters are written as escapes, as on a terminal. None is left out.
    """
    parts = [f"<{name}"]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        attribute = key.rstrip("_").replace("_", "-")
        parts.append(f" {attribute}" if value is True else f" {attribute}={_attribute(value)}")
    if name in _EMPTY and not children:
        return Markup("".join([*parts, "/>" if parts[-1].endswith('"') else " />"]))
    parts.append(">")
    if name in _VOID:
        return Markup("".join(parts))
    parts += [_escaped(child) for child in children if child is not None]
    if name not in _END_LEFT_OUT:
        parts.append(f"</{name}>")
    return Markup("".join(parts))


def _attribute(value: str | int) -> str:
    """A value in quotes, or bare where it is one word, which HTML allows: a page has thousands of them."""
    text = value if isinstance(value, str) else str(value)
    return text if _WORD.fullmatch(text) else f'"{_escaped(text)}"'


def joined(*parts: str | None) -> Markup:
    """Parts one after another."""
    return Markup("".join(_escaped(part) for part in parts if part is not None))


def _escaped(text: str) -> str:
    if isinstance(text, Markup):
        return text
    lines = (printable(line, _LONGEST) for line in text.split("\n"))
    return escape("\n".join(lines))
