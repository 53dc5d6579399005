"""Opens the files of a bill: CSV, JSON, JSON Lines, zip archives and folders of them, in the encodings that occur.

Rows come out as text by column name, with their line. A file that is there twice is read once.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.bills.bill_format import NO_LISTS, BillLists
from tokenmeter.ledger.bills.values import read_number
from tokenmeter.ledger.file_problem import FileProblem
from tokenmeter.money import EXACT

__all__ = ["BillTable", "open_bill"]

_ENDINGS: Final = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")
_MOST_BYTES: Final = 2**30
"""Of one file inside an archive: beyond it the archive is refused."""
_HEAD_WITHIN: Final = 20
"""Lines in which the header is looked for: consoles print a title above it."""

Row = tuple[int, Mapping[str, str]]


@dataclass
class BillTable:
    """One file's rows. `lines` are cells of a CSV file by line, `documents` those of JSON; one of them is set.

    `lists` says which lists inside the documents are rows.
    """

    name: str
    lines: list[tuple[int, list[str]]] | None = None
    documents: Sequence[Any] = ()
    lists: BillLists = NO_LISTS

    @cached_property
    def rows(self) -> list[Row]:
        """The rows of JSON."""
        found = (row for document in self.documents for row in _flat(document, {}, self.lists))
        return list(enumerate(found, 1))

    def shaped(self, lists: BillLists) -> BillTable:
        """The table with the lists of a format."""
        return self if self.lines is not None or lists == self.lists else replace(self, lists=lists)

    def headers(self) -> Iterator[frozenset[str]]:
        """The sets of column names to recognize the file by: candidates for the header, or the keys of all rows."""
        if self.lines is not None:
            for _, cells in self.lines[:_HEAD_WITHIN]:
                yield frozenset(map(_clean, cells))
        else:
            yield frozenset(key for _, row in self.rows for key in row)

    def under(self, header: frozenset[str]) -> Iterator[Row]:
        """The rows below a header, by column name."""
        if self.lines is None:
            yield from self.rows
            return
        lines = iter(self.lines)
        names: list[str] = next(
            (list(map(_clean, cells)) for _, cells in lines if frozenset(map(_clean, cells)) == header), []
        )
        for number, cells in lines:
            if any(cell.strip() for cell in cells):
                yield number, dict(zip(names, cells, strict=False))


def _clean(cell: str) -> str:
    return cell.strip().strip("\ufeff").strip('"').strip()


def open_bill(paths: Sequence[str]) -> tuple[list[BillTable], list[FileProblem], list[str]]:
    """The tables of a bill, what could not be read, and notes. Raises ConfigurationError for a path that is not there.

    A folder stands for the files in it, an archive for the files inside.
    """
    tables: list[BillTable] = []
    problems: list[FileProblem] = []
    notes: list[str] = []
    seen: dict[str, str] = {}
    for name, content in _contents(paths, problems):
        digest = hashlib.sha256(content).hexdigest()
        if digest in seen:
            notes.append(f"{name} repeats {seen[digest]}: read once")
            continue
        seen[digest] = name
        try:
            tables.append(_table(name, content))
            if any(isinstance(one, dict) and one.get("has_more") is True for one in tables[-1].documents):
                notes.append(f"{name} is not the last page (has_more): days may be missing")
        except ValueError as error:
            problems.append(FileProblem(name, None, None, str(error)))
    return tables, problems, notes


def _contents(paths: Sequence[str], problems: list[FileProblem]) -> Iterator[tuple[str, bytes]]:
    for given in paths:
        path = Path(given)
        if not path.exists():
            raise ConfigurationError(f"there is no bill at {given}")
        inside = path.iterdir() if path.is_dir() else [path]
        for file in sorted(one for one in inside if one.is_file()):
            try:
                if zipfile.is_zipfile(file):
                    yield from _archived(file, problems)
                elif file == path or file.suffix.lower() in _ENDINGS:
                    yield file.name, file.read_bytes()
            except (OSError, zipfile.BadZipFile, RuntimeError) as error:  # RuntimeError: a password is needed
                problems.append(FileProblem(file.name, None, None, f"cannot be read: {error}"))


def _archived(file: Path, problems: list[FileProblem]) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        for member in sorted(archive.infolist(), key=lambda one: one.filename):
            if member.is_dir() or not member.filename.lower().endswith(_ENDINGS):
                continue
            if member.file_size > _MOST_BYTES:
                problems.append(FileProblem(f"{file.name}/{member.filename}", None, None, "is larger than 1 GiB"))
                continue
            yield f"{file.name}/{member.filename}", archive.read(member)


def _decoded(content: bytes) -> str:
    """UTF-8 with or without a mark, UTF-16 with one, else GB 18030, which contains GBK."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("gb18030")
    except UnicodeDecodeError:
        raise ValueError("is neither UTF-8 nor GBK text") from None


def _table(name: str, content: bytes) -> BillTable:
    text = _decoded(content)
    if text.lstrip()[:1] in ("{", "["):
        return BillTable(name, documents=list(_documents(text)))
    if not text.strip():
        raise ValueError("is empty")
    head = next(line for line in text.splitlines() if line.strip())
    delimiter = max(",\t;", key=head.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    lines: list[tuple[int, list[str]]] = []
    try:
        lines.extend((reader.line_num, cells) for cells in reader)
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num} is not CSV: {error}") from None
    return BillTable(name, lines=lines)


def _documents(text: str) -> Iterator[Any]:
    """The JSON documents of a file: one, or one on each line."""
    try:
        yield json.loads(text, parse_float=Decimal)
        return
    except (ValueError, RecursionError) as error:
        whole = error
    try:
        documents = [json.loads(line, parse_float=Decimal) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        raise ValueError(f"is not JSON: {whole}") from None
    yield from documents


def _flat(value: Any, above: Mapping[str, str], lists: BillLists) -> Iterator[dict[str, str]]:
    """The rows of a document: the innermost objects of its lists, with the plain fields of those around them.

    The key of a nested object's field is written with a point: `amount.value`.
    """
    if isinstance(value, list):
        for item in value:
            yield from _flat(item, above, lists)
        return
    if not isinstance(value, dict):
        return
    row, inside = dict(above), []
    for key, item in _fields(value, ""):
        name = key.rpartition(".")[2]
        if not isinstance(item, list):
            if item is not None:
                row[key] = item if isinstance(item, str) else str(item)
        elif name in lists.fold:
            row.update(_folded(name, item, *lists.fold[name]))
        elif lists.rows is None or name in lists.rows:
            inside.append(item)
    nested = [one for one in inside if any(isinstance(item, dict) for item in one)]
    if nested or ("results" in value or "data" in value):
        for one in nested:
            yield from _flat(one, row, lists)
    else:
        yield row


def _folded(name: str, items: list[Any], key: str, value: str) -> dict[str, str]:
    """Columns of a list that says something of its row. What is no number stays as it is."""
    columns: dict[str, str] = {}
    for item in items:
        if isinstance(item, dict) and item.get(key) is not None and item.get(value) is not None:
            column, text = f"{name}.{item[key]}", str(item[value])
            try:
                before = read_number(columns[column]) if column in columns else None
                columns[column] = text if before is None else str(EXACT.add(before, read_number(text) or Decimal(0)))
            except ValueError:
                columns[column] = text
    return columns


def _fields(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, item in value.items():
        if isinstance(item, dict):
            yield from _fields(item, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", item
