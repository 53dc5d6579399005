"""Writes a valuation: what every call of a ledger costs by a book, beside what the ledger says.

A valuation has a name, the version of its book and the instant it prices at. It stands in tables of its own in the
ledger's file; the rows of calls are not touched.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter, defaultdict
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.schema import LedgerError, open_for_reading, open_for_writing, remedy
from tokenmeter.ledger.valuation.book_forms import BookForms, WholeSums
from tokenmeter.ledger.valuation.linear_prices import amount_of, amount_text
from tokenmeter.ledger.valuation.rate_join import PageSums, can_join, priced_pages
from tokenmeter.ledger.valuation.stored_calls import CallRow, StoredCall, rows_at, stored_rows
from tokenmeter.money import EXACT, plain
from tokenmeter.prices.book import Book

__all__ = ["Valuation", "value_ledger"]

_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS valuations (
    name TEXT PRIMARY KEY, made_us INTEGER NOT NULL, book TEXT NOT NULL, at TEXT, complete INTEGER NOT NULL
)""",
    """CREATE TABLE IF NOT EXISTS valued_calls (
    valuation TEXT NOT NULL, call_id TEXT NOT NULL, status TEXT NOT NULL, amount TEXT, currency TEXT, rate_id TEXT,
    reason TEXT, PRIMARY KEY (valuation, call_id)
) WITHOUT ROWID""",
)
_INSERT: Final = "INSERT INTO {} VALUES (?, ?, ?, ?, ?, ?, ?)"
_BATCH: Final = 20_000


