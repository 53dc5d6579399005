"""Reconciliations kept in the ledger's file: what a bill charged, so that exports can say what was billed.

They stand in tables of their own; the rows of calls are not touched. A bill is one currency of one provider over
whole days of the bill's clock, and two bills never overlap.
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

__all__ = ["SavedBill", "save_bills", "saved_bills"]

_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS reconciled_bills (
    seq INTEGER PRIMARY KEY, made_us INTEGER NOT NULL, provider TEXT NOT NULL, currency TEXT NOT NULL,
    format TEXT NOT NULL, zone TEXT NOT NULL, days TEXT NOT NULL, since_us INTEGER NOT NULL,
    until_us INTEGER NOT NULL, invoice TEXT, metered TEXT NOT NULL, cost TEXT, paid TEXT
)""",
    """CREATE TABLE IF NOT EXISTS reconciled_differences (
    bill INTEGER NOT NULL, cause TEXT NOT NULL, day TEXT NOT NULL, model TEXT, component TEXT, quantity TEXT,
    cost TEXT NOT NULL, paid TEXT NOT NULL, evidence TEXT NOT NULL
)""",
)
_BILL: Final = (
    "made_us", "provider", "currency", "format", "zone", "days", "since_us", "until_us", "invoice", "metered", "cost",
    "paid",
)  # fmt: skip
_DIFFERENCE: Final = ("cause", "day", "model", "component", "quantity", "cost", "paid", "evidence")


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
            for table in _TABLES:
                connection.execute(table)
            for answer in answers:
                _save(connection, answer, invoice, replace=replace)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise LedgerError(remedy(ledger, error)) from error


def _save(connection: sqlite3.Connection, answer: Reconciliation, invoice: str | None, *, replace: bool) -> None:
    since, until = answer.days[0][1], answer.until_us
    overlapping = connection.execute(
        "SELECT seq, days FROM reconciled_bills WHERE provider = ? AND currency = ? AND since_us < ? AND until_us > ?",
        (answer.provider, answer.currency, until, since),
    ).fetchall()
    for seq, days in overlapping:
        if not replace:
            first, *_, last = [day for day, _ in json.loads(days)] * 2
            raise ConfigurationError(
                f"--save: a bill of {answer.provider} in {answer.currency} for {first} to {last} is there already: "
                "--replace it"
            )
        connection.execute("DELETE FROM reconciled_differences WHERE bill = ?", (seq,))
        connection.execute("DELETE FROM reconciled_bills WHERE seq = ?", (seq,))
    money = (None if sum_ is None else plain(sum_) for sum_ in (answer.cost, answer.paid))
    seq = connection.execute(
        f"INSERT INTO reconciled_bills ({', '.join(_BILL)}) VALUES ({', '.join('?' * len(_BILL))})",  # noqa: S608
        (
            time.time_ns() // 1000, answer.provider, answer.currency, answer.format, answer.zone,
            json.dumps(answer.days), since, until, invoice, plain(answer.metered), *money,
        ),
    ).lastrowid  # fmt: skip
    connection.executemany(
        f"INSERT INTO reconciled_differences (bill, {', '.join(_DIFFERENCE)})"  # noqa: S608
        f" VALUES (?, {', '.join('?' * len(_DIFFERENCE))})",
        [
            (
                seq, one.cause, max(one.day, answer.first), one.model, one.component,  # a cut may be before the bill
                None if one.quantity is None else plain(one.quantity), plain(one.cost), plain(one.paid),
                one.evidence.encode("utf-8", "replace").decode(),
            )
            for one in answer.differences
        ],
    )  # fmt: skip


def saved_bills(connection: sqlite3.Connection) -> Iterator[SavedBill]:
    """The bills that a ledger keeps, none for a ledger that was never reconciled."""
    known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'reconciled_bills'").fetchone()
    if known is None:
        return
    query = "SELECT seq, provider, currency, zone, invoice, days, until_us FROM reconciled_bills"
    for seq, provider, currency, zone, invoice, days, until_us in connection.execute(query).fetchall():
        rows = connection.execute(
            f"SELECT {', '.join(_DIFFERENCE)} FROM reconciled_differences WHERE bill = ? ORDER BY rowid",  # noqa: S608
            (seq,),
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
