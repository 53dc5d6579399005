"""Lays out text tables for a terminal, where a wide (Chinese) character takes two columns."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from tokenmeter._support.logs import printable

__all__ = ["table", "width"]


def width(text: str) -> int:
    """Columns the text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def _padded(text: str, columns: int, *, right: bool) -> str:
    space = " " * (columns - width(text))
    return space + text if right else text + space


def table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), rules: Sequence[int] = ()
) -> str:
    """Lay out rows under headers; columns named in `right` are aligned right, `rules` are rows to draw a line above."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max([width(header), *(width(row[column]) for row in cells)]) for column, header in enumerate(headers)]
    to_right = [header in right for header in headers]

    def line(row: Sequence[str]) -> str:
        parts = [_padded(cell, columns, right=side) for cell, columns, side in zip(row, widths, to_right, strict=True)]
        return "  ".join(parts).rstrip()

    rule = "  ".join("─" * columns for columns in widths)
    lines = [line(headers), rule]
    for number, row in enumerate(cells):
        if number in rules:
            lines.append(rule)
        lines.append(line(row))
    return "\n".join(lines)