@dataclass(slots=True)
class Valuation:
    """The sums of a valuation. `at` None prices each call at its own instant; sums are exact, by currency."""

    name: str
    book: str
    at: datetime | None
    calls: Counter[str] = field(default_factory=Counter)
    """By status."""
    valued: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    ledger: dict[str, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    changed: int = 0
    """Calls whose cost is another than in the ledger, unpriced on one side included."""
    reasons: Counter[str] = field(default_factory=Counter)
    sums: WholeSums = field(default_factory=WholeSums)

    def add(self, row: CallRow, prices: BookForms) -> tuple[Any, ...]:
        """Price a call and add it up; returns its row."""
        spent, currency = row.spent, row.currency or ""
        fast = prices.linear(row, None if self.at is None else self.at.timestamp())
        if fast is None:
            return self._add(row.call(), prices.book)
        total, found = fast
        text = amount_text(total)
        self.calls["priced"] += 1
        self.sums.add("valued", found.currency, total)
        if spent == text:
            self.sums.add("ledger", currency, total)
            self.changed += found.currency != currency
        elif spent is not None:
            self.ledger[currency] = EXACT.add(self.ledger[currency], amount := Decimal(spent))
            self.changed += amount != amount_of(total) or found.currency != currency
        else:
            self.changed += 1
        return (self.name, row.ids[0], "priced", text, found.currency, found.rate_id, None)

    def take(self, calls: PageSums) -> None:
        """Add up calls that were valued by a join."""
        self.calls["priced"] += calls.calls
        self.sums.add("valued", calls.currency, calls.total)
        self.changed += calls.changed
        if calls.spent is not None:
            self.sums.add("ledger", calls.spent_in or "", calls.spent)

    def _add(self, call: StoredCall, book: Book) -> tuple[Any, ...]:
        if call.amount is not None:
            currency = call.currency or ""
            self.ledger[currency] = EXACT.add(self.ledger[currency], call.amount)
        cost = call.price(book, self.at)
        if isinstance(cost, str):
            self.calls["unpriced"] += 1
            self.reasons[cost] += 1
            self.changed += call.amount is not None
            return (self.name, call.id, "unpriced", None, None, None, cost.encode("utf-8", "replace").decode())
        amount, listed = cost.amount, cost.currency or ""
        assert amount is not None  # `StoredCall.price` answers a reason then
        self.calls[cost.status] += 1
        self.valued[listed] = EXACT.add(self.valued[listed], amount)
        self.changed += (call.amount, call.currency) != (amount, cost.currency)
        return (self.name, call.id, cost.status, plain(amount), cost.currency, cost.rate_id, None)

    def close(self) -> None:
        """Put the sums of whole numbers to the others."""
        for (kind, currency), total in self.sums.take():
            into = self.valued if kind == "valued" else self.ledger
            into[currency] = EXACT.add(into[currency], amount_of(total))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: exact numbers as plain strings."""
        return {
            "name": self.name,
            "book": self.book,
            "at": None if self.at is None else self.at.isoformat(),
            "calls": self.calls.total(),
            "statuses": dict(self.calls),
            "changed": self.changed,
            "sums": [
                {
                    "currency": currency or None,
                    "ledger": plain(self.ledger.get(currency, Decimal(0))),
                    "valued": plain(self.valued.get(currency, Decimal(0))),
                }
                for currency in sorted({*self.ledger, *self.valued})
            ],
            "unpriced": dict(self.reasons.most_common()),
        }


def value_ledger(path: str, book: Book, *, at: datetime | None, name: str, replace: bool = False) -> Valuation:
    """Price every call again and write the valuation, page by page, so that programs can go on writing calls.

    Raises ConfigurationError where the name is taken and not to be replaced, LedgerError for a file that cannot be
    used.
    """
    answer = Valuation(name, book.version, at)
    open_for_reading(path).close()  # a file that is not there is not made
    try:
        with closing(open_for_writing(path)) as connection:
            connection.execute("PRAGMA busy_timeout = 10000")
            _begin(connection, answer, replace=replace)
            if can_join(connection):
                _join(connection, answer, BookForms(book))
            else:
                _price(connection, answer, BookForms(book))
                _keep(connection)
            answer.close()
            connection.execute("UPDATE valuations SET complete = 1 WHERE name = ?", (name,))
    except sqlite3.Error as error:
        raise LedgerError(remedy(path, error)) from error
    return answer


def _join(connection: sqlite3.Connection, answer: Valuation, forms: BookForms) -> None:
    """Price every call inside the database where that goes, the others one by one."""
    for sums, left in priced_pages(connection, forms.book, answer.at, answer.name):
        for calls in sums:
            answer.take(calls)
        for page in rows_at(connection, left):
            rows = [answer.add(row, forms) for row in page]
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(_INSERT.format("valued_calls"), rows)
            connection.execute("COMMIT")


def _price(connection: sqlite3.Connection, answer: Valuation, forms: BookForms) -> None:
    """Price every call into a table of this connection's own, so that programs can go on writing calls."""
    connection.execute("CREATE TEMP TABLE fresh AS SELECT * FROM valued_calls LIMIT 0")
    for page in stored_rows(connection):
        rows = [answer.add(row, forms) for row in page]
        connection.execute("BEGIN")
        connection.executemany(_INSERT.format("temp.fresh"), rows)
        connection.execute("COMMIT")


def _keep(connection: sqlite3.Connection) -> None:
    """Move the rows into the ledger's file in the order of its table: at random, each would touch a page of its own.

    They go batch by batch, so that no program that writes calls waits for long.
    """
    connection.execute("CREATE TEMP TABLE ordered AS SELECT * FROM temp.fresh ORDER BY call_id")
    connection.execute("DROP TABLE temp.fresh")
    last = connection.execute("SELECT coalesce(max(rowid), 0) FROM temp.ordered").fetchone()[0]
    for first in range(1, last + 1, _BATCH):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "INSERT INTO valued_calls SELECT * FROM temp.ordered WHERE rowid BETWEEN ? AND ?",
            (first, first + _BATCH - 1),
        )
        connection.execute("COMMIT")
    connection.execute("DROP TABLE temp.ordered")


def _begin(connection: sqlite3.Connection, answer: Valuation, *, replace: bool) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for table in _TABLES:
        connection.execute(table)
    taken = connection.execute("SELECT complete FROM valuations WHERE name = ?", (answer.name,)).fetchone()
    if taken is not None:
        if taken[0] and not replace:
            connection.execute("ROLLBACK")
            raise ConfigurationError(f"there is a valuation {answer.name!r}: give another --name, or --replace it")
        connection.execute("DELETE FROM valued_calls WHERE valuation = ?", (answer.name,))
        connection.execute("DELETE FROM valuations WHERE name = ?", (answer.name,))
    at = None if answer.at is None else answer.at.isoformat()
    made_us = time.time_ns() // 1000
    connection.execute("INSERT INTO valuations VALUES (?, ?, ?, ?, 0)", (answer.name, made_us, answer.book, at))
    connection.execute("COMMIT")
