"""Seals a month of a ledger: its calls as a Parquet file, and a manifest with its sums and digest.

The calls are read in one snapshot, in the order in which they ended, and written by row groups, so that memory does
not depend on their number. Nothing is overwritten: both files are written under other names and linked to their own
at the end, the manifest last.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._version import __version__
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.losses import Loss
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.schema import LedgerError, open_for_reading, remedy
from tokenmeter.ledger.sealed.columns import AMOUNTS, SOURCE, arrow, batch_of, schema_of
from tokenmeter.ledger.sealed.manifest import SealedMonth, SealedSum, instant, is_sealed, microseconds, named
from tokenmeter.money import EXACT

if TYPE_CHECKING:
    import sqlite3

__all__ = ["MonthSums", "bounds", "close", "digest"]

_MONTH: Final = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])")
_ROWS_AT_ONCE: Final = 10_000
_ROWS_OF_A_GROUP: Final = 100_000
_HOUR_US: Final = 3_600_000_000
_COUNTED: Final = ("end_state", "status", "currency", "list", "ended_at", "book", "tags", *AMOUNTS)


def bounds(month: str, zone: Zone) -> tuple[datetime, datetime]:
    """The first instant of a month on a clock, and that of the next month. Raises ConfigurationError."""
    if not _MONTH.fullmatch(month):
        raise ConfigurationError(f"{month!r} is not a month: write 2026-11")
    year, number = int(month[:4]), int(month[5:])
    try:
        return zone.midnight(year, number, 1), zone.midnight(year + number // 12, number % 12 + 1, 1)
    except (ValueError, OverflowError):
        raise ConfigurationError(f"{month} is no month of this calendar") from None


def close(
    path: str, month: str, zone: Zone, folder: str, *, unfinished: bool = False, now: datetime | None = None
) -> SealedMonth:
    """Seal the calls of a ledger that ended in a month of a zone, into `folder`, which is made if it is not there.

    A month that is not over is refused unless `unfinished`, and a month that is sealed always. Raises
    ConfigurationError for these and where pyarrow is missing, LedgerError for files that cannot be read or written.
    """
    since, until = bounds(month, zone)
    finished = until <= (now or datetime.now(UTC))
    if not finished and not unfinished:
        raise ConfigurationError(f"{month} is not over in {zone.name}: close it then, or say that it may be unfinished")
    if is_sealed(path):
        raise ConfigurationError(f"{path} holds sealed months already: name the ledger")
    pa = arrow()
    target = Path(folder) / named(month)
    manifest = target.with_suffix(".json")
    for one in (target, manifest):
        if os.path.lexists(one):
            raise ConfigurationError(f"{one} is there already and a sealed month is never overwritten")
    drafts = [one.with_name(f".{one.name}.{os.getpid()}") for one in (target, manifest)]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"{folder}: {error.strerror or error}") from None
    try:
        sums = MonthSums()
        with closing(open_for_reading(path)) as connection:
            connection.execute("BEGIN")  # one snapshot for all that follows
            span = microseconds(since), microseconds(until)
            _write(pa, drafts[0], _rows(connection, *span), sums)
            losses = [Loss(*one) for one in connection.execute(_LOSSES, span)]
            schema: int = connection.execute("PRAGMA user_version").fetchone()[0]
        sealed = SealedMonth(
            folder=Path(folder), month=month, zone=zone.name, since=since, until=until, finished=finished,
            sealed_at=now or datetime.now(UTC), file=target.name, size=drafts[0].stat().st_size,
            sha256=digest(drafts[0]), **sums.found(), losses=tuple(losses), schema=schema, writer=__version__,
        )  # fmt: skip
        with _private(drafts[1]) as file:
            file.write(json.dumps(sealed.to_dict(), ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n")
        for draft, one in zip(drafts, (target, manifest), strict=True):
            os.link(draft, one)  # fails where another process was faster
        return sealed
    except FileExistsError:
        raise ConfigurationError(f"{target} was sealed by another program just now") from None
    except _sqlite_error() as error:
        raise LedgerError(remedy(path, error)) from error
    except OSError as error:
        if isinstance(error, LedgerError):
            raise
        raise LedgerError(f"{target}: {error.strerror or error}") from error
    finally:
        for draft in drafts:
            with suppress(OSError):
                draft.unlink()


_LOSSES: Final = "SELECT first_us, last_us, calls, reason FROM losses WHERE last_us >= ? AND first_us < ? ORDER BY seq"


def _sqlite_error() -> type[Exception]:
    import sqlite3

    return sqlite3.Error


def _rows(connection: sqlite3.Connection, since_us: int, until_us: int) -> Iterator[list[Any]]:
    """The calls of a period in the order in which they ended, hour by hour.

    Where a file has narrow and wide rows, SQLite sorts in memory: never more than those of an hour.
    """
    query = f"SELECT {', '.join(SOURCE)} FROM calls WHERE ended_us >= ? AND ended_us < ? ORDER BY ended_us, seq"  # noqa: S608
    for start in range(since_us, until_us, _HOUR_US):
        cursor = connection.execute(query, (start, min(start + _HOUR_US, until_us)))
        while rows := cursor.fetchmany(_ROWS_AT_ONCE):
            yield rows


def _private(path: Path) -> Any:
    """A new file that its owner alone can read."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb")


