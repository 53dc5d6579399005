"""Saved bills of ledgers that are merged: one bill for the same days, and what is billed still adds up to it.

Two machines may each have reconciled the vendor's bill with their own calls. Of bills that overlap, the one that was
made last is kept. Its differences are those from the calls of its own ledger: what the other ledger's calls of those
days cost is no difference any more, and is taken off as an `unexplained` one of the day, until the bill is reconciled
with the merged ledger.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from tokenmeter.ledger.bills.saved import BILL, DIFFERENCE, TABLES
from tokenmeter.money import EXACT, plain

__all__ = ["OTHER_CALLS", "bill_rows", "copy_bill", "merge_bills", "metered_by_day"]

OTHER_CALLS: Final = "calls of another ledger were merged in since the bill was reconciled: reconcile it again"
"""The evidence of a difference that merging made."""
_CAUSE: Final = "unexplained"
_SPENT: Final = (
    "SELECT ended_us, coalesce(list_amount, amount) FROM calls WHERE ended_us >= ? AND ended_us < ? AND provider = ? "
    "AND currency = ? AND amount IS NOT NULL AND end_state NOT IN ('delegated', 'refused')"
)
_OVERLAPS: Final = "provider = ? AND currency = ? AND since_us < ? AND until_us > ?"
_THIS: Final = "provider = ? AND currency = ? AND since_us = ?"

Metered = dict[str, dict[str, Decimal]]
"""What the calls of a bill's days cost at list price, by the bill (provider, currency, first instant) and day."""


def metered_by_day(connection: sqlite3.Connection) -> Metered:
    """What the calls cost that saved bills are about."""
    return {_name(bill): _metered(connection, bill) for bill in bill_rows(connection)}


def merge_bills(reader: sqlite3.Connection, target: sqlite3.Connection, before: Metered) -> int:
    """Copy the saved bills of a ledger whose calls were copied; how many of both were left out for a later one.

    `before` is what the calls of the target's own bills cost before those calls came.
    """
    left_out = 0
    own = dict(before)
    for bill in bill_rows(reader):
        _make_tables(target)
        named = (bill["provider"], bill["currency"], bill["until_us"], bill["since_us"])
        rivals = target.execute(f"SELECT {', '.join(BILL)} FROM reconciled_bills WHERE {_OVERLAPS}", named).fetchall()  # noqa: S608
        others = [dict(zip(BILL, row, strict=True)) for row in rivals]
        if bill in others:
            continue  # it was merged already
        if any(other["made_us"] >= bill["made_us"] for other in others):
            left_out += 1
            continue
        left_out += len(others)
        for other in others:
            _delete(target, other)
            own.pop(_name(other), None)
        copy_bill(reader, target, bill)
        own[_name(bill)] = _metered(reader, bill)
    for bill in bill_rows(target):
        _balance(target, bill, own.get(_name(bill), {}))
    return left_out


def bill_rows(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    """The saved bills of a ledger as they are stored: the columns of `saved.BILL` by name."""
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'reconciled_bills'").fetchone():
        return []
    found = connection.execute(f"SELECT {', '.join(BILL)} FROM reconciled_bills ORDER BY since_us").fetchall()  # noqa: S608
    return [dict(zip(BILL, row, strict=True)) for row in found]


def _name(bill: Mapping[str, Any]) -> str:
    return json.dumps([bill["provider"], bill["currency"], bill["since_us"]])


def _key(bill: Mapping[str, Any]) -> tuple[Any, ...]:
    return bill["provider"], bill["currency"], bill["since_us"]


def _metered(connection: sqlite3.Connection, bill: Mapping[str, Any]) -> dict[str, Decimal]:
    days = json.loads(bill["days"])
    ends = [start for _, start in days[1:]] + [bill["until_us"]]
    sums: dict[str, Decimal] = {}
    for (day, start), end in zip(days, ends, strict=True):
        total = Decimal(0)
        for _, amount in connection.execute(_SPENT, (start, end, bill["provider"], bill["currency"])):
            total = EXACT.add(total, Decimal(amount))
        sums[day] = total
    return sums


def _make_tables(target: sqlite3.Connection) -> None:
    for table in TABLES:
        target.execute(table)


def _delete(target: sqlite3.Connection, bill: Mapping[str, Any]) -> None:
    for table in ("reconciled_differences", "reconciled_bills"):
        target.execute(f"DELETE FROM {table} WHERE {_THIS}", _key(bill))  # noqa: S608


def copy_bill(reader: sqlite3.Connection, target: sqlite3.Connection, bill: Mapping[str, Any]) -> None:
    """Copy a saved bill with its differences."""
    _make_tables(target)
    for table, columns in (("reconciled_bills", BILL), ("reconciled_differences", DIFFERENCE)):
        names, marks = ", ".join(columns), ", ".join("?" * len(columns))
        rows = reader.execute(f"SELECT {names} FROM {table} WHERE {_THIS} ORDER BY rowid", _key(bill))  # noqa: S608
        target.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", rows)  # noqa: S608


def _balance(target: sqlite3.Connection, bill: Mapping[str, Any], own: Mapping[str, Decimal]) -> None:
    """Take off what came beside the bill's own calls, together with what was taken off before."""
    gone: dict[str, Decimal] = defaultdict(Decimal)
    for day, now in _metered(target, bill).items():
        gone[day] = EXACT.subtract(own.get(day, now), now)
    if not any(gone.values()):
        return
    where = f"{_THIS} AND evidence = ?"
    query = f"SELECT day, cost FROM reconciled_differences WHERE {where}"  # noqa: S608
    for day, cost in target.execute(query, (*_key(bill), OTHER_CALLS)).fetchall():
        gone[day] = EXACT.add(gone[day], Decimal(cost))
    target.execute(f"DELETE FROM reconciled_differences WHERE {where}", (*_key(bill), OTHER_CALLS))  # noqa: S608
    target.executemany(
        f"INSERT INTO reconciled_differences ({', '.join(DIFFERENCE)}) VALUES ({', '.join('?' * len(DIFFERENCE))})",  # noqa: S608
        [
            (*_key(bill), _CAUSE, day, None, None, None, plain(cost), "0", OTHER_CALLS)
            for day, cost in gone.items()
            if cost
        ],
    )
