"""Opens the files of an import: JSON, JSON Lines and CSV, plain or gzipped, as documents with their line.

Lines are read one after the other, so a file may be larger than memory; one JSON document is read whole. A line that
cannot be read is a problem, and the others go on.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.file_problem import FileProblem
from tokenmeter.ledger.imports.fields import StatedFloat

__all__ = ["Document", "check_readable", "documents"]

_SAMPLE: Final = 2**20
"""Bytes from which the encoding and the kind of file are told."""
_LONGEST_CELL: Final = 2**28
"""Characters: logs have whole prompts in cells that are not imported, but have to be passed over."""


class Document(NamedTuple):
    """One JSON value or one row of a CSV file, and its line; None for a document that is the whole file."""

    line: int | None
    value: Any
    place: str = ""
    """Where in the document it stands, such as `[3].`."""


def documents(path: str) -> Iterator[Document | FileProblem]:
    """The documents of a file. Raises ConfigurationError for a file that cannot be opened."""
    name = Path(path).name
    try:
        with _opened(path) as file:
            sample = file.read(_SAMPLE)
            text = io.TextIOWrapper(
                io.BufferedReader(_Again(sample, file)),
                encoding=_encoding(sample),
                errors="surrogateescape",
                newline="",
            )
            head = next((line for line in _decoded(sample).split("\n") if line.strip()), "").strip("\ufeff")
            if not head:
                yield FileProblem(name, None, None, "is empty")
            elif head.lstrip()[0] in "{[":
                yield from _json(name, text, head, sample)
            else:
                yield from _csv(name, text, head)
    except (OSError, EOFError) as error:
        raise ConfigurationError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def check_readable(path: str) -> None:
    """Raise ConfigurationError for a file that cannot be opened."""
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


class _Again(io.RawIOBase):
    """A file whose first bytes were read already."""

    def __init__(self, sample: bytes, rest: IO[bytes] | gzip.GzipFile) -> None:
        self._sample, self._rest = sample, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        taken = self._sample[: len(buffer)] or self._rest.read(len(buffer))
        self._sample = self._sample[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)


def _opened(path: str) -> IO[bytes] | gzip.GzipFile:
    file = open(path, "rb")  # noqa: SIM115 - the caller closes it
    if file.read(2) == b"\x1f\x8b":
        file.close()
        return gzip.open(path, "rb")
    file.seek(0)
    return file


def _encoding(sample: bytes) -> str:
    """UTF-8 with or without a mark, UTF-16 with one, else GB 18030, which contains GBK."""
    if sample[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            sample.decode(encoding)
        except UnicodeDecodeError as error:
            if error.start > _SAMPLE - 8:  # the sample ends inside a character
                return encoding
        else:
            return encoding
    return "utf-8-sig"


def _decoded(sample: bytes) -> str:
    return sample.decode(_encoding(sample), "replace")


def _parse(text: str) -> Any:
    return json.loads(text, parse_float=StatedFloat)


def _json(name: str, text: IO[str], head: str, sample: bytes) -> Iterator[Document | FileProblem]:
    """Lines, where the first ones are JSON by themselves; else one document."""
    lines = _decoded(sample).split("\n")
    if len(lines) == 1 or _is_json(head) or any(map(_is_json, lines[1:20])):
        for number, line in enumerate(text, 1):
            if line.strip():
                try:
                    yield from _each(number, _parse(line))
                except (ValueError, RecursionError) as error:
                    yield FileProblem(name, number, None, f"is not JSON: {_reason(error)}")
        return
    try:
        yield from _each(None, _parse(text.read()))
    except (ValueError, RecursionError) as error:
        yield FileProblem(name, getattr(error, "lineno", None), None, f"is not JSON: {_reason(error)}")


def _reason(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", str(error))


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict | list)
    except (ValueError, RecursionError):
        return False


def _each(line: int | None, value: Any) -> Iterator[Document]:
    if isinstance(value, list):
        for at, item in enumerate(value):
            yield Document(line, item, f"[{at}].")
    else:
        yield Document(line, value)


def _csv(name: str, text: IO[str], head: str) -> Iterator[Document | FileProblem]:
    before = csv.field_size_limit(min(_LONGEST_CELL, sys.maxsize))
    try:
        reader = csv.reader(chain(text), delimiter=max(",\t;", key=head.count))
        header: list[str] = []
        while True:
            try:
                cells = next(reader, None)
            except csv.Error as error:
                yield FileProblem(name, reader.line_num, None, f"is not CSV: {error}")
                continue
            if cells is None:
                return
            if not any(cell.strip() for cell in cells):
                continue
            if not header:
                header = [cell.strip().strip("\ufeff") for cell in cells]
            elif len(cells) > len(header):
                message = f"has {len(cells)} cells, the header {len(header)}"
                yield FileProblem(name, reader.line_num, None, message)
            else:
                yield Document(reader.line_num, {key: cell for key, cell in zip(header, cells, strict=False) if cell})
    finally:
        csv.field_size_limit(before)
