"""Lays out text tables for a terminal, where a wide (Chinese) character takes two columns."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from tokenmeter._support.logs import printable

__all__ = ["cut", "table", "width", "wrapped"]


def width(text: str) -> int:
    """Columns the text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):  # drawn over the character before, or not drawn
        return 0
    return 1 + (unicodedata.east_asian_width(character) in "WF")


def cut(text: str, columns: int) -> str:
    """The text in at most so many columns: where it is longer, `…` stands for its middle."""
    if width(text) <= columns:
        return text
    tail = _first(text[::-1], (columns - 1) // 2)[::-1]
    return f"{_first(text, columns - 1 - width(tail))}…{tail}"


def _first(text: str, columns: int) -> str:
    taken = 0
    for number, character in enumerate(text):
        taken += _columns(character)
        if taken > columns:
            return text[:number]
    return text


def wrapped(text: str, columns: int | None, indent: str = "") -> list[str]:
    """The text in lines of at most so many columns; lines after the first begin with `indent`.

    Breaks at spaces, and inside a word that is longer than a line.
    """
    if columns is None or width(text) <= columns:
        return [text]
    lines, line = [], ""
    for word in re.findall(r" *[^ ]+", text):
        if width(line + word) > columns and line.strip():
            lines.append(line)
            line, word = "", indent + word.lstrip(" ")
        line += word
        while width(line) > columns:
            part = _first(line, columns)
            least = len(indent) + 1 if lines else 1  # characters: a line is never empty
            part = part if len(part) >= least else line[:least]
            lines.append(part)
            line = indent + line[len(part) :]
    return [*lines, line] if line.strip() else lines


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
