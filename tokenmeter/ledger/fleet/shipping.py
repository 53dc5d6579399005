"""Ships the calls of a ledger file into the database of a fleet, by their sequence.

A batch is the calls, their roll-up, and the place that was reached. A shipper that is killed goes on where the last
batch was, and two shippers of one file double nothing. A call that was written before it could be priced is shipped as
it is, and again when it has its cost. A call that the database refuses is named and counted as lost; the others go in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from tokenmeter.ledger.fleet.database import FleetError, shown
from tokenmeter.ledger.fleet.duplicates import Duplicates
from tokenmeter.ledger.fleet.engine import BatchUndoneError, Place, RefusedError
from tokenmeter.ledger.fleet.engines import engine_of
from tokenmeter.ledger.fleet.place import checked_place
from tokenmeter.ledger.fleet.source_file import KEYED, READ, SHIPPED, SourceFile
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.sum_sources import day_number

__all__ = ["RefusedCall", "Shipped", "Shipper"]

_PROVISIONAL_MOST: Final = 10_000
_REFUSED_MOST: Final = 20  # a database that refuses more, and most of a batch, is not to be filled by calls
_FORGET_FROM: Final = 1_000  # calls that are worth it
_FORGET_MOST: Final = 100  # transactions
_TURN: Final = 0.005  # seconds in which the writers of the file get their turn
_LAST_US: Final = 253_402_300_800_000_000  # the end of the year 9999
_QUARTER_US: Final = 900_000_000
_AT: Final = {name: 1 + place for place, name in enumerate(SHIPPED)}
_KEYED: Final = tuple((table, tuple(_AT[name] for name in names)) for table, names in KEYED.items())
_LOSSES: Final = "SELECT seq, first_us, last_us, calls, reason FROM losses"


class RefusedCall(NamedTuple):
    """A call that the database does not take."""

    seq: int
    id: str
    ended_us: int
    why: str


@dataclass
class Shipped:
    """What a shipper did: calls read, of which `new` were not there, calls refused, and losses shipped."""

    read: int = 0
    new: int | None = 0
    """None where the database does not say."""
    priced: int = 0
    """Calls that were there without their cost."""
    losses: int = 0
    refused: list[RefusedCall] = field(default_factory=list)


class Shipper:
    """Ships one file into one database. Opens both; raises LedgerError or FleetError with the remedy."""

    def __init__(self, path: str, url: str, *, batch: int | None = None, io: threading.Lock | None = None) -> None:
        self.url = url
        self.done = Shipped()
        self.file = SourceFile(path, io)
        self._settings: dict[str, str] = {}
        self._place: Place | None = None
        self._forgotten = 0
        with ExitStack() as unready:
            unready.callback(self.file.close)
            self.store = engine_of(url).open_for_shipping(url, self.file.zone)
            unready.pop_all()
        self._batch = batch or self.store.batch

    @property
    def reached(self) -> int | None:
        """The sequence up to which the database has the file's calls; None while that is not known."""
        return None if self._place is None else self._place.seq

    def close(self) -> None:
        """Close file and database."""
        self.file.close()
        self.store.close()

    def forget_shipped(self, spared: int) -> None:
        """Delete shipped calls from the file, but for the last ones and those yet to be priced; not all at once."""
        place = self._place
        if place is None or place.seq - spared <= self._forgotten + _FORGET_FROM:
            return
        for _ in range(_FORGET_MOST):
            if not self.file.delete(place.seq - spared, place.provisional):
                self._forgotten = place.seq - spared
                break
            time.sleep(_TURN)

    def step(self) -> bool:
        """Ship a batch; False if there was nothing to ship. Raises FleetError where the database does not take it."""
        try:
            with self.store.remedies():
                return self._step()
        except BatchUndoneError:
            return True

    def ship(self) -> Shipped:
        """Ship all that is there."""
        while self.step():
            pass
        return self.done

    # One batch ------------------------------------------------------------------------------------------------

    def _step(self) -> bool:
        self._read_settings()
        place = self._place = self._place or checked_place(self.store, self.file)
        read = self.file.read
        rows = read(f"{READ} WHERE seq > ? ORDER BY seq LIMIT ?", (place.seq, self._batch))
        priced = self._priced_since(place.provisional)
        losses = read(f"{_LOSSES} WHERE seq > ? ORDER BY seq", (place.losses_seq,))
        if not (rows or priced or losses):
            self.store.idle()
            return False
        refused: list[RefusedCall] = []
        calls = self._with_keys([*priced, *rows], refused)
        self._prepare(calls)
        provisional = {*place.provisional} - {row[0] for row in priced}
        provisional |= {row[0] for row in rows if row[_AT["provisional"]]}
        reached = Place(
            rows[-1][0] if rows else place.seq,
            rows[-1][_AT["id"]] if rows else place.last_id,
            losses[-1][0] if losses else place.losses_seq,
            tuple(sorted(provisional)[-_PROVISIONAL_MOST:]),
        )
        with self.store.transaction():
            now = self.store.place(self.file.name)
            if now != place:  # another shipper of this file got on, or this one's last commit did after all
                self._place = None
                return True
            self._duplicates.mark(calls, [*priced, *rows])
            new = self._insert(calls, refused, replacing=bool(priced))
            self._refuse_too_many(refused, len(calls))
            self.store.write_losses(self.file.name, [*losses, *map(_as_loss, refused)])
            self.store.save_place(self.file, reached)
        self._place = reached
        self._note(len(rows), new, len(priced), sum(loss[3] for loss in losses), refused)
        return True

    def _note(self, read: int, new: int | None, priced: int, losses: int, refused: list[RefusedCall]) -> None:
        done = self.done
        done.read += read
        done.priced += priced
        done.new = None if new is None or done.new is None else done.new + new - priced
        done.losses += losses
        done.refused += refused

    def _priced_since(self, provisional: Sequence[int]) -> list[tuple[Any, ...]]:
        """The calls that were shipped without their cost and have it now."""
        found: list[tuple[Any, ...]] = []
        for at in range(0, len(provisional), 500):
            some = provisional[at : at + 500]
            marks = ", ".join("?" * len(some))
            found += self.file.read(f"{READ} WHERE seq IN ({marks}) AND provisional IS NULL", some)
        return found

    def _with_keys(self, rows: Sequence[tuple[Any, ...]], refused: list[RefusedCall]) -> list[list[Any]]:
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

    def _insert(self, calls: Sequence[list[Any]], refused: list[RefusedCall], *, replacing: bool) -> int | None:
        """Insert calls, and answer how many were new. Of a part that fails, the halves are tried."""
        try:
            return self.store.insert(calls, replacing=replacing)
        except RefusedError as error:
            if len(calls) == 1:
                refused.append(_refused(calls[0], str(error)))
                return 0
            self._refuse_too_many(refused, len(calls))
        half = len(calls) // 2
        new = [self._insert(part, refused, replacing=replacing) for part in (calls[:half], calls[half:])]
        return None if None in new else sum(filter(None, new))

    def _refuse_too_many(self, refused: Sequence[RefusedCall], calls: int) -> None:
        if len(refused) > _REFUSED_MOST and len(refused) * 2 > calls:
            raise FleetError(
                f"{shown(self.url)} refuses most calls, so none are counted as lost: see what was added to "
                f"tokenmeter.call_rows ({refused[-1].why})"
            )

    # What stands beside the calls -------------------------------------------------------------------------------

    def _read_settings(self) -> None:
        """Learn keys and clock anew where another program changed those of the file."""
        settings = dict(self.file.read("SELECT name, value FROM settings WHERE name IN ('zone', 'keys')"))
        if settings != self._settings:
            self._settings = settings
            self._keys = self.store.keys(self.file)
            self._duplicates = Duplicates(self.file, self.store, self._keys)
            self._count_days(settings["zone"])

    def _count_days(self, zone: str) -> None:
        """Take the file's days where its clock is the database's, else count them by that."""
        home = self.store.zone() or zone
        self._days = None
        if home != zone:
            clock, known = Zone.named(home), dict[int, int]()

            def day(us: int) -> int:
                quarter = us // _QUARTER_US
                if quarter not in known:
                    known[quarter] = day_number(datetime.fromtimestamp(quarter * 900, UTC), clock)
                return known[quarter]

            self._days = day

    def _prepare(self, calls: Iterable[Sequence[Any]]) -> None:
        at = _AT["ended_us"]
        tags = [name for (name,) in self.file.read("SELECT name FROM row_tags ORDER BY 1")]
        self.store.prepare(tags, sorted({call[at] // 86_400_000_000 for call in calls}))


def _refused(row: Sequence[Any], why: str) -> RefusedCall:
    return RefusedCall(row[0], str(row[_AT["id"]]), row[_AT["ended_us"]], why[:300])


def _as_loss(refused: RefusedCall) -> tuple[Any, ...]:
    reason = f"the database refused call {refused.id}: {refused.why}".replace("\0", "\\0")
    us = min(max(refused.ended_us, -(2**63)), 2**63 - 1)
    return -refused.seq, us, us, 1, reason
