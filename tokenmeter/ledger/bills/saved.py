"""Reconciliations kept in the ledger's file: what a bill charged, so that exports can say what was billed.

They stand in tables of their own; the rows of calls are not touched. A bill is one currency of one provider over
whole days of the bill's clock, and two bills never overlap: provider, currency and first instant name it.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.bills.differences import BillDifference
from tokenmeter.ledger.bills.reconcile import Reconciliation
from tokenmeter.ledger.schema import LedgerError, open_for_reading, open_for_writing, remedy
from tokenmeter.money import plain

__all__ = ["BILL", "DIFFERENCE", "TABLES", "SavedBill", "save_bills", "saved_bills"]

_NAMED: Final = ("provider", "currency", "since_us")
BILL: Final = (
    *_NAMED, "until_us", "made_us", "format", "zone", "days", "invoice", "metered", "cost", "paid",
)  # fmt: skip
"""The columns of `reconciled_bills`; `days` is JSON, each day and its first microsecond."""
_SAID: Final = ("cause", "day", "model", "component", "quantity", "cost", "paid", "evidence")
DIFFERENCE: Final = (*_NAMED, *_SAID)
"""The columns of `reconciled_differences`."""
TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS reconciled_bills (
    provider TEXT NOT NULL, currency TEXT NOT NULL, since_us INTEGER NOT NULL, until_us INTEGER NOT NULL,
    made_us INTEGER NOT NULL, format TEXT NOT NULL, zone TEXT NOT NULL, days TEXT NOT NULL, invoice TEXT,
    metered TEXT NOT NULL, cost TEXT, paid TEXT
)""",
    """CREATE TABLE IF NOT EXISTS reconciled_differences (
    provider TEXT NOT NULL, currency TEXT NOT NULL, since_us INTEGER NOT NULL, cause TEXT NOT NULL, day TEXT NOT NULL,
    model TEXT, component TEXT, quantity TEXT, cost TEXT NOT NULL, paid TEXT NOT NULL, evidence TEXT NOT NULL
)""",
)
"""Statements that make the tables where they are not there."""
_THIS: Final = " AND ".join(f"{name} = ?" for name in _NAMED)


@dataclass(frozen=True, slots=True)
class SavedBill:
    """One currency of one bill. `days` are its days and their first microseconds."""

    provider: str
    currency: str
    zone: str
    invoice: str | None
    days: tuple[tuple[str, int], ...]
    until_us: int
    differences: tuple[BillDifference, ...]

    @property
    def since_us(self) -> int:
        """The first microsecond of the bill."""
        return self.days[0][1]

    @property
    def name(self) -> str:
        """Whose bill it is, and of which days."""
        return f"{self.provider} {self.days[0][0]} to {self.days[-1][0]} ({self.zone})"


def save_bills(
    ledger: str, answers: Sequence[Reconciliation], *, invoice: str | None = None, replace: bool = False
) -> None:
    """Keep reconciliations in the ledger. With `replace`, bills of the same days make room.

    Raises ConfigurationError for a bill without money, and for one that overlaps with another; LedgerError for a
    file that cannot be written.
    """
    for answer in answers:
        if answer.cost is None and answer.paid is None:
            raise ConfigurationError("--save: the bill has no amounts, so that it does not say what was billed")
    open_for_reading(ledger).close()  # a file that is not there is not made
    try:
        with closing(open_for_writing(ledger)) as connection:
            connection.execute("PRAGMA busy_timeout = 10000")
            connection.execute("BEGIN IMMEDIATE")
            for table in TABLES:
                connection.execute(table)
            for answer in answers:
                _save(connection, answer, invoice, replace=replace)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise LedgerError(remedy(ledger, error)) from error


def _save(connection: sqlite3.Connection, answer: Reconciliation, invoice: str | None, *, replace: bool) -> None:
    since, until = answer.days[0][1], answer.until_us
    overlapping = connection.execute(
        "SELECT provider, currency, since_us, days FROM reconciled_bills WHERE provider = ? AND currency = ?"
        " AND since_us < ? AND until_us > ?",
        (answer.provider, answer.currency, until, since),
    ).fetchall()
    for *name, days in overlapping:
        if not replace:
            first, *_, last = [day for day, _ in json.loads(days)] * 2
            raise ConfigurationError(
                f"--save: a bill of {answer.provider} in {answer.currency} for {first} to {last} is there already: "
                "--replace it"
            )
        connection.execute(f"DELETE FROM reconciled_differences WHERE {_THIS}", name)  # noqa: S608
        connection.execute(f"DELETE FROM reconciled_bills WHERE {_THIS}", name)  # noqa: S608
    named = (answer.provider, answer.currency, since)
    money = (None if sum_ is None else plain(sum_) for sum_ in (answer.cost, answer.paid))
    connection.execute(
        _insert("reconciled_bills", BILL),
        (
            *named, until, time.time_ns() // 1000, answer.format, answer.zone, json.dumps(answer.days), invoice,
            plain(answer.metered), *money,
        ),
    )  # fmt: skip
    connection.executemany(
        _insert("reconciled_differences", DIFFERENCE),
        [
            (
                *named, one.cause, max(one.day, answer.first), one.model, one.component,  # a cut may be before the bill
                None if one.quantity is None else plain(one.quantity), plain(one.cost), plain(one.paid),
                one.evidence.encode("utf-8", "replace").decode(),
            )
            for one in answer.differences
        ],
    )  # fmt: skip


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608


def saved_bills(connection: sqlite3.Connection) -> Iterator[SavedBill]:
    """The bills that a ledger keeps, none for a ledger that was never reconciled."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'reconciled_bills'").fetchone()
    if known is None:
        return
    query = "SELECT provider, currency, since_us, zone, invoice, days, until_us FROM reconciled_bills"
    for provider, currency, since, zone, invoice, days, until_us in connection.execute(query).fetchall():
        rows = connection.execute(
            f"SELECT {', '.join(_SAID)} FROM reconciled_differences WHERE {_THIS} ORDER BY rowid",  # noqa: S608
            (provider, currency, since),
        )
        yield SavedBill(
            provider=provider,
            currency=currency,
            zone=zone,
            invoice=invoice,
            days=tuple((day, start) for day, start in json.loads(days)),
            until_us=until_us,
            differences=tuple(_difference(*row) for row in rows),
        )


def _difference(
    cause: str,
    day: str,
    model: str | None,
    component: str | None,
    quantity: str | None,
    cost: str,
    paid: str,
    said: str,
) -> BillDifference:
    return BillDifference(
        cause, day, model, component, said, cost=Decimal(cost), paid=Decimal(paid),
        quantity=None if quantity is None else Decimal(quantity),
    )  # fmt: skip
