"""FOCUS files: CSV for every tool, Parquet with exact decimals."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import IO, Final

from tokenmeter.ledger.focus.charges import FocusExport
from tokenmeter.ledger.focus.columns import columns
from tokenmeter.ledger.report.parquet import write_parquet_pages
from tokenmeter.ledger.report.render import csv_text
from tokenmeter.money import plain

__all__ = ["lines", "to_parquet"]

_PAGE: Final = 10_000


class _Line:
    """Takes one line from the csv module."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> None:
        self.text = text


def lines(export: FocusExport, version: str) -> Iterator[str]:
    """The lines of a CSV file: the header, then a row each. Null is an empty field, instants are RFC 3339 in UTC."""
    held = _Line()
    writer = csv.writer(held, lineterminator="\n")
    names = [column.name for column in columns(version)]
    writer.writerow(names)
    yield held.text
    for row in export:
        writer.writerow([_cell(row.get(name)) for name in names])
        yield held.text


def _cell(value: str | Decimal | datetime | None) -> object:
    if isinstance(value, Decimal):
        return plain(value)
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else csv_text(value)


def to_parquet(export: FocusExport, version: str, target: IO[bytes]) -> None:
    """Write the rows as Parquet. Raises ConfigurationError without pyarrow."""
    notes = {
        "FocusVersion": version,
        "DataGenerator": "tokenmeter",
        "x_CallsWithoutCost": str(export.left_out),
        "x_CallsLost": str(export.lost),
        "x_TagsLeftOut": ",".join(export.left_tags),
    }
    here = [(column.name, column.type) for column in columns(version)]

    def pages() -> Iterator[list[list[object]]]:
        rows = iter(export)
        while page := list(islice(rows, _PAGE)):
            yield [[row.get(name) for row in page] for name, _ in here]

    write_parquet_pages(target, here, pages, notes)
