"""Upkeep of a ledger: what it holds, making it smaller, another home zone, forgetting whose calls they were."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.ledger.fleet.database import is_url
from tokenmeter.ledger.fleet.engines import engine_of
from tokenmeter.ledger.report.periods import OUTSIDE, Zone
from tokenmeter.ledger.rollup import drop_triggers, make_triggers, rebuild
from tokenmeter.ledger.row_writer import RowWriter, renew_keys
from tokenmeter.ledger.schema import (
    LedgerError,
    has_narrow_rows,
    has_wide_rows,
    open_for_reading,
    open_for_writing,
    remedy,
)

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Vacuumed", "forget_tag", "information", "set_zone", "vacuum"]

_TEXT_KEYS: Final = (
    "charge_shape", "raw_shape", "sent_shape", "scope", "cost_flags", "params", "flags", "reason", "unknown_fields",
    "budget_window",
)  # fmt: skip
_MOVE: Final = "UPDATE call_rows SET day = day_in_zone(ended_us) WHERE day IS NOT day_in_zone(ended_us)"
_PATIENCE_MS: Final = 10_000


class Vacuumed(NamedTuple):
    """Bytes of the file before and after, and rows of the small tables that no call needed."""

    before: int
    after: int
    unused: int


def information(path: str) -> dict[str, Any]:
    """What a ledger holds. Raises LedgerError for one that cannot be read."""
    if is_url(path):
        from tokenmeter.ledger.fleet.information import information as of_database

        return of_database(path)
    with closing(open_for_reading(path)) as connection:
        answer: dict[str, Any] = {
            "ledger": path,
            "bytes": _size(path),
            "schema": _one(connection, "PRAGMA main.user_version"),
            "calls": _one(connection, "SELECT count(*) FROM calls"),
            "first": _instant(_one(connection, "SELECT min(ended_us) FROM calls")),
            "last": _instant(_one(connection, "SELECT max(ended_us) FROM calls")),
            "lost_calls": _one(connection, "SELECT coalesce(sum(calls), 0) FROM losses"),
        }
        if has_narrow_rows(connection):
            narrow = _one(connection, "SELECT count(*) FROM call_rows")
            tags = connection.execute("SELECT DISTINCT key FROM tagsets, json_each(tagsets.tags) ORDER BY 1")
            on_rows = [name for (name,) in connection.execute("SELECT name FROM row_tags ORDER BY 1")]
            answer |= {
                "zone": _one(connection, "SELECT value FROM settings WHERE name = 'zone'"),
                "wide_calls": answer["calls"] - narrow,
                "duplicates": _one(connection, "SELECT count(*) FROM call_rows WHERE duplicate_of IS NOT NULL"),
                "rollup_rows": _one(connection, "SELECT count(*) FROM days"),
                "kinds_of_calls": _one(connection, "SELECT count(*) FROM dims"),
                "tags_in_rollup": [name for (name,) in tags if name not in on_rows],
                "tags_on_rows": on_rows,
            }
        return answer


def _size(path: str) -> int:
    return sum(os.path.getsize(path + end) for end in ("", "-wal") if os.path.exists(path + end))


def _one(connection: sqlite3.Connection, query: str) -> Any:
    return connection.execute(query).fetchone()[0]


def _instant(us: int | None) -> str | None:
    if us is None:
        return None
    try:
        return datetime.fromtimestamp(us // 1_000_000, UTC).isoformat()
    except (ValueError, OverflowError, OSError):  # of a clock that was wrong
        return OUTSIDE


def vacuum(path: str) -> Vacuumed:
    """Drop what no call needs, and give the file's free pages back.

    Raises LedgerError for a file that cannot be used; another program that reads or writes meanwhile keeps it from
    being done.
    """
    before = _size(path)
    with _writing(path) as connection:
        execute = connection.execute
        execute("BEGIN IMMEDIATE")
        used = " UNION ".join(f"SELECT {name} FROM call_rows WHERE {name} IS NOT NULL" for name in _TEXT_KEYS)
        unused = execute(f"DELETE FROM texts WHERE id NOT IN ({used})").rowcount
        unused += execute("DELETE FROM days WHERE calls = 0").rowcount
        unused += execute("DELETE FROM dims WHERE id NOT IN (SELECT dims FROM call_rows)").rowcount
        unused += execute("DELETE FROM tagsets WHERE id > 1 AND id NOT IN (SELECT tagset FROM call_rows)").rowcount
        renew_keys(connection)
        execute("COMMIT")
        execute("VACUUM")
        execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return Vacuumed(before, _size(path), unused)


def set_zone(path: str, name: str) -> int:
    """Make the days of the roll-up those of another zone; how many calls moved to another day.

    Raises ConfigurationError for a name that is no zone, LedgerError for a file that cannot be used.
    """
    zone = Zone.named(name)
    with _writing(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE settings SET value = ? WHERE name = 'zone'", (zone.name,))
        connection.create_function("day_in_zone", 1, RowWriter(connection).day_of, deterministic=True)
        drop_triggers(connection)  # the sums are made anew
        moved = connection.execute(_MOVE).rowcount
        rebuild(connection)
        make_triggers(connection, wide=has_wide_rows(connection))
        connection.execute("COMMIT")
    return moved


def forget_tag(path: str, name: str, value: str, replacement: str) -> int:
    """Replace the value of a tag in every call that has it; how many calls had. What they cost stays.

    Raises LedgerError for a ledger that cannot be used.
    """
    if is_url(path):
        return engine_of(path).forget_tag(path, name, value, replacement)
    with _writing(path) as connection:
        connection.execute("PRAGMA secure_delete = ON")
        writer = RowWriter(connection)
        connection.execute("BEGIN IMMEDIATE")
        changed = writer.replace_tag(name, value, replacement)
        connection.execute("COMMIT")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return changed


@contextmanager
def _writing(path: str) -> Iterator[sqlite3.Connection]:
    """An existing ledger, opened to be changed; failures of SQLite become LedgerError with a remedy."""
    import sqlite3

    open_for_reading(path).close()  # a file that is not there is not made
    try:
        with closing(open_for_writing(path)) as connection:
            connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")
            yield connection
    except sqlite3.Error as error:
        raise LedgerError(remedy(path, error)) from error