def _write(pa: Any, path: Path, pages: Iterator[Sequence[Any]], sums: MonthSums) -> None:
    schema = schema_of(pa)
    with _private(path) as file:
        with pa.parquet.ParquetWriter(file, schema, compression="zstd") as writer:
            for rows in pages:
                batch = batch_of(pa, schema, rows)
                sums.add(batch)
                writer.write_batch(batch, row_group_size=_ROWS_OF_A_GROUP)
        file.flush()
        os.fsync(file.fileno())


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class MonthSums:
    """What a manifest says of the rows of a sealed month, added up by record batches."""

    COLUMNS: Final = (*_COUNTED, *(f"{name}_text" for name in AMOUNTS))
    """The columns that a batch must have."""

    def __init__(self) -> None:
        self.rows = self.delegated = self.unpriced = self.inexact = 0
        self.first_us: int | None = None
        self.last_us: int | None = None
        self._calls: Counter[tuple[str | None, str | None]] = Counter()
        self._sums: dict[tuple[str | None, str | None], Decimal] = {}
        self._tags: set[str] = set()
        self._books: set[str] = set()

    def add(self, batch: Any) -> None:
        """Add a record batch of sealed rows."""
        column = {name: batch.column(name).to_pylist() for name in (*_COUNTED[:4], "book", "amount", "amount_text")}
        self.rows += batch.num_rows
        self.inexact += sum(len(text) - text.null_count for text in (batch.column(f"{name}_text") for name in AMOUNTS))
        ended = batch.column("ended_at").cast("int64").to_pylist()
        if ended:
            self.first_us = min(ended) if self.first_us is None else min(self.first_us, min(ended))
            self.last_us = max(ended) if self.last_us is None else max(self.last_us, max(ended))
        self._tags.update(batch.column("tags").keys.unique().to_pylist())
        self._books.update(book for book in set(column["book"]) if book is not None)
        for end, status, currency, listed, amount, text in zip(
            column["end_state"], column["status"], column["currency"], column["list"], column["amount"],
            column["amount_text"], strict=True,
        ):  # fmt: skip
            if end == "delegated":
                self.delegated += 1
                continue
            self.unpriced += status == "unpriced"
            exact = amount if text is None else Decimal(text)
            if exact is not None:
                key = currency, listed
                self._calls[key] += 1
                self._sums[key] = EXACT.add(self._sums.get(key, _ZERO), exact)

    def found(self) -> dict[str, Any]:
        """The sums as fields of a manifest."""
        order = sorted(self._sums, key=lambda key: [(part is None, part or "") for part in key])
        return {
            "rows": self.rows,
            "delegated": self.delegated,
            "unpriced": self.unpriced,
            "inexact": self.inexact,
            "first": None if self.first_us is None else instant(self.first_us),
            "last": None if self.last_us is None else instant(self.last_us),
            "sums": tuple(SealedSum(*key, self._calls[key], self._sums[key]) for key in order),
            "tags": tuple(sorted(self._tags)),
            "book": tuple(sorted(self._books)),
        }


_ZERO: Final = Decimal(0)
