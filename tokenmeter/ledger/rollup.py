"""The roll-up by day, as SQL: the triggers that keep it equal to the rows, and the same sums made anew from the rows.

A day is one of the file's home zone. What the roll-up holds of an amount are its whole units and parts of 10⁻¹²; a day
with an amount that integers cannot say counts it, and reports read the rows then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tokenmeter.ledger.amounts import PICO
from tokenmeter.ledger.tables import MONEY, PARTS, ROLLED, SUMS

if TYPE_CHECKING:
    import sqlite3

__all__ = ["drop_triggers", "make_triggers", "rebuild", "rolled_rows", "wrong_days"]

_KEYS: Final = ("day", "dims", "tagset")
_HALF: Final = 10**6


def make_triggers(connection: sqlite3.Connection, *, wide: bool) -> None:
    """Make the triggers anew. `wide` says whether the file has rows of the first schema."""
    for name, statement in _triggers(wide=wide).items():
        connection.execute(f"DROP TRIGGER IF EXISTS {name}")
        connection.execute(statement)


def drop_triggers(connection: sqlite3.Connection) -> None:
    """Stop keeping the roll-up, for a copy of many rows that ends with `rebuild`."""
    for name in _triggers(wide=False):
        connection.execute(f"DROP TRIGGER IF EXISTS {name}")


def rebuild(connection: sqlite3.Connection) -> None:
    """Make the roll-up anew from the rows."""
    connection.execute("DELETE FROM days")
    connection.execute(f"INSERT INTO days ({', '.join((*_KEYS, *SUMS))}) {rolled_rows()}")


def rolled_rows() -> str:
    """The roll-up made from the rows, as a SELECT."""
    sums = {"calls": "count(*)", **{name: f"coalesce(sum({name}), 0)" for name in ROLLED}}
    for of in MONEY:
        # The parts are summed apart: nine million of them would leave SQLite's integers.
        low = f"coalesce(sum({of}_pico % {_HALF}), 0)"
        high = f"(coalesce(sum({of}_pico / {_HALF}), 0) + {low} / {_HALF})"
        sums[f"{of}_whole"] = f"coalesce(sum({of}_whole), 0) + {high} / {_HALF}"
        sums[f"{of}_pico"] = f"{high} % {_HALF} * {_HALF} + {low} % {_HALF}"
        sums[f"{of}_texts"] = f"count({of}_text)"
    selected = ", ".join([*_KEYS, *(f"{sums[name]} AS {name}" for name in SUMS)])
    return f"SELECT {selected} FROM call_rows GROUP BY {', '.join(_KEYS)}"


def wrong_days(connection: sqlite3.Connection) -> int:
    """How many rows of the roll-up are not what the rows of calls sum up to."""
    amounts = (f"{of}_whole + {of}_pico / {PICO}, {of}_pico % {PICO}, {of}_texts" for of in MONEY)
    exact = ", ".join([*_KEYS, "calls", *ROLLED, *amounts])
    kept, made = f"SELECT {exact} FROM days WHERE calls", f"SELECT {exact} FROM ({rolled_rows()})"
    count = "SELECT count(*) FROM ({} EXCEPT {})".format
    return max(int(connection.execute(count(*pair)).fetchone()[0]) for pair in ((kept, made), (made, kept)))


def _triggers(*, wide: bool = False) -> dict[str, str]:
    """Statements, by the names of their triggers, that keep `days` equal to `call_rows`, and delete by the view."""
    moves = (*_KEYS, *ROLLED, *(f"{of}_{part}" for of in MONEY for part in (*PARTS, "text")))
    changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in moves)
    added, taken = _rolled("NEW", "+"), _rolled("OLD", "-")
    delete = "DELETE FROM call_rows WHERE seq = OLD.seq"
    if wide:
        delete += "; DELETE FROM wide_calls WHERE seq = OLD.seq"
    bodies = {
        "call_rows_insert": f"AFTER INSERT ON call_rows BEGIN {added}",
        "call_rows_delete": f"AFTER DELETE ON call_rows BEGIN {taken}",
        "call_rows_update": f"AFTER UPDATE ON call_rows WHEN {changed} BEGIN {taken}; {added}",
        "calls_delete": f"INSTEAD OF DELETE ON calls BEGIN {delete}",
    }
    return {name: f"CREATE TRIGGER {name} {body}; END" for name, body in bodies.items()}


def _rolled(row: str, sign: str) -> str:
    """The statement that adds a row to its day, or takes it away."""
    values = {
        "calls": "1",
        **{name: f"coalesce({row}.{name}, 0)" for name in ROLLED},
        **{f"{of}_{part}": f"coalesce({row}.{of}_{part}, 0)" for of in MONEY for part in PARTS},
        **{f"{of}_texts": f"({row}.{of}_text IS NOT NULL)" for of in MONEY},
    }
    news = ", ".join(f"{'-' if sign == '-' else ''}{values[name]}" for name in SUMS)
    # Parts of 10⁻¹² are carried over, or their sum would leave SQLite's integers after nine million calls.
    sets = {name: f"{name} + excluded.{name}" for name in SUMS}
    for of in MONEY:
        pico = f"({of}_pico + excluded.{of}_pico)"
        sets[f"{of}_whole"] += f" + {pico} / {PICO}"
        sets[f"{of}_pico"] = f"{pico} % {PICO}"
    return (
        f"INSERT INTO days (day, dims, tagset, {', '.join(SUMS)}) "
        f"VALUES ({row}.day, {row}.dims, {row}.tagset, {news}) ON CONFLICT DO UPDATE SET "
        + ", ".join(f"{name} = {value}" for name, value in sets.items())
    )
