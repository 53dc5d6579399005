"""Writes calls into the narrow tables of a ledger, within the transaction of its caller.

What calls have in common is stored once and its key remembered. A tag is kept in sets of tags as long as it has few
values; one with many (a user, a conversation) goes on the rows from then on, and the roll-up no longer answers for it.
A response that another call recorded in the same moments (a gateway and its client, a log that is imported) is stored
as delegated to that call, so that it is not charged twice. A later call that gets it again is a call of its own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from hashlib import blake2b
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.guard import guard
from tokenmeter.ledger.charged_once import RecordingCall, delegated, recorded_by, recorder_of
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.rows import StoredRow
from tokenmeter.ledger.shapes import encode
from tokenmeter.ledger.tables import DIMS, ROW
from tokenmeter.record import FROM_SPAN_TEXT

if TYPE_CHECKING:
    import sqlite3

__all__ = ["TAGSETS", "TAG_VALUES", "RowWriter", "renew_keys"]

TAG_VALUES: Final = 50
"""Values that a tag may have to be kept in sets of tags."""
TAGSETS: Final = 200
"""Sets of tags that a file may have before the tag with the most values goes on the rows."""

_ROWS_AT_ONCE: Final = 64
_QUARTER_US: Final = 900_000_000
_KEYS_AT_ONCE: Final = 500
_RECORDED: Final = (
    "SELECT response_key, id, ended_us - span_us, ended_us FROM call_rows "
    "WHERE response_key IN ({}) AND duplicate_of IS NULL ORDER BY seq"
)
_SETTINGS: Final = "SELECT name, value FROM settings WHERE name IN ('zone', 'keys') ORDER BY name"
_EPOCH: Final = date(1970, 1, 1)

# The same record again changes nothing (a commit whose answer was lost is repeated), but for the cost of a row that
# was written before the price book was loaded. The program's own record takes the place of one that was made of the
# call's span; it gets a new sequence, by which a shipper finds it.
_INSERT: Final = f"INSERT INTO call_rows ({', '.join(ROW)}) VALUES "
_ONE: Final = f"({', '.join('?' * len(ROW))})"
_OF_SPAN: Final = f"EXISTS (SELECT 1 FROM texts WHERE id = {{}}.flags AND instr(text, '{FROM_SPAN_TEXT}'))"
_FULLER: Final = f"{_OF_SPAN.format('call_rows')} AND NOT {_OF_SPAN.format('excluded')}"
_AGAIN: Final = (
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in ROW)}, "
    f"seq = CASE WHEN {_FULLER} THEN (SELECT max(seq) + 1 FROM call_rows) ELSE seq END "
    f"WHERE call_rows.provisional = 1 OR {_FULLER}"
)
_DIM: Final = f"INSERT OR IGNORE INTO dims (digest, {', '.join(DIMS)}) VALUES ({', '.join('?' * (len(DIMS) + 1))})"

_Recorders = dict[int, list[RecordingCall]]


class RowWriter:
    """The writer of one open ledger file."""

    def __init__(self, connection: sqlite3.Connection, *, charge_once: bool = True) -> None:
        """`charge_once` is False for a faithful copy, in which a response may be charged to two calls."""
        self._charge_once = charge_once
        self._connection = connection
        self._settings: list[Any] = []
        self._read_settings()

    def _read_settings(self) -> None:
        """Read zone and keys anew where another program changed them (`upkeep.py`) since the last batch."""
        settings = self._connection.execute(_SETTINGS).fetchall()
        if settings == self._settings:
            return
        self._settings = settings
        self._zone = Zone.named(dict(settings)["zone"])
        self._days: BoundedDict[int, int] = BoundedDict(10_000)
        self._dims: BoundedDict[tuple[Any, ...], int] = BoundedDict(20_000)
        self._texts: BoundedDict[str | None, int | None] = BoundedDict(20_000)
        self._texts[None] = None
        self._tags: BoundedDict[tuple[tuple[str, str], ...], tuple[int, str | None]] = BoundedDict(20_000)
        self._sets: dict[str, int] = {}
        self._values: dict[str, set[str]] = {}
        self._sets_with: dict[str, set[str]] = {}
        for number, text in self._connection.execute("SELECT id, tags FROM tagsets"):
            self._remember_set(text, number, json.loads(text))
        self._on_rows = {name for (name,) in self._connection.execute("SELECT name FROM row_tags")}
        self._few_sets = self._sets.keys() - set[str]().union(*(self._sets_with.get(one, ()) for one in self._on_rows))

    def insert(self, calls: Sequence[StoredRow]) -> int:
        """Insert calls; how many SQLite cannot hold. One such call does not take the others with it."""
        import sqlite3

        refusals = (
            OverflowError, UnicodeError, sqlite3.InterfaceError, sqlite3.ProgrammingError, sqlite3.IntegrityError,
        )  # fmt: skip
        if not calls:
            return 0
        self._read_settings()
        firsts = self._first_calls(calls) if self._charge_once else {}
        try:
            self._insert_many([self._row(call, firsts) for call in calls])
        except refusals:
            # Rows before the failing one are in already; inserting them again changes nothing.
            refused = len(calls)
            for call in calls:
                with guard("storing a record in the ledger"):
                    self._insert_many([self._row(call, firsts)])
                    refused -= 1
            return refused
        return 0

    def _insert_many(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows, as many by one statement as SQLite takes.

        Each statement gives up the interpreter's lock. In a program that computes, the writer waits milliseconds to
        get it back, so a statement for each row would hold up a batch by seconds.
        """
        import sqlite3

        size, at = _ROWS_AT_ONCE, 0
        while size * len(ROW) > self._connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER):
            size //= 2
        while at < len(rows):
            while size > len(rows) - at:
                size //= 2
            statement = _INSERT + ", ".join([_ONE] * size) + _AGAIN
            self._connection.execute(statement, tuple(chain.from_iterable(rows[at : at + size])))
            at += size

    def _row(self, call: StoredRow, firsts: _Recorders) -> tuple[Any, ...]:
        """The values of `ROW`."""
        duplicate_of = call.duplicate_of or (_recorded_by(call, firsts) if firsts else None)
        if duplicate_of is not None and call.dims[_END] != "delegated":
            call = delegated(call)
        tags, row_tags = self._tags.get(call.tags) or self._tags_of(call.tags)
        text = self._text
        return (
            call.id, call.response_key, call.ended_us, call.span_us, call.duration_ns, call.time_to_first_chunk,
            self.day_of(call.ended_us), self._dims.get(call.dims) or self._dims_of(call.dims), tags,
            row_tags, *call.tokens, call.tool_definition_tokens, *call.amount, call.list_amount, call.cache_saved,
            *call.vendor, call.priced_us,
            text(call.charges[0]), call.charges[1], text(call.raw[0]), call.raw[1], text(call.sent[0]), *call.sent[1:],
            call.response_id, call.parent_id, call.trace_id, call.span_id, call.scope_run,
            *[text(one) for one in call.texts], call.more, duplicate_of,
            1 if call.provisional and duplicate_of is None else None,
        )  # fmt: skip

    # Keys into the small tables -------------------------------------------------------------------------------

    def day_of(self, ended_us: int) -> int:
        """Days since 1970 on the clock of the file's zone."""
        quarter = ended_us // _QUARTER_US
        day = self._days.get(quarter)
        return self._day(quarter) if day is None else day

    def _day(self, quarter: int) -> int:
        """Days since 1970 on the clock of the file's zone. A quarter of an hour is the finest step of any zone."""
        try:
            local = self._zone.local(datetime.fromtimestamp(quarter * 900, UTC))
        except (ValueError, OverflowError, OSError):  # a clock that is outside the calendar: the day is that of UTC
            return self._days.put(quarter, quarter * 900 // 86_400)
        return self._days.put(quarter, (local.date() - _EPOCH).days)

    def _dims_of(self, dims: tuple[Any, ...]) -> int:
        digest = blake2b(encode(dims).encode("utf-8", "replace"), digest_size=16).digest()
        execute = self._connection.execute
        execute(_DIM, (digest, *dims))
        return self._dims.put(dims, execute("SELECT id FROM dims WHERE digest = ?", (digest,)).fetchone()[0])

    def _text(self, text: str | None) -> int | None:
        number = self._texts.get(text, 0)
        if number != 0:
            return number
        execute = self._connection.execute
        execute("INSERT OR IGNORE INTO texts (text) VALUES (?)", (text,))
        return self._texts.put(text, execute("SELECT id FROM texts WHERE text = ?", (text,)).fetchone()[0])

    def _tags_of(self, tags: tuple[tuple[str, str], ...]) -> tuple[int, str | None]:
        """The set of the tags that have few values, and the JSON of the others."""
        few = {name: value for name, value in sorted(tags) if name not in self._on_rows}
        while few and (crowded := self._crowded(few)) is not None:
            self._connection.execute("INSERT OR IGNORE INTO row_tags VALUES (?)", (crowded,))
            self._on_rows.add(crowded)
            self._few_sets -= self._sets_with.get(crowded, set())
            self._tags.clear()
            few.pop(crowded, None)
        many = {name: value for name, value in tags if name not in few}
        found = self._set_of(few), encode(many) if many else None
        return found if many else self._tags.put(tags, found)

    def _crowded(self, few: dict[str, str]) -> str | None:
        """The tag that has too many values for another set of tags; None where there is room."""
        if encode(few) in self._sets:
            return None
        for name, value in few.items():
            known = self._values.setdefault(name, set())
            if value not in known and len(known) >= TAG_VALUES:
                return name
        if len(self._few_sets) < TAGSETS:  # those without a tag that is on the rows
            return None
        return max(few, key=lambda name: len(self._values[name]))

    def _set_of(self, few: dict[str, str]) -> int:
        text = encode(few)
        if text not in self._sets:
            execute = self._connection.execute
            execute("INSERT OR IGNORE INTO tagsets (tags) VALUES (?)", (text,))
            self._remember_set(text, execute("SELECT id FROM tagsets WHERE tags = ?", (text,)).fetchone()[0], few)
            self._few_sets.add(text)
        return self._sets[text]

    def _remember_set(self, text: str, number: int, tags: Mapping[str, str]) -> None:
        self._sets[text] = number
        for name, value in tags.items():
            self._values.setdefault(name, set()).add(value)
            self._sets_with.setdefault(name, set()).add(text)

    def replace_tag(self, name: str, value: str, replacement: str) -> int:
        """Replace a tag's value wherever it stands; how many calls had it."""
        execute = self._connection.execute

        def replaced(text: str | None) -> str | None:
            tags = {} if text is None else json.loads(text)
            return encode(tags | {name: replacement}) if tags.get(name) == value else None

        self._connection.create_function("replaced_tags", 1, replaced, deterministic=True)
        changed = 0
        for table in ("call_rows", "wide_calls"):
            if execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone():
                changed += execute(
                    f"UPDATE {table} SET tags = replaced_tags(tags) WHERE replaced_tags(tags) IS NOT NULL"
                ).rowcount
        for number, text in execute("SELECT id, tags FROM tagsets").fetchall():
            if (new := replaced(text)) is not None:
                other = self._set_of(json.loads(new))
                changed += execute("UPDATE call_rows SET tagset = ? WHERE tagset = ?", (other, number)).rowcount
                execute("DELETE FROM tagsets WHERE id = ?", (number,))
                execute("DELETE FROM days WHERE tagset = ?", (number,))
        renew_keys(self._connection)
        return changed

    # Responses that two calls recorded ------------------------------------------------------------------------

    def _first_calls(self, calls: Iterable[StoredRow]) -> _Recorders:
        """The calls that recorded each response, the first one first, where more than one did."""
        found: _Recorders = {}
        mine = [call for call in calls if call.response_key is not None]
        for at in range(0, len(mine), _KEYS_AT_ONCE):
            keys = [call.response_key for call in mine[at : at + _KEYS_AT_ONCE]]
            query = _RECORDED.format(", ".join("?" * len(keys)))
            for key, *one in self._connection.execute(query, keys):
                found.setdefault(key, []).append(RecordingCall(*one))
        for call in mine:
            if call.dims[_END] != "delegated":
                found.setdefault(call.response_key or 0, []).append(recorder_of(call))
        return {key: ones for key, ones in found.items() if len(ones) > 1}


def renew_keys(connection: sqlite3.Connection) -> None:
    """Make every writer of the file, in other processes too, read its keys anew before its next batch."""
    connection.execute(
        "INSERT INTO settings VALUES ('keys', '1') ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + 1"
    )


_END: Final = DIMS.index("end_state")


def _recorded_by(call: StoredRow, firsts: _Recorders) -> bytes | str | None:
    """The id of the call that was written first of those that recorded the response at the same time; else None."""
    if call.response_key is None or call.dims[_END] == "delegated":
        return None
    return recorded_by(recorder_of(call), firsts.get(call.response_key, ()))
