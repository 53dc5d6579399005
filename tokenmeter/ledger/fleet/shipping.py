"""Ships the calls of a ledger file into the database of a fleet, by their sequence.

A batch is one transaction: the calls, their roll-up, and the place that was reached. So a shipper that is killed goes
on where the last commit was, and two shippers of one file wait for each other and double nothing. A call that was
written before it could be priced is shipped as it is, and again when it has its cost. A call that the database refuses
is named and counted as lost; the others go in.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.ledger.fleet import staging
from tokenmeter.ledger.fleet.database import FleetError, open_for_shipping, remedy, shown
from tokenmeter.ledger.fleet.keys import Keys, is_refusal
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.sum_sources import day_number
from tokenmeter.ledger.schema import LedgerError, open_for_reading, open_for_writing
from tokenmeter.ledger.schema import remedy as file_remedy

if TYPE_CHECKING:
    import sqlite3


__all__ = ["BATCH", "Refused", "Shipped", "Shipper"]

BATCH: Final = 5_000
"""Calls that are shipped in one transaction."""

_PROVISIONAL_MOST: Final = 10_000
_REFUSED_MOST: Final = 20  # a database that refuses more, and most of a batch, is not to be filled by calls
_LAST_US: Final = 253_402_300_800_000_000  # the end of the year 9999
_QUARTER_US: Final = 900_000_000
_AT: Final = {name: 1 + place for place, name in enumerate(staging.STAGED)}
_KEYED: Final = tuple((table, tuple(_AT[name] for name in names)) for table, names in staging.KEYED.items())
_LOSS: Final = (
    "INSERT INTO tokenmeter.losses (file, seq, first_us, last_us, calls, reason) VALUES (%s, %s, %s, %s, %s, %s) "
    "ON CONFLICT DO NOTHING"
)


class Refused(NamedTuple):
    """A call that the database does not take."""

    seq: int
    id: str
    ended_us: int
    why: str


@dataclass
class Shipped:
    """What a shipper did: calls read, of which `new` were not there, calls refused, and losses shipped."""

    read: int = 0
    new: int = 0
    priced: int = 0
    """Calls that were there without their cost."""
    losses: int = 0
    refused: list[Refused] = field(default_factory=list)


class _Place(NamedTuple):
    seq: int
    last_id: str | None
    losses_seq: int
    provisional: tuple[int, ...]


class Shipper:
    """Ships one file into one database. Opens both; raises LedgerError or FleetError with the remedy."""

    def __init__(self, path: str, url: str, *, batch: int = BATCH) -> None:
        self.path = path
        self._batch = batch
        self.url = url
        self.done = Shipped()
        self._made: set[tuple[int, int]] = set()
        self._name, zone = _identify(path)
        self._file = open_for_reading(path)
        try:
            _refuse_wide_rows(self._file, path)
            self._identity = _inode(path)
            self._database = open_for_shipping(url, zone)
        except BaseException:
            self._file.close()
            raise
        self._settings: dict[str, str] = {}
        self._place: _Place | None = None

    def close(self) -> None:
        """Close file and database."""
        self._file.close()
        with suppress(Exception):
            self._database.close()

    def abandon(self) -> object:
        """What must not be finalised in a forked child, whose parent goes on using it."""
        return self._file, self._database

    @property
    def is_replaced(self) -> bool:
        """Whether another file bears the name now."""
        return self._identity != _inode(self.path)

    def step(self) -> bool:
        """Ship a batch; False if there was nothing to ship. Raises FleetError where the database does not take it."""
        import psycopg

        try:
            return self._step()
        except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
            return True  # another shipper was in the way: nothing was changed
        except psycopg.Error as error:
            raise remedy(self.url, error) from error

    def ship(self) -> Shipped:
        """Ship all that is there."""
        while self.step():
            pass
        return self.done

    # One batch ------------------------------------------------------------------------------------------------

    def _step(self) -> bool:
        self._read_settings()
        place = self._place = self._place or self._checked_place()
        rows = self._file.execute(
            f"{staging.READ} WHERE seq > ? ORDER BY seq LIMIT ?", (place.seq, self._batch)
        ).fetchall()
        priced = self._priced_since(place.provisional)
        losses = self._file.execute(
            "SELECT seq, first_us, last_us, calls, reason FROM losses WHERE seq > ? ORDER BY seq", (place.losses_seq,)
        ).fetchall()
        if not (rows or priced or losses):
            return False
        self._ship_row_tags()
        refused: list[Refused] = []
        calls = self._with_keys([*priced, *rows], refused)
        self._make_months(calls)
        provisional = {*place.provisional} - {row[0] for row in priced}
        provisional |= {row[0] for row in rows if row[_AT["provisional"]]}
        reached = _Place(
            rows[-1][0] if rows else place.seq,
            rows[-1][_AT["id"]] if rows else place.last_id,
            losses[-1][0] if losses else place.losses_seq,
            tuple(sorted(provisional)[-_PROVISIONAL_MOST:]),
        )
        with self._database.transaction():
            now = self._locked_place()
            if now != place:  # another shipper of this file got on, or this one's last commit did after all
                self._place = None
                return True
            self._database.execute("SET LOCAL synchronous_commit = on")  # what is acknowledged survives a crash
            self._database.execute(staging.TABLE)
            new = self._insert(calls, refused, replacing=bool(priced))
            self._refuse_too_many(refused, len(calls))
            self._write_losses([*losses, *map(_as_loss, refused)])
            self._save(reached)
        self._place = reached
        self._note(len(rows), new, len(priced), sum(loss[3] for loss in losses), refused)
        return True

    def _note(self, read: int, new: int, priced: int, losses: int, refused: list[Refused]) -> None:
        done = self.done
        done.read += read
        done.priced += priced
        done.new += new - priced
        done.losses += losses
        done.refused += refused

    def _priced_since(self, provisional: Sequence[int]) -> list[tuple[Any, ...]]:
        """The calls that were shipped without their cost and have it now."""
        found: list[tuple[Any, ...]] = []
        for at in range(0, len(provisional), 500):
            some = provisional[at : at + 500]
            marks = ", ".join("?" * len(some))
            found += self._file.execute(f"{staging.READ} WHERE seq IN ({marks}) AND provisional IS NULL", some)
        return found

    def _with_keys(self, rows: Sequence[tuple[Any, ...]], refused: list[Refused]) -> list[list[Any]]:
        """Rows with the keys of the database; what names something that it does not take is refused."""
        of = self._keys.of
        for table, places in _KEYED:
            self._keys.learn(table, {row[at] for row in rows for at in places})
        dims, tagsets, texts = of["dims"], of["tagsets"], of["texts"]
        at_dims, at_tagset, at_texts = _AT["dims"], _AT["tagset"], _KEYED[2][1]
        at_day, at_ended, days = _AT["day"], _AT["ended_us"], self._days
        calls = []
        for row in rows:
            call = list(row)
            try:
                call[at_dims] = dims[row[at_dims]]
                call[at_tagset] = tagsets[row[at_tagset]]
                for at in at_texts:
                    if row[at] is not None:
                        call[at] = texts[row[at]]
            except KeyError:
                refused.append(_refused(row, self._why_not(row)))
                continue
            ended_us = row[at_ended]
            if not 0 <= ended_us < _LAST_US:
                refused.append(_refused(row, "its end is no instant of the years 1970 to 9999"))
                continue
            if days is not None:
                call[at_day] = days(ended_us)
            calls.append(call)
        return calls

    def _why_not(self, row: Sequence[Any]) -> str:
        for table, places in _KEYED:
            for at in places:
                if row[at] not in self._keys.of[table]:
                    return self._keys.why_not(table, row[at])
        return ""

    def _insert(self, calls: Sequence[list[Any]], refused: list[Refused], *, replacing: bool) -> int:
        """Insert calls, and answer how many were new. Of a part that fails, the halves are tried."""
        import psycopg

        try:
            with self._database.transaction():
                return self._insert_all(calls, replacing=replacing)
        except psycopg.Error as error:
            if not is_refusal(error) or not calls:
                raise
            if len(calls) == 1:
                refused.append(_refused(calls[0], " ".join(str(error).split())))
                return 0
            self._refuse_too_many(refused, len(calls))
        half = len(calls) // 2
        return sum(self._insert(part, refused, replacing=replacing) for part in (calls[:half], calls[half:]))

    def _insert_all(self, calls: Sequence[list[Any]], *, replacing: bool) -> int:
        database = self._database
        database.execute("TRUNCATE pg_temp.staged")
        with database.cursor() as cursor:
            with cursor.copy(staging.COPY) as copy:
                for call in calls:
                    copy.write_row(call[1:])
            if replacing:
                cursor.execute(staging.REPLACED)
            cursor.execute(staging.INSERT)
            new: int = (cursor.fetchone() or (0,))[0]
            return new

    def _refuse_too_many(self, refused: Sequence[Refused], calls: int) -> None:
        if len(refused) > _REFUSED_MOST and len(refused) * 2 > calls:
            raise FleetError(
                f"{shown(self.url)} refuses most calls, so none are counted as lost: see what was added to "
                f"tokenmeter.call_rows ({refused[-1].why})"
            )

    # What stands beside the calls -------------------------------------------------------------------------------

    def _read_settings(self) -> None:
        """Learn keys and clock anew where another program changed those of the file."""
        settings = dict(self._file.execute("SELECT name, value FROM settings WHERE name IN ('zone', 'keys')"))
        if settings != self._settings:
            self._settings = settings
            self._keys = Keys(self._file, self._database)
            self._count_days(settings["zone"])

    def _count_days(self, zone: str) -> None:
        """Take the file's days where its clock is the database's, else count them by that."""
        found = self._database.execute("SELECT value FROM tokenmeter.settings WHERE name = 'zone'").fetchone()
        home = zone if found is None else found[0]
        self._days = None
        if home != zone:
            clock, known = Zone.named(home), dict[int, int]()

            def day(us: int) -> int:
                quarter = us // _QUARTER_US
                if quarter not in known:
                    known[quarter] = day_number(datetime.fromtimestamp(quarter * 900, UTC), clock)
                return known[quarter]

            self._days = day

    def _ship_row_tags(self) -> None:
        names = [name for (name,) in self._file.execute("SELECT name FROM row_tags ORDER BY 1")]
        there = {name for (name,) in self._database.execute("SELECT name FROM tokenmeter.row_tags")}
        for name in names:
            if name not in there and "\0" not in name:
                self._database.execute("INSERT INTO tokenmeter.row_tags VALUES (%s) ON CONFLICT DO NOTHING", (name,))

    def _make_months(self, calls: Iterable[Sequence[Any]]) -> None:
        at = _AT["ended_us"]
        for day in sorted({call[at] // 86_400_000_000 for call in calls}):
            instant = datetime.fromtimestamp(day * 86_400, UTC)
            month = instant.year, instant.month
            if month not in self._made:
                self._database.execute("SELECT tokenmeter.make_month(%s)", (instant,))
                self._made.add(month)

    def _write_losses(self, losses: Iterable[tuple[Any, ...]]) -> None:
        for loss in losses:
            self._database.execute(_LOSS, (self._name, *loss))

    # The place that was reached ---------------------------------------------------------------------------------

    def _locked_place(self) -> _Place:
        """The place as the database has it, locked until the end of the transaction."""
        self._database.execute(
            "INSERT INTO tokenmeter.shipped_files (file) VALUES (%s) ON CONFLICT DO NOTHING", (self._name,)
        )
        found = self._database.execute(
            "SELECT seq, last_id, losses_seq, provisional FROM tokenmeter.shipped_files WHERE file = %s FOR UPDATE",
            (self._name,),
        ).fetchone()
        assert found is not None
        return _Place(found[0], found[1], found[2], tuple(found[3]))

    def _checked_place(self) -> _Place:
        """The place, if it is one of this very file; else a copy that went its own way, which gets its own name."""
        with self._database.transaction():
            place = self._locked_place()
        if self._is_ours(place):
            return place
        self._name, _ = _identify(self.path, anew=True)
        with self._database.transaction():
            return self._locked_place()

    def _is_ours(self, place: _Place) -> bool:
        if not place.seq:
            return True
        found = self._file.execute(f"{staging.READ} WHERE seq = ?", (place.seq,)).fetchone()
        if found is not None:
            return bool(found[_AT["id"]] == place.last_id)
        given = self._file.execute("SELECT seq FROM sqlite_sequence WHERE name = 'call_rows'").fetchone()
        return given is not None and given[0] >= place.seq  # deleted since

    def _save(self, place: _Place) -> None:
        self._database.execute(
            "UPDATE tokenmeter.shipped_files SET seq = %s, last_id = %s, losses_seq = %s, provisional = %s, host = %s, "
            "path = %s, shipped_at = now() WHERE file = %s",
            (place.seq, place.last_id, place.losses_seq, list(place.provisional), socket.gethostname(), self.path,
             self._name),
        )  # fmt: skip


def _refused(row: Sequence[Any], why: str) -> Refused:
    return Refused(row[0], str(row[_AT["id"]]), row[_AT["ended_us"]], why[:300])


def _as_loss(refused: Refused) -> tuple[Any, ...]:
    reason = f"the database refused call {refused.id}: {refused.why}".replace("\0", "\\0")
    us = min(max(refused.ended_us, -(2**63)), 2**63 - 1)
    return -refused.seq, us, us, 1, reason


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _identify(path: str, *, anew: bool = False) -> tuple[str, str]:
    """The name by which the database knows a file, given to it now if it has none or `anew`; and its home zone."""
    import sqlite3

    open_for_reading(path).close()  # names the remedy where there is no ledger
    try:
        with closing(open_for_writing(path)) as connection:
            connection.execute("PRAGMA busy_timeout = 10000")
            settings = dict(connection.execute("SELECT name, value FROM settings"))
            if anew or "file_id" not in settings:
                if anew:
                    connection.execute("DELETE FROM settings WHERE name = 'file_id'")
                connection.execute("INSERT OR IGNORE INTO settings VALUES ('file_id', ?)", (uuid.uuid4().hex,))
                settings = dict(connection.execute("SELECT name, value FROM settings"))
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(file_remedy(path, error)) from error
    return settings["file_id"], settings["zone"]


def _refuse_wide_rows(connection: sqlite3.Connection, path: str) -> None:
    there = connection.execute("SELECT 1 FROM main.sqlite_master WHERE name = 'wide_calls'").fetchone()
    if there and connection.execute("SELECT 1 FROM wide_calls LIMIT 1").fetchone():
        raise LedgerError(f"{path} has calls of the first schema: tokenmeter ledger migrate {path} makes a new file")
