"""Takes the calls of a file into PostgreSQL: a batch is one transaction.

The calls, their roll-up and the place that was reached are there together or not at all. Two shippers of one file wait
for each other at the row of its place.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from tokenmeter.ledger.fleet.engine import BatchUndoneError, Place, RefusedError
from tokenmeter.ledger.fleet.postgresql import staging
from tokenmeter.ledger.fleet.postgresql.keys import Keys, is_refusal
from tokenmeter.ledger.fleet.postgresql.schema import SHIPPING, connect_for_shipping, remedy

if TYPE_CHECKING:
    import psycopg

    from tokenmeter.ledger.fleet.source_file import SourceFile

__all__ = ["PostgresStore", "open_for_shipping"]

_LOSS: Final = (
    "INSERT INTO tokenmeter.losses (file, seq, first_us, last_us, calls, reason) VALUES (%s, %s, %s, %s, %s, %s) "
    "ON CONFLICT DO NOTHING"
)
_PLACE: Final = "SELECT seq, last_id, losses_seq, provisional FROM tokenmeter.shipped_files WHERE file = %s FOR UPDATE"
_BETWEEN: Final = "\n"  # one text is sent faster than an array; no vendor's id has a line's end in it
# Each response is looked up by the index: a table that was not analyzed yet would be read whole.
_RECORDERS: Final = (
    "SELECT d.provider, r.response_id, c.id, c.us - c.span_us, c.us "
    f"FROM unnest(string_to_array(%s, '{_BETWEEN}')) AS r (response_id), LATERAL ("
    "SELECT id, span_us, dims, (extract(epoch FROM ended_at) * 1000000)::bigint AS us FROM tokenmeter.call_rows "
    "WHERE response_id = r.response_id AND length(response_id) >= 22 AND duplicate_of IS NULL "
    f"AND ended_at >= {staging.INSTANT.format('%s::bigint')} OFFSET 0) AS c "
    "JOIN tokenmeter.dims AS d ON d.id = c.dims WHERE d.end_state IS DISTINCT FROM 'delegated' ORDER BY c.us, c.id"
)
_SAVE: Final = (
    "UPDATE tokenmeter.shipped_files SET seq = %s, last_id = %s, losses_seq = %s, provisional = %s, host = %s, "
    "path = %s, shipped_at = now() WHERE file = %s"
)


def open_for_shipping(url: str, zone: str) -> PostgresStore:
    """Connect, and bring the schema up to date; `zone` is the clock of days if it is made now. Raises FleetError."""
    return PostgresStore(url, connect_for_shipping(url, zone))


class PostgresStore:
    """A database that is open for shipping."""

    batch: Final = 5_000
    """Calls that are shipped in one transaction."""

    def __init__(self, url: str, database: psycopg.Connection[Any]) -> None:
        self._url = url
        self._database = database
        self._made: set[tuple[int, int]] = set()
        self._row_tags: set[str] = set()

    @contextmanager
    def remedies(self) -> Iterator[None]:
        """Raise FleetError with the remedy, or BatchUndoneError, for an error of psycopg."""
        import psycopg

        try:
            yield
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure) as error:
            raise BatchUndoneError from error
        except psycopg.Error as error:
            raise remedy(self._url, error) from error

    def zone(self) -> str | None:
        """The clock of the days in the roll-up."""
        found = self._database.execute("SELECT value FROM tokenmeter.settings WHERE name = 'zone'").fetchone()
        return None if found is None else str(found[0])

    def keys(self, file: SourceFile) -> Keys:
        """The keys of a file, of which none is known yet."""
        return Keys(file, self._database)

    def prepare(self, row_tags: Sequence[str], days: Iterable[int]) -> None:
        """Note the tags of many values, and make the partitions of months."""
        new = [name for name in row_tags if name not in self._row_tags and "\0" not in name]
        if new:
            self._database.execute(
                "INSERT INTO tokenmeter.row_tags SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING", (new,)
            )
            self._row_tags.update(new)
        for day in days:
            instant = datetime.fromtimestamp(day * 86_400, UTC)
            month = instant.year, instant.month
            if month not in self._made:
                self._database.execute("SELECT tokenmeter.make_month(%s)", (instant,))
                self._made.add(month)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction whose commit is on disk when the block has ended."""
        with self._database.transaction():
            self._database.execute("SET LOCAL synchronous_commit = on")  # what is acknowledged survives a crash
            yield

    def place(self, file: str) -> Place:
        """The place of a file, locked until the end of the transaction."""
        self._database.execute(
            "INSERT INTO tokenmeter.shipped_files (file) VALUES (%s) ON CONFLICT DO NOTHING", (file,)
        )
        found = self._database.execute(_PLACE, (file,)).fetchone()
        assert found is not None
        return Place(found[0], found[1], found[2], tuple(found[3]))

    def recorders(self, responses: Iterable[str], since_us: int) -> Iterable[tuple[str | None, str, str, int, int]]:
        """The calls that are charged for these responses; other shippers wait until the end of the transaction."""
        self._database.execute("SELECT pg_advisory_xact_lock(%s)", (SHIPPING,))
        there: Iterable[tuple[str | None, str, str, int, int]] = self._database.execute(
            _RECORDERS, (_BETWEEN.join(responses).replace("\0", _BETWEEN), since_us)
        )
        return there

    def insert(self, calls: Sequence[Sequence[Any]], *, replacing: bool) -> int:
        """Insert calls that are not there by COPY, and answer how many were new. Raises RefusedError."""
        import psycopg

        try:
            with self._database.transaction():
                return self._insert(calls, replacing=replacing)
        except psycopg.Error as error:
            if not is_refusal(error):
                raise
            raise RefusedError(" ".join(str(error).split())) from error

    def _insert(self, calls: Sequence[Sequence[Any]], *, replacing: bool) -> int:
        with self._database.cursor() as cursor:
            cursor.execute(staging.TABLE)
            cursor.execute("TRUNCATE pg_temp.staged")
            with cursor.copy(staging.COPY) as copy:
                for call in calls:
                    copy.write_row(call[1:])
            if replacing:
                cursor.execute(staging.REPLACED)
            cursor.execute(staging.INSERT)
            new: int = (cursor.fetchone() or (0,))[0]
            if new < len(calls) and cursor.execute(staging.FULLER).rowcount > 0:
                cursor.execute(staging.INSERT)
            return new

    def write_losses(self, file: str, losses: Iterable[tuple[Any, ...]]) -> None:
        """Note losses that are not there."""
        for loss in losses:
            self._database.execute(_LOSS, (file, *loss))

    def save_place(self, file: SourceFile, place: Place) -> None:
        """Note the place that is reached by this transaction."""
        reached = (place.seq, place.last_id, place.losses_seq, list(place.provisional))
        self._database.execute(_SAVE, (*reached, socket.gethostname(), file.path, file.name))

    def idle(self) -> None:
        """Nothing is left to do."""

    def close(self) -> None:
        """End the connection."""
        with suppress(Exception):
            self._database.close()
