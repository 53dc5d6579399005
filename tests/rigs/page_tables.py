"""A page as its reader gets it: tables with their captions and exact values, and every element with its attributes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Cell:
    """The text of a cell, and the exact value that it shows when pointed at."""

    head: bool
    scope: str | None
    title: str | None
    text: str = ""

    @property
    def exact(self) -> str | None:
        """What its title says, or its text where that is the number already."""
        number = self.text.replace(",", "").removeprefix("+")
        return self.title or (number if re.fullmatch(r"-?\d+\.\d+", number) else None)


@dataclass
class Table:
    """One table; `rows` has the head and the foot too."""

    caption: str = ""
    rows: list[list[Cell]] = field(default_factory=list)

    @property
    def heads(self) -> list[str]:
        return [cell.text for cell in self.rows[0]]

    def column(self, number: int) -> dict[str, str | None]:
        """The exact values of a column, by the row's first cell."""
        return {row[0].text: row[number].exact for row in self.rows[1:] if len(row) > number}


class Page(HTMLParser):
    """Reads a whole page; `elements` are its tags and attributes in order, `texts` what stands between them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.tables: list[Table] = []
        self._where = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag == "table":
            self.tables.append(Table())
        elif tag == "caption":
            self._where = "caption"
        elif tag == "tr":
            self.tables[-1].rows.append([])
            self._where = ""
        elif tag in ("td", "th"):
            cell = Cell(tag == "th", found.get("scope"), found.get("title"))
            self.tables[-1].rows[-1].append(cell)
            self._where = "cell"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("caption", "table", "thead", "tbody"):
            self._where = ""

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._where == "caption":
            self.tables[-1].caption += data
        elif self._where == "cell":
            self.tables[-1].rows[-1][-1].text += data

    def table(self, *words: str) -> Table:
        """The only table whose caption has all these words."""
        (found,) = [table for table in self.tables if all(word in table.caption for word in words)]
        return found
