"""Takes the calls of a file into ClickHouse, which has no transactions.

What repeats itself adds nothing instead: a call is known by its end and its id (`ReplacingMergeTree`), the place of a
file is noted after its calls, and sums by day hold only where no insertion began since (`days.py`). So a shipper that
ends anywhere, and two shippers of one file, leave nothing doubled and nothing lost.
"""

from __future__ import annotations

import operator
import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.ledger.fleet.clickhouse.client import remedies
from tokenmeter.ledger.fleet.clickhouse.columns import COLUMNS, columns_of
from tokenmeter.ledger.fleet.clickhouse.contents import Contents
from tokenmeter.ledger.fleet.clickhouse.days import DaySums
from tokenmeter.ledger.fleet.clickhouse.duplicates import charge_once
from tokenmeter.ledger.fleet.clickhouse.schema import connect_for_shipping
from tokenmeter.ledger.fleet.engine import Place, RefusedError

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

    from tokenmeter.ledger.fleet.source_file import SourceFile

__all__ = ["ClickHouseStore", "open_for_shipping"]

_FEW: Final = 2_000
"""Rows up to which the server gathers the insertions of many clients: each that stands alone is files to merge."""
_GATHERED: Final = {"async_insert": 1, "wait_for_async_insert": 1}
_CALLS: Final = {
    # A clock that is wrong may put calls into many months.
    "max_partitions_per_insert_block": 0,
    # Calls that are inserted again have to arrive: the first time may have been half of them.
    "insert_deduplicate": 0,
}
_REFUSALS: Final = (6, 27, 32, 69, 321, 407, 469)
"""Codes of the server where one row is to blame: data that a type or a constraint does not take."""
_PLACE: Final = "SELECT seq, last_id, losses_seq, provisional FROM shipped_files FINAL WHERE file = {file:String}"
_SAVED: Final = ("file", "seq", "last_id", "losses_seq", "provisional", "host", "path")
_LOSSES: Final = ("file", "seq", "first_us", "last_us", "calls", "reason")


def open_for_shipping(url: str, zone: str) -> ClickHouseStore:
    """Connect, and bring the schema up to date; `zone` is the clock of days if it is made now. Raises FleetError."""
    return ClickHouseStore(url, connect_for_shipping(url, zone))


class ClickHouseStore:
    """A database that is open for shipping."""

    batch: Final = 20_000
    """Calls that are shipped at once."""

    def __init__(self, url: str, client: Client) -> None:
        self._url = url
        self._client = client
        self._row_tags: set[str] = set()
        self._days = DaySums(client)

    def remedies(self) -> AbstractContextManager[None]:
        """Raise FleetError with the remedy for an error of clickhouse-connect."""
        return remedies(self._url)

    def zone(self) -> str | None:
        """The clock of the days in the sums."""
        found = self._client.query("SELECT value FROM settings FINAL WHERE name = 'zone'").result_rows
        return str(found[0][0]) if found else None

    def keys(self, file: SourceFile) -> Contents:
        """The contents of a file's small tables, of which none is known yet."""
        return Contents(file)

    def prepare(self, row_tags: Sequence[str], days: Iterable[int]) -> None:
        """Note the tags of many values."""
        if new := [name for name in row_tags if name not in self._row_tags]:
            self._insert("row_tags", ["name"], [[name] for name in new])
            self._row_tags.update(new)

    def transaction(self) -> AbstractContextManager[None]:
        """Nothing: what is shipped again adds nothing."""
        return nullcontext()

    def place(self, file: str) -> Place:
        """The place of a file."""
        found = self._client.query(_PLACE, {"file": file}).result_rows
        if not found:
            return Place(0, None, 0, ())
        seq, last_id, losses_seq, provisional = found[0]
        return Place(seq, last_id, losses_seq, tuple(provisional))

    def recorders(self, responses: Iterable[str], since_us: int) -> Iterable[tuple[str | None, str, str, int, int]]:
        """None: which call is charged is looked at after the insertion (`duplicates.py`)."""
        return ()

    def insert(self, calls: Sequence[Sequence[Any]], *, replacing: bool) -> None:
        """Insert calls, whether they are there or not. Raises RefusedError."""
        if not calls:
            return
        columns = columns_of(calls)
        settings = _CALLS | (_GATHERED if len(calls) <= _FEW else {})
        ended = columns["ended_at"]
        began = min(map(operator.sub, ended, columns["span_us"]))
        with self._days.marked(set(columns["day"])):
            with _refusals():
                self._client.insert(
                    "call_rows", list(columns.values()), column_names=list(columns),
                    column_type_names=[COLUMNS[name] for name in columns], column_oriented=True, settings=settings,
                )  # fmt: skip
            charge_once(self._client, began, max(ended), _CALLS)

    def write_losses(self, file: str, losses: Iterable[tuple[Any, ...]]) -> None:
        """Note losses; those that are there stay as they are."""
        if rows := [[file, *loss] for loss in losses]:
            self._insert("losses", _LOSSES, rows)

    def save_place(self, file: SourceFile, place: Place) -> None:
        """Note the place that is reached."""
        reached = [place.seq, place.last_id, place.losses_seq, list(place.provisional)]
        self._insert("shipped_files", _SAVED, [[file.name, *reached, socket.gethostname(), file.path]])

    def idle(self) -> None:
        """Sum days anew that have changed."""
        self._days.renew()

    def close(self) -> None:
        """End the connection."""
        with suppress(Exception):
            self._client.close()

    def _insert(self, table: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self._client.insert(table, rows, column_names=list(names), settings=_GATHERED)


@contextmanager
def _refusals() -> Iterator[None]:
    """Raise RefusedError for an error that is about the data of rows."""
    from clickhouse_connect.driver.exceptions import DataError, Error

    try:
        yield
    except (DataError, OverflowError, UnicodeError, struct.error) as error:
        raise RefusedError(" ".join(str(error).split())) from error
    except Error as error:
        if error.code not in _REFUSALS:
            raise
        raise RefusedError(" ".join(str(error).split())) from error
