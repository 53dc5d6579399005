"""The prices of a book as tables: periods of a form, tiers as cells, prices as integers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from tokenmeter.ledger.valuation.rate_cells import NO_PRICE, PRICES, RateCells
from tokenmeter.ledger.valuation.stored_calls import Form
from tokenmeter.prices.book import Book

BOOK = Book.of(
    {
        "provider": "acme", "currency": "USD", "timezone": "UTC",
        "windows": {"night": {"hours": ["22:00-06:00"]}},
        "rate": [
            {"model": "tiers", "effective": date(2026, 3, 2), "input": 4, "output": Decimal("8.25"),
             "case": [{"when": {"input_tokens": "> 1000"}, "input": 6}]},
            {"model": "hours", "effective": date(2025, 1, 1), "input": 2, "cache_read": 1, "output": 2,
             "case": [{"when": {"window": "night"}, "multiply": Decimal("0.5")}]},
            {"model": "steps", "effective": date(2025, 1, 1), "input": 2, "output": 2, "minimum": {"input": 10}},
        ],
    }
)  # fmt: skip
FIRST, LAST = datetime(2026, 3, 1, tzinfo=UTC).timestamp(), datetime(2026, 3, 3, tzinfo=UTC).timestamp()


def form(model: str | None) -> Form:
    return ("acme", model, None, None, None, None, "USD")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:")) as found:
        yield found


def periods(connection: sqlite3.Connection) -> list[tuple[str, int]]:
    rows = connection.execute("SELECT since_us, period FROM temp.price_periods ORDER BY form, since_us")
    return [(f"{datetime.fromtimestamp(since_us / 1e6, UTC):%d %H}", period) for since_us, period in rows]


def test_periods_change_with_rates_and_hours_and_end_with_the_ledger(connection: sqlite3.Connection) -> None:
    cells = RateCells(connection, BOOK, None, FIRST, LAST)
    cells.add(1, 0, form("hours"), unpriced=False)
    assert periods(connection) == [("01 00", 1), ("01 06", 2), ("01 22", 1), ("02 06", 2), ("02 22", 1), ("03 00", 0)]
    (longest,) = connection.execute(
        "SELECT period, (until_us - since_us) / 3600000000 FROM temp.price_forms"
    ).fetchall()
    assert longest == (2, 16)


def test_tiers_are_cells_with_their_ranges_and_prices(connection: sqlite3.Connection) -> None:
    cells = RateCells(connection, BOOK, None, FIRST, LAST)
    cells.add(1, 0, form("tiers"), unpriced=False)
    assert periods(connection) == [("01 00", 0), ("02 00", 1), ("03 00", 0)]  # not sold before the second day
    columns = f"input_tokens_from, input_tokens_below, alone, {', '.join(PRICES)}"
    found = connection.execute(f"SELECT {columns} FROM temp.price_cells ORDER BY input_tokens_from").fetchall()  # noqa: S608
    assert found == [
        (0, 1001, 0, 400, NO_PRICE, NO_PRICE, 825, 825),
        (1001, 2**62, 0, 600, NO_PRICE, NO_PRICE, 825, 825),
    ]
    assert {cell.digits for cell in cells.cells.values()} == {8}


def test_all_calls_at_one_instant_have_one_period(connection: sqlite3.Connection) -> None:
    cells = RateCells(connection, BOOK, LAST, FIRST, LAST)
    cells.add(1, 0, form("hours"), unpriced=False)
    assert connection.execute("SELECT since_us, period FROM temp.price_periods").fetchall() == [(-(2**62), 1)]


def test_forms_are_written_once_and_those_that_are_not_linear_have_no_cells(connection: sqlite3.Connection) -> None:
    cells = RateCells(connection, BOOK, None, FIRST, LAST)
    cells.add(1, 0, form("hours"), unpriced=False)
    cells.add(2, 0, form("hours"), unpriced=False)
    cells.add(3, 0, form("hours"), unpriced=True)
    cells.add(4, 0, form("steps"), unpriced=False)
    cells.add(5, 0, form(None), unpriced=False)
    cells.add(6, 0, None, unpriced=False)
    rows = connection.execute("SELECT dims, form, period FROM temp.price_forms ORDER BY dims").fetchall()
    assert rows == [(1, 0, 2), (2, 0, 2), (3, 1, 4), (4, 2, None), (5, 3, None), (6, -1, None)]
    assert [one.unpriced for one in cells.cells.values()] == [False, False, True, True]


def test_forms_beyond_the_limit_have_no_prices_and_are_forgotten(connection: sqlite3.Connection) -> None:
    cells = RateCells(connection, BOOK, None, FIRST, LAST, forms_most=1)
    cells.add(1, 0, form("hours"), unpriced=False)
    cells.add(2, 0, form("tiers"), unpriced=False)
    query = "SELECT dims, form, period FROM temp.price_forms ORDER BY dims"
    assert connection.execute(query).fetchall() == [(1, 0, 2), (2, 1, None)]
    cells.forget()
    assert connection.execute(query).fetchall() == [(1, 0, 2)]


def test_forms_of_few_calls_have_no_prices_until_they_have_more(connection: sqlite3.Connection) -> None:
    cells = RateCells(connection, BOOK, None, FIRST, LAST)
    cells.add(1, 0, form("hours"), unpriced=False, worth=False)
    assert not cells.cells
    cells.forget()
    cells.add(1, 0, form("hours"), unpriced=False)
    cells.add(2, 0, form("hours"), unpriced=False, worth=False)  # they are there already
    query = "SELECT dims, form, period FROM temp.price_forms ORDER BY dims"
    assert connection.execute(query).fetchall() == [(1, 0, 2), (2, 0, 2)]
