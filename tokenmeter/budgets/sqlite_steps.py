"""The steps of the SQLite budget store's transactions: holds, charges, sweeping and cleaning up."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, Final

from tokenmeter.budgets.contract import BudgetAsk, BudgetCharge, BudgetRefusal, WindowOver

__all__ = ["add", "clean", "end_hold", "give_back", "hold", "misfit", "settled", "sums", "sweep"]

_KEEP: Final = 40 * 86_400_000
"""For how many ms a counter is kept after its window's end, so that it can be looked up."""
_KEEP_ROLLING: Final = 3_600_000
"""The same for the many buckets of a rolling window."""
_SWEPT: Final = 100

_Row = tuple[str, int, int, int]
"""Series, bucket, amount, and what is charged if the call vanishes."""


def sums(db: sqlite3.Connection, series: str, bucket: int, span: int) -> tuple[int, int, int | None]:
    """Spent and held of the last `span` buckets up to `bucket`, and the first bucket that has any."""
    # SUM of integers is exact, and raises on overflow.
    row: Any = db.execute(
        "SELECT ifnull(sum(spent), 0), ifnull(sum(held), 0), min(bucket) FROM counters"
        " WHERE series = ? AND bucket > ? AND bucket <= ? AND (spent <> 0 OR held <> 0)",
        (series, bucket - span, bucket),
    ).fetchone()
    return row[0], row[1], row[2]


def misfit(db: sqlite3.Connection, asks: Sequence[BudgetAsk], now: int | None) -> BudgetRefusal | WindowOver | None:
    """The first ask that does not fit, or whose window does not hold at `now`."""
    for place, ask in enumerate(asks):
        if now is not None and not ask.start <= now < ask.end:
            return WindowOver(now)
        spent, held, oldest = sums(db, ask.series, ask.bucket, ask.span)
        left = ask.limit - spent - held
        if ask.amount > left or left <= 0:
            return BudgetRefusal(place, spent, held, oldest)
    return None


def hold(db: sqlite3.Connection, call: str, asks: Sequence[BudgetAsk], until: int, *, renew: bool = True) -> None:
    """Add the asks to what a call holds; its lease ends at `until`, or as before without `renew`."""
    for ask in asks:
        db.execute(
            "INSERT INTO counters(series, bucket, keep, held) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET held = held + excluded.held",
            (ask.series, ask.bucket, _keep(ask), ask.amount),
        )
    rows: list[_Row] = [(ask.series, ask.bucket, ask.amount, ask.lost) for ask in asks]
    held = db.execute("SELECT until, asks FROM holds WHERE call = ?", (call,)).fetchone()
    if held is not None:
        rows = [*json.loads(held[1]), *rows]
        until = until if renew else held[0]
    db.execute("INSERT OR REPLACE INTO holds VALUES (?, ?, ?)", (call, until, json.dumps(rows)))


def _keep(one: BudgetAsk | BudgetCharge) -> int:
    return one.until + (_KEEP if one.span == 1 else _KEEP_ROLLING)


def end_hold(db: sqlite3.Connection, call: str) -> list[_Row]:
    """End what a call holds; returns it."""
    held = db.execute("SELECT asks FROM holds WHERE call = ?", (call,)).fetchone()
    if held is None:
        return []
    rows: list[_Row] = json.loads(held[0])
    for series, bucket, amount, _ in rows:
        db.execute("UPDATE counters SET held = held - ? WHERE series = ? AND bucket = ?", (amount, series, bucket))
    db.execute("DELETE FROM holds WHERE call = ?", (call,))
    return rows


def settled(db: sqlite3.Connection, call: str) -> bool:
    """Whether a call has been settled or released."""
    return db.execute("SELECT 1 FROM done WHERE call = ?", (call,)).fetchone() is not None


def add(db: sqlite3.Connection, charges: Iterable[BudgetCharge]) -> None:
    """Charge amounts."""
    for one in charges:
        db.execute(
            "INSERT INTO counters(series, bucket, keep, spent) VALUES (?, ?, ?, ?)"
            " ON CONFLICT DO UPDATE SET spent = spent + excluded.spent",
            (one.series, one.bucket, _keep(one), one.amount),
        )


def sweep(db: sqlite3.Connection, now: int) -> None:
    """End the holds whose lease is over, and charge what each is given as lost."""
    dead = db.execute("SELECT call FROM holds WHERE until <= ? ORDER BY until LIMIT ?", (now, _SWEPT)).fetchall()
    for (call,) in dead:
        for series, bucket, _, lost in end_hold(db, call):
            # A call whose hold grew after it had expired is swept again.
            place = (call, series, bucket)
            known = db.execute("SELECT 1 FROM swept WHERE call = ? AND series = ? AND bucket = ?", place).fetchone()
            _lose(db, series, bucket, lost, 0 if known else 1)
            db.execute(
                "INSERT INTO swept VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET amount = amount + excluded.amount",
                (*place, lost, now),
            )


def give_back(db: sqlite3.Connection, call: str) -> None:
    """Take back what was charged for a call as vanished, since it settles after all."""
    rows = db.execute("SELECT series, bucket, amount FROM swept WHERE call = ?", (call,)).fetchall()
    for series, bucket, amount in rows:
        _lose(db, series, bucket, -amount, -1)
    if rows:
        db.execute("DELETE FROM swept WHERE call = ?", (call,))


def _lose(db: sqlite3.Connection, series: str, bucket: int, amount: int, calls: int) -> None:
    db.execute(
        "UPDATE counters SET spent = spent + ?, lost = lost + ?, lost_calls = lost_calls + ?"
        " WHERE series = ? AND bucket = ?",
        (amount, amount, calls, series, bucket),
    )


def clean(db: sqlite3.Connection, now: int, done_before: int) -> None:
    """Remove what is over, some thousand rows at a time: counters, settlements before `done_before`, keys of events."""
    for statement, before in (
        (_CLEAN_COUNTERS, now),
        ("DELETE FROM done WHERE call IN (SELECT call FROM done WHERE at < ? LIMIT 5000)", done_before),
        ("DELETE FROM swept WHERE call IN (SELECT call FROM swept WHERE at < ? LIMIT 5000)", done_before),
        ("DELETE FROM once WHERE until < ?", now),
    ):
        db.execute(statement, (before,))


_CLEAN_COUNTERS: Final = (
    "DELETE FROM counters WHERE (series, bucket) IN"
    " (SELECT series, bucket FROM counters WHERE keep < ? AND held = 0 LIMIT 5000)"
)
