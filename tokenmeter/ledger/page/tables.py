"""Tables of the page: captions, scopes, figures with their exact values; folded under a chart or standing alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokenmeter.ledger.page.markup import Markup, element

__all__ = ["folded", "head", "standing"]

_NARROW: Final = frozenset({"ranked", "calls"})
"""Kinds of table that fit every window, so that the keyboard need not scroll them."""


def head(*names: tuple[str, str] | str) -> Markup:
    """A head row: names, or names with a class."""
    cells = [(name, None) if isinstance(name, str) else name for name in names]
    return element("thead", element("tr", *(element("th", name, scope="col", class_=kind) for name, kind in cells)))


def standing(
    caption: str, heads: Markup, rows: Sequence[Markup], foot: Sequence[Markup] = (), *, kind: str | None = None,
    shown: str | None = None,
) -> Markup:  # fmt: skip
    """A table; a narrow window scrolls it.

    Where `shown` is given it is seen in place of the caption, which is then for screen readers alone.
    """
    feet = element("tfoot", *foot) if foot else None
    said = caption if shown is None else element("span", f"{caption} ", class_="sr")
    table = element("table", element("caption", said, shown), heads, element("tbody", *rows), feet, class_=kind)
    if kind in _NARROW:
        return element("div", table, class_="scroll")
    label = f"{caption} · {shown}" if shown else caption
    return element("div", table, class_="scroll", role="region", aria_label=label, tabindex="0")


def folded(summary: str, table: Markup) -> Markup:
    """A table that opens by mouse or keyboard; print shows it."""
    return element("details", element("summary", summary), table)
