"""Sealed months as a temporary SQLite database, for whatever reads a ledger.

The rows go into a file that SQLite keeps private and removes, so memory does not depend on their number.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.ledger.schema import LedgerError, prepare
from tokenmeter.ledger.sealed.columns import AMOUNTS, arrow
from tokenmeter.ledger.sealed.manifest import SealedMonth, instant, sealed_months
from tokenmeter.ledger.shapes import encode
from tokenmeter.ledger.tables import COLUMNS, LOSSES
from tokenmeter.money import plain

if TYPE_CHECKING:
    import sqlite3

__all__ = ["batches", "exact_texts", "losses_of", "open_sealed"]

_ROWS_AT_ONCE: Final = 10_000


def open_sealed(path: str) -> sqlite3.Connection:
    """A connection to the calls and losses of sealed months. Raises LedgerError, and ConfigurationError where pyarrow
    is missing."""
    import sqlite3

    months = sealed_months(path)
    arrow()
    connection = sqlite3.connect("", isolation_level=None)
    with ExitStack() as unready:
        unready.callback(connection.close)
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute(f"CREATE TABLE calls (seq INTEGER PRIMARY KEY, {', '.join(COLUMNS)})")
        connection.execute(LOSSES)
        connection.execute("BEGIN")
        places = ", ".join("?" * len(COLUMNS))
        for month in months:
            for batch in batches(month):
                connection.executemany(
                    f"INSERT INTO calls ({', '.join(COLUMNS)}) VALUES ({places})",  # noqa: S608
                    zip(*(_column(batch, name) for name in COLUMNS), strict=True),
                )
        connection.executemany(
            "INSERT INTO losses (first_us, last_us, calls, reason) VALUES (?, ?, ?, ?)", losses_of(months)
        )
        connection.execute("COMMIT")
        connection.execute("CREATE INDEX calls_ended ON calls (ended_us)")
        prepare(connection)
        unready.pop_all()
    return connection


def losses_of(months: tuple[SealedMonth, ...]) -> list[tuple[Any, ...]]:
    """The losses of some months; one that reaches over the end of a month is in both and counts once."""
    return list(dict.fromkeys(tuple(loss) for month in months for loss in month.losses))


def batches(month: SealedMonth, columns: list[str] | None = None) -> Iterator[Any]:
    """The record batches of a sealed month. Raises LedgerError where the file cannot be read."""
    pa = arrow()
    try:
        with pa.parquet.ParquetFile(month.path) as file:
            yield from file.iter_batches(batch_size=_ROWS_AT_ONCE, columns=columns)
    except (OSError, pa.ArrowException) as error:
        if isinstance(error, LedgerError):
            raise
        raise LedgerError(f"{month.path} cannot be read: restore it from a copy ({error})") from error


def exact_texts(batch: Any, name: str) -> list[str | None]:
    """An amount of each row as exact text."""
    decimals: list[Decimal | None] = batch.column(name).to_pylist()
    texts: list[str | None] = batch.column(f"{name}_text").to_pylist()
    return [
        text if text is not None or number is None else plain(number)
        for number, text in zip(decimals, texts, strict=True)
    ]


def _column(batch: Any, name: str) -> list[Any]:
    """A column of the view `calls`, NULL where this month was sealed without it."""
    if name in ("started_us", "ended_us"):
        return _list(batch.column(f"{name[:-3]}_at").cast("int64"))
    if name not in batch.schema.names:
        return [None] * batch.num_rows
    if name in AMOUNTS:
        return exact_texts(batch, name)
    values = _list(batch.column(name))
    if name in ("started_at", "ended_at"):
        us = _list(batch.column(name).cast("int64"))
        return [instant(one).isoformat(timespec="microseconds").replace("+00:00", "Z") for one in us]
    if name == "tags":
        return [None if tags is None else encode(dict(tags)) for tags in values]
    if name == "scope":
        return [None if names is None else json.dumps(names, ensure_ascii=False) for names in values]
    return [int(value) for value in values] if name == "stream" and None not in values else values


def _list(column: Any) -> list[Any]:
    values: list[Any] = column.to_pylist()
    return values
