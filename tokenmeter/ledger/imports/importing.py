"""`import_files`: puts the calls of files into a ledger, each once however often it is imported."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final, NamedTuple

from tokenmeter.ledger.file_problem import FileProblem
from tokenmeter.ledger.imports.call_rows import CallRows
from tokenmeter.ledger.imports.fields import BadField
from tokenmeter.ledger.imports.import_format import ImportFormat, format_names, load_format, recognized
from tokenmeter.ledger.imports.own_rows import own_row
from tokenmeter.ledger.imports.pricing import Pricing
from tokenmeter.ledger.imports.source_files import Document, check_readable, documents
from tokenmeter.ledger.imports.span_rows import SpanRows
from tokenmeter.ledger.row_writer import RowWriter
from tokenmeter.ledger.rows import StoredRow, row
from tokenmeter.ledger.schema import LedgerError, open_for_writing, remedy

__all__ = ["ImportedFile", "import_files"]

_PAGE: Final = 500
_LOOK_AT: Final = 20
_PROBLEMS_MOST: Final = 1000
_UNKNOWN: Final = "no format has the fields of this file: name one of {} by --format, or describe it by --map"


@dataclass
class ImportedFile:
    """What came of one file. `known` are calls that the ledger had already, `delegated` new ones whose response it had.

    `left_out` are rows that are no calls, `metered` spans of calls that tokenmeter metered, `refused` calls that could
    not be stored. `problems` are the first thousand of `failures`.
    """

    path: str
    format: str | None = None
    calls: int = 0
    new: int = 0
    delegated: int = 0
    left_out: int = 0
    metered: int = 0
    refused: int = 0
    failures: int = 0
    problems: list[FileProblem] = field(default_factory=list)

    @property
    def known(self) -> int:
        return self.calls - self.new - self.refused

    def add(self, problem: FileProblem) -> None:
        self.failures += 1
        if len(self.problems) < _PROBLEMS_MOST:
            self.problems.append(problem)

    def to_dict(self) -> dict[str, Any]:
        """The answer in JSON."""
        return {
            "file": self.path, "format": self.format, "calls": self.calls, "new": self.new, "known": self.known,
            "delegated": self.delegated, "left_out": self.left_out, "metered": self.metered, "refused": self.refused,
            "failures": self.failures, "problems": [one.to_dict() for one in self.problems],
        }  # fmt: skip


class _Asked(NamedTuple):
    """What the user asked for."""

    pricing: Pricing
    form: ImportFormat | None
    provider: str | None
    at_ns: int | None


def import_files(
    paths: Sequence[str],
    target: str,
    pricing: Pricing,
    *,
    form: ImportFormat | None = None,
    provider: str | None = None,
    at_ns: int | None = None,
) -> list[ImportedFile]:
    """Import files into a ledger, which is made if it is not there; what came of each.

    Without a `form` each file's is recognized. `provider` bills the calls of rows that name none, `at_ns` is when calls
    were made of which a row does not say it. What cannot be read is a problem of its file, and the rest goes on. Raises
    ConfigurationError for a file that cannot be opened, LedgerError for a ledger that cannot be used.
    """
    asked = _Asked(pricing, form, provider, at_ns)
    for path in paths:  # before anything is written
        check_readable(path)
    try:
        with closing(open_for_writing(target)) as connection:
            connection.execute("PRAGMA busy_timeout = 10000")
            return [_import(connection, path, asked) for path in paths]
    except sqlite3.Error as error:
        raise LedgerError(remedy(target, error)) from error


def _import(connection: sqlite3.Connection, path: str, asked: _Asked) -> ImportedFile:
    done = ImportedFile(path)
    writer, before = RowWriter(connection), _counts(connection)
    found = documents(path)
    first = list(islice(found, _LOOK_AT))
    form = asked.form or _recognized(first)
    if form is None:
        for one in first:
            if isinstance(one, FileProblem):
                done.add(one)
        done.add(FileProblem(Path(path).name, None, None, _UNKNOWN.format(", ".join(format_names()))))
        return done
    done.format = form.name
    calls = _calls(chain(first, found), form, asked, done)
    if form.once:
        calls = _recorded_once(connection, calls)
    while page := list(islice(calls, _PAGE)):
        connection.execute("BEGIN IMMEDIATE")
        done.refused += writer.insert(page)
        connection.execute("COMMIT")
        done.calls += len(page)
    after = _counts(connection)
    done.new, done.delegated = after[0] - before[0], after[1] - before[1]
    return done


def _recognized(first: Iterable[Document | FileProblem]) -> ImportFormat | None:
    forms = [load_format(name) for name in format_names()]
    values = (one.value for one in first if isinstance(one, Document))
    return next((form for value in values if (form := recognized(value, forms)) is not None), None)


def _counts(connection: sqlite3.Connection) -> tuple[int, int]:
    """Calls, and those of them whose response another recorded."""
    counts: tuple[int, int] = connection.execute("SELECT count(*), count(duplicate_of) FROM call_rows").fetchone()
    return counts


def _calls(
    found: Iterable[Document | FileProblem], form: ImportFormat, asked: _Asked, done: ImportedFile
) -> Iterator[StoredRow]:
    """The calls of a file as they are stored; what cannot be read is noted in `done`."""
    name = Path(done.path).name
    if form.kind == "own":
        for one in found:
            if isinstance(one, FileProblem):
                done.add(one)
                continue
            try:
                yield own_row(one.value)
            except BadField as problem:
                done.add(_problem(name, one, problem))
        return
    reader: CallRows | SpanRows
    if form.kind == "spans":
        reader = SpanRows(form, asked.pricing, provider=asked.provider)
    else:
        reader = CallRows(form, asked.pricing, provider=asked.provider, at_ns=asked.at_ns)
    for one in found:
        if isinstance(one, FileProblem):
            done.add(one)
            continue
        for place, values, around in form.items(one.value):
            try:
                done.left_out += not reader.add(values, around, f"{one.place}{place}")
            except BadField as problem:
                done.add(_problem(name, one, problem))
        yield from map(row, reader.take())
    yield from map(row, reader.finish())
    done.metered = reader.metered


def _problem(name: str, document: Document, problem: BadField) -> FileProblem:
    return FileProblem(name, document.line, problem.field or None, str(problem))


def _recorded_once(connection: sqlite3.Connection, calls: Iterable[StoredRow]) -> Iterator[StoredRow]:
    """Calls, with the call that has recorded their response already, at whatever time."""
    recorded = partial(
        connection.execute,
        "SELECT id FROM call_rows WHERE response_key = ? AND id IS NOT ? AND duplicate_of IS NULL ORDER BY seq LIMIT 1",
    )
    for call in calls:
        if call.response_key is not None and (one := recorded((call.response_key, call.id)).fetchone()) is not None:
            yield call._replace(duplicate_of=one[0])
        else:
            yield call
