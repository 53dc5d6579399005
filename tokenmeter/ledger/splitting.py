"""Splits a ledger into files in a folder, one for each value of a tag or each month: `tokenmeter ledger split`.

The counterpart of `merge`: each call goes into exactly one file, as it is, and a merge of the files answers as the
ledger does. A file bears its name when it is whole, and `split.json` lists the files and says when all are there; so a
split that was stopped goes on where it was, if the ledger is as it was. The ledger is only read.

Home zone, valuations and rows that a response delegated go along. Losses belong to a month, but to no tag: they are in
the file of the calls without the tag. A saved bill goes along where all its days are in one month; the others stay in
the ledger, since a bill is about all calls of its days.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter._support.private_file import create_private
from tokenmeter.ledger.amounts import register_sums, sum_sql
from tokenmeter.ledger.bills.merging import bill_rows, copy_bill
from tokenmeter.ledger.copying import LOSS, copy_calls, copy_rows, copy_valuations
from tokenmeter.ledger.report.columns import TAG
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.selection import known_tag
from tokenmeter.ledger.schema import LedgerError, has_narrow_rows, open_for_reading, open_for_writing, remedy

if TYPE_CHECKING:
    import sqlite3

__all__ = ["INDEX", "UNTAGGED", "Part", "Split", "file_name", "split"]

INDEX: Final = "split.json"
"""The file that lists the others."""
UNTAGGED: Final = "~untagged.db"
"""The file of calls that do not have the tag."""
_MONTH: Final = "month"
_PLAIN: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
_RESERVED: Final = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])")
_PAGE: Final = 500
_PARTIAL: Final = ".partial"


class Part(NamedTuple):
    """One file. `value` is the tag's or the month's, None for calls without the tag; `sums` are exact, by currency."""

    file: str
    value: str | None
    calls: int
    sums: Mapping[str, str]
    losses: int = 0
    bills: int = 0


class Split(NamedTuple):
    """What a split made. `left` are saved bills that stay in the ledger alone, `went_on` files that were there."""

    folder: str
    parts: tuple[Part, ...]
    left: tuple[str, ...]
    went_on: int

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        parts = [one._asdict() | {"sums": dict(one.sums)} for one in self.parts]
        return {"folder": self.folder, "parts": parts, "bills_left": list(self.left), "went_on": self.went_on}


def file_name(value: str) -> str:
    """A name for a value of a tag: safe on every system, and another one for each value.

    Names of lower-case ASCII letters, digits, `-` and `_` are as the value is; any other has a digest of the value
    after a `~`, which no plain one has. Letters of another case would be one file on some systems.
    """
    if _PLAIN.fullmatch(value) and not _RESERVED.fullmatch(value):
        return f"{value}.db"
    readable = re.sub(r"[^a-z0-9_-]+", "-", value.lower())[:40].strip("-")
    digest = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{readable}~{digest}.db"


def split(path: str, folder: str, by: str, zone: Zone) -> Split:
    """Split a ledger by a tag (its name, or `tag:NAME`), or by `month` on a clock.

    Raises ConfigurationError for a tag that no call has, and LedgerError for files that cannot be used, a folder that
    has something else in it, and a ledger that has changed since a split was stopped.
    """
    import sqlite3

    try:
        with closing(open_for_reading(path)) as reader:
            reader.execute("BEGIN")  # one snapshot
            return _Splitter(reader, path, folder, by, zone).split()
    except sqlite3.Error as error:
        raise LedgerError(remedy(path, error)) from error


class _Splitter:
    def __init__(self, reader: sqlite3.Connection, path: str, folder: str, by: str, zone: Zone) -> None:
        self._reader, self._path, self._folder, self._zone = reader, path, Path(folder), zone
        self._tag = None if by == _MONTH else by.removeprefix("tag:")
        self._by = _MONTH if self._tag is None else f"tag:{self._tag}"
        self._month = zone.buckets(_MONTH)
        self._losses = reader.execute(f"SELECT {', '.join(LOSS)} FROM losses ORDER BY seq").fetchall()  # noqa: S608
        self._bills = bill_rows(reader)

    def split(self) -> Split:
        if self._tag is not None:
            known_tag(self._reader, self._tag, "--by", (_MONTH,))
        self._place_calls()
        state = self._begin()
        values = [value for (value,) in self._reader.execute("SELECT value FROM temp.parts ORDER BY part")]
        parts, went_on = [], 0
        for number, value in enumerate(values, 1):
            part = self._expected(number, value)
            if (self._folder / part.file).exists():
                went_on += 1
                with closing(open_for_reading(str(self._folder / part.file))) as connection:
                    self._check(connection, part)
            else:
                self._write(number, part)
            parts.append(part)
        gone = [bill for value in values for bill in self._bills_of(value)]
        left = tuple(_said(bill) for bill in self._bills if bill not in gone)
        self._index(state | {"complete": True, "parts": [one._asdict() for one in parts], "bills_left": left})
        return Split(str(self._folder), tuple(parts), left, went_on)

    # Where each call goes ---------------------------------------------------------------------------------------

    def _place_calls(self) -> None:
        """Number the parts, and note in which of them each call is."""
        execute = self._reader.execute
        execute("CREATE TEMP TABLE parts (part INTEGER PRIMARY KEY, value TEXT)")
        execute("CREATE TEMP TABLE placed (part INTEGER, seq INTEGER, PRIMARY KEY (part, seq)) WITHOUT ROWID")
        execute("CREATE TEMP TABLE valued (seq INTEGER PRIMARY KEY, value TEXT)")
        if self._tag is None:
            self._reader.create_function("month_of", 1, self._month, deterministic=True)
            execute("INSERT INTO temp.valued SELECT seq, month_of(ended_us) FROM calls")
        else:
            execute(f"INSERT INTO temp.valued SELECT seq, {TAG} FROM calls", (self._tag,))  # noqa: S608
        values = {value for (value,) in execute("SELECT DISTINCT value FROM temp.valued")}
        values |= {self._value_of(loss) for loss in self._losses}
        ordered = sorted(values, key=lambda one: (one is not None, one or ""))
        self._reader.executemany("INSERT INTO temp.parts (value) VALUES (?)", [(value,) for value in ordered])
        execute("CREATE UNIQUE INDEX temp.parts_value ON parts (value)")
        execute(
            "INSERT INTO temp.placed SELECT p.part, v.seq FROM temp.valued AS v JOIN temp.parts AS p "
            "ON p.value IS v.value ORDER BY 1, 2"
        )
        execute("DROP TABLE temp.valued")

    def _value_of(self, loss: Sequence[Any]) -> str | None:
        """The part of a loss: the month in which it began; of no tag."""
        return None if self._tag is not None else self._month(loss[0])

    def _losses_of(self, value: str | None) -> list[Sequence[Any]]:
        return [loss for loss in self._losses if self._value_of(loss) == value]

    def _bills_of(self, value: str | None) -> list[Mapping[str, Any]]:
        """The saved bills that are about calls of this month alone."""
        if self._tag is not None:
            return []
        return [
            bill
            for bill in self._bills
            if {self._month(bill["since_us"]), self._month(bill["until_us"] - 1)} == {value}
        ]

    def _expected(self, number: int, value: str | None) -> Part:
        calls = self._reader.execute("SELECT count(*) FROM temp.placed WHERE part = ?", (number,)).fetchone()[0]
        sums = _sums(self._reader, f"seq IN ({_PLACED.format(number)})")
        losses = sum(loss[2] for loss in self._losses_of(value))
        name = UNTAGGED if value is None else file_name(value)
        return Part(name, value, calls, sums, losses, len(self._bills_of(value)))

    # The files --------------------------------------------------------------------------------------------------

    def _begin(self) -> dict[str, Any]:
        """Make the folder, or go on in one whose split of this very ledger was stopped."""
        calls, last = self._reader.execute("SELECT count(*), coalesce(max(seq), 0) FROM calls").fetchone()
        state: dict[str, Any] = {
            "source": os.path.abspath(self._path), "by": self._by, "zone": self._zone.name, "calls": calls,
            "last": last, "sums": dict(_sums(self._reader)),
        }  # fmt: skip
        if self._folder.is_dir() and any(self._folder.iterdir()):
            known = _read(self._folder / INDEX)
            if known is None:
                raise LedgerError(f"{self._folder} has something in it: name another folder")
            if known.get("complete"):
                raise LedgerError(f"{self._folder} holds a split that is complete: name another folder")
            if {name: known.get(name) for name in state} != state:
                raise LedgerError(
                    f"{self._folder} holds a split that was stopped, of {known.get('source')} by {known.get('by')} as "
                    "it was then: name another folder"
                )
        else:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._index(state | {"complete": False})
        for unfinished in self._folder.glob(f"*{_PARTIAL}*"):
            unfinished.unlink()
        return state

    def _write(self, number: int, part: Part) -> None:
        target = str(self._folder / part.file) + _PARTIAL
        with closing(open_for_writing(target)) as connection:
            connection.execute("PRAGMA synchronous = OFF")  # a file that a power cut spoils has no name yet
            connection.execute("BEGIN IMMEDIATE")
            if has_narrow_rows(self._reader):
                home = self._reader.execute("SELECT value FROM settings WHERE name = 'zone'").fetchone()
                connection.execute("UPDATE settings SET value = ? WHERE name = 'zone'", home)
            copy_calls(self._reader, connection, self._pages(number))
            copy_rows(connection, "losses", LOSS, self._losses_of(part.value))
            copy_valuations(self._reader, connection, _PLACED.format(number))
            for bill in self._bills_of(part.value):
                copy_bill(self._reader, connection, bill)
            connection.execute("COMMIT")
            register_sums(connection)
            self._check(connection, part)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        os.replace(target, self._folder / part.file)

    def _pages(self, number: int) -> Iterator[list[int]]:
        place, query = -(2**62), f"{_PLACED.format(number)} AND seq > ? ORDER BY seq LIMIT {_PAGE}"
        while found := [seq for (seq,) in self._reader.execute(query, (place,))]:
            place = found[-1]
            yield found

    def _check(self, connection: sqlite3.Connection, part: Part) -> None:
        """Raise LedgerError for a file that does not hold its part of the ledger."""
        calls = connection.execute("SELECT count(*) FROM call_rows").fetchone()[0]
        if (calls, _sums(connection)) != (part.calls, part.sums):
            raise LedgerError(
                f"{self._folder / part.file} does not hold the {part.calls} calls of {self._path} that belong there: "
                "move it away and split again"
            )

    def _index(self, state: Mapping[str, Any]) -> None:
        partial = str(self._folder / INDEX) + _PARTIAL
        create_private(partial)
        text = json.dumps(state, ensure_ascii=False, indent=1) + "\n"
        Path(partial).write_text(text, encoding="utf-8", errors="surrogatepass")
        os.replace(partial, self._folder / INDEX)


_PLACED: Final = "SELECT seq FROM temp.placed WHERE part = {}"


def _sums(connection: sqlite3.Connection, where: str = "1") -> Mapping[str, str]:
    """The exact cost of calls by currency."""
    query = (
        f"SELECT currency, {sum_sql('amount')} FROM calls WHERE amount IS NOT NULL AND {where} GROUP BY 1 ORDER BY 1"  # noqa: S608
    )
    return {currency or "": amount for currency, amount in connection.execute(query)}


def _said(bill: Mapping[str, Any]) -> str:
    days = [day for day, _ in json.loads(bill["days"])]
    return f"{bill['provider']} in {bill['currency']}, {days[0]} to {days[-1]}"


def _read(index: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(index.read_text(encoding="utf-8", errors="surrogatepass"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
