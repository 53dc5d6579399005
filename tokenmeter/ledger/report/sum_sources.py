"""Where a report's sums come from: the rows of calls, or the roll-up by day where it can answer.

Both are tables of the same columns. A row of `calls` stands for one call, a row of the roll-up for `calls` of one day
and one set of dimensions, so that the same sums over either are equal. The roll-up answers where the question names
nothing finer: whole days of the file's home zone, names that are dimensions, and tags that are in sets.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tokenmeter.components import FIELDS
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.calls_view import MARKS
from tokenmeter.ledger.report.columns import KEYS
from tokenmeter.ledger.report.dialect import SQLITE, Dialect
from tokenmeter.ledger.report.periods import OUTSIDE, PERIODS, Zone
from tokenmeter.ledger.tables import COLUMNS, DIMS, ROLLED

if TYPE_CHECKING:
    import sqlite3

    from tokenmeter.ledger.report.question import Question

__all__ = [
    "CHARGES", "COMPONENT", "ROWS", "SumSource", "day_number", "is_of_days", "microseconds", "register_days",
    "rolled_keys", "source_of",
]  # fmt: skip


class SumSource(NamedTuple):
    """A table of calls as SQL, named `calls`, its keys, and how its instants are bounded."""

    name: str
    table: str
    keys: Mapping[str, str]
    instant: str
    """The column that `--since` and `--until` bound."""
    bound: Callable[[datetime, Zone], Any]
    """The value of that column at an instant, on the clock of the question."""
    dialect: Dialect = SQLITE


def microseconds(at: datetime, zone: Zone | None = None) -> int:
    """Microseconds since the epoch of an instant, the same on every clock."""
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def day_number(at: datetime, zone: Zone) -> int:
    """Days since 1970 of an instant on a clock."""
    return (zone.local(at).date() - _EPOCH).days


COMPONENT: Final = "charge.component"
"""The key of a report by the components that were charged."""


def _charges() -> SumSource:
    """One row for each charge of a call: its amount, and what was billed as the tokens of its component.

    A call without charges (free, unpriced, or of a cost that the vendor stated) is one row without a component.
    """
    charge = "json_extract(charge.value, '$.{}')".format
    kept = {name: f"c.{name}" for name in (*COLUMNS, "seq", "calls", *MARKS)}
    amount = f"coalesce({charge('amount')}, c.amount)"
    kept |= {"amount": amount, "amount_whole": "NULL", "amount_pico": "NULL", "amount_text": amount}
    kept |= {f"vendor_{part}": "NULL" for part in ("amount", "whole", "pico", "text")}
    billed = f"CASE {charge('component')} WHEN '{{}}' THEN {charge('quantity')} END".format
    kept |= {part.usage: billed(part.name) for part in FIELDS}
    kept["component"] = charge("component")
    selected = ", ".join(f"{sql} AS {name}" for name, sql in kept.items())
    table = f"(SELECT {selected} FROM calls AS c LEFT JOIN json_each(c.charges) AS charge) AS calls"
    return SumSource("charges", table, KEYS | {COMPONENT: "component"}, "ended_us", microseconds)


CHARGES: Final = _charges()

_FINER: Final = frozenset({"hour", "scope", "scope_run", "trace", "response_id"})
_EPOCH: Final = date(1970, 1, 1)

ROWS: Final = SumSource("rows", "calls", KEYS, "ended_us", microseconds)


def rolled_keys(keys: Mapping[str, str], period_of_day: Callable[[str], str]) -> dict[str, str]:
    """The keys that the roll-up has, of those of calls; of periods, days and what is made of them."""
    kept = {name: sql for name, sql in keys.items() if name not in _FINER and name not in PERIODS}
    return kept | {period: period_of_day(period) for period in PERIODS if period not in _FINER}


def _rollup() -> SumSource:
    dims = ", ".join(f"d.{name} AS {name}" for name in DIMS if name != "known")
    tokens = ", ".join(f"CASE WHEN d.known & {1 << bit} THEN r.{name} END AS {name}" for bit, name in enumerate(ROLLED))
    amounts = ", ".join(
        f"CASE WHEN d.{currency} IS NOT NULL THEN r.{of}_{part} END AS {of}_{part}"
        for of, currency in (("amount", "currency"), ("vendor", "vendor_currency"))
        for part in ("whole", "pico")
    )
    table = (
        f"(SELECT r.day AS day, r.calls AS calls, t.tags AS tags, {dims}, {tokens}, {amounts}, "
        "NULL AS amount_text, NULL AS vendor_text "
        "FROM days AS r JOIN dims AS d ON d.id = r.dims JOIN tagsets AS t ON t.id = r.tagset WHERE r.calls > 0"
        ") AS calls"
    )
    return SumSource("rollup", table, rolled_keys(KEYS, "{}_of_day(day)".format), "day", day_number)


_ROLLUP: Final = _rollup()


def source_of(connection: sqlite3.Connection, question: Question) -> SumSource:
    """The roll-up if it answers the question to the last digit, else the rows, or their charges for components.

    Raises ConfigurationError where statistics of calls are asked for by component.
    """
    if COMPONENT in question.by:
        if question.stats:
            raise ConfigurationError(f"--stat: it is of calls, which {COMPONENT} divides; leave one of them out")
        return CHARGES
    if not _has_rollup(connection):
        return ROWS
    home = connection.execute("SELECT value FROM settings WHERE name = 'zone'").fetchone()[0]
    on_rows = [name for (name,) in connection.execute("SELECT name FROM row_tags")]
    return _ROLLUP if is_of_days(question, home, on_rows) else ROWS


def is_of_days(question: Question, home: str, on_rows: Collection[str]) -> bool:
    """Whether a roll-up by days of the zone `home` answers the question; the tags `on_rows` are not in it."""
    if question.stats or question.conversion is not None:
        return False
    if any(at is not None and at != _midnight(at, question.zone) for at in (question.since, question.until)):
        return False
    timed = question.since or question.until or {*PERIODS} & {*question.by}
    if timed and question.zone.name != home:
        return False
    where, keys = question.where, _ROLLUP.keys.keys()
    tags = {name.removeprefix("tag:") for name in question.by if name not in KEYS}
    tags |= {name for name, _ in question.tags} | {*(() if where is None else where.tags)}
    if where is not None and not {*where.names} <= (keys - {*PERIODS}) | {*where.tags}:
        return False
    return not tags & {*on_rows} and all(name in keys for name in question.by if name in KEYS)


def _has_rollup(connection: sqlite3.Connection) -> bool:
    """Whether the file has a roll-up of all its calls, and integers hold all their amounts."""
    tables = {name for (name,) in connection.execute("SELECT name FROM main.sqlite_master WHERE type = 'table'")}
    if "days" not in tables:
        return False
    if "wide_calls" in tables and connection.execute("SELECT 1 FROM wide_calls LIMIT 1").fetchone():
        return False
    return not connection.execute("SELECT 1 FROM days WHERE amount_texts OR vendor_texts LIMIT 1").fetchone()


def _midnight(at: datetime, zone: Zone) -> datetime:
    local = zone.local(at)
    return zone.midnight(local.year, local.month, local.day)


def register_days(connection: sqlite3.Connection) -> None:
    """Define the functions that name the period of a day."""
    for period, name in PERIODS.items():
        if period not in _FINER:
            connection.create_function(f"{period}_of_day", 1, partial(_named, name), deterministic=True)


def _named(name: Callable[[datetime], str], day: int) -> str:
    try:
        return name(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day))
    except OverflowError:
        return OUTSIDE
