"""The book as a table: joined by plain SQL it gives the prices of the book."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.rate_join import call_table, export_rates, join_query, random_calls
from tokenmeter.prices.book import Book, load_book
from tokenmeter.prices.rate_table import rate_rows
from tokenmeter.usage import Usage

ROWS = int(os.environ.get("RATE_ROWS", "100000"))


@pytest.mark.parametrize("params", [{}, {"batch": True}, {"currency": "USD"}], ids=str)
def test_the_join_gives_the_prices_of_the_book(tmp_path: Path, params: dict[str, Any]) -> None:
    pytest.importorskip("pyarrow")
    duckdb = pytest.importorskip("duckdb")
    book = load_book()
    export_rates(tmp_path, params)
    macro, query = join_query(tmp_path)
    rows = random_calls(book, ROWS if not params else ROWS // 10)
    with duckdb.connect() as connection:
        connection.register("calls", call_table(rows))
        connection.execute(macro)
        found = connection.execute(f"SELECT number, currency, rate_id, cost FROM ({query}) ORDER BY number").fetchall()  # noqa: S608
    kinds: Counter[str] = Counter()
    for row, (number, currency, rate_id, cost) in zip(rows, found, strict=True):
        assert number == row["number"]
        usage = Usage(**{name: value for name, value in row.items() if name.endswith("_tokens")})
        expected = book.price(usage, provider=row["provider"], model=row["model"], at=row["at"], params=params)
        if cost is None:
            kinds["left to Python" if expected.amount is not None else "unpriced"] += 1
            continue
        kinds["priced"] += 1
        assert (cost, currency, rate_id) == (expected.amount, expected.currency, expected.rate_id), row
    assert kinds["priced"] > 0.08 * len(rows), kinds
    assert kinds["left to Python"] < 0.05 * len(rows), kinds


def test_a_parameter_that_differs_between_calls_is_a_column_of_the_table(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    duckdb = pytest.importorskip("duckdb")
    book = load_book()
    for batch in (False, True):
        (tmp_path / str(batch)).mkdir()
        export_rates(tmp_path / str(batch), {"batch": batch})
    macro, query = join_query(tmp_path)
    both = " UNION ALL ".join(
        f"SELECT *, {batch} AS batch FROM '{tmp_path}/{batch}/*.parquet'"  # noqa: S608
        for batch in (False, True)
    )
    query = query.replace(f"FROM '{tmp_path}/*.parquet'", f"FROM ({both})")
    query = query.replace("DISTINCT provider, model,", "DISTINCT provider, model, batch,")
    query = query.replace("AND split.at >=", "AND split.batch = periods.batch AND split.at >=")
    query = query.replace("AND r.valid_from =", "AND r.batch = dated.batch AND r.valid_from =")
    rows = random_calls(book, 8_000)
    with duckdb.connect() as connection:
        connection.register("plain", call_table(rows))
        connection.execute(macro)
        connection.execute("CREATE TABLE calls AS SELECT *, number % 2 = 1 AS batch FROM plain")
        found = dict(connection.execute(f"SELECT number, cost FROM ({query}) WHERE cost IS NOT NULL").fetchall())  # noqa: S608
    for number, cost in found.items():
        row = rows[number]
        usage = Usage(**{name: value for name, value in row.items() if name.endswith("_tokens")})
        params = {"batch": number % 2 == 1}
        assert (
            cost == book.price(usage, provider=row["provider"], model=row["model"], at=row["at"], params=params).amount
        )
    assert len(found) > 600
    assert {number % 2 for number in found} == {0, 1}


def test_tiers_aliases_and_hours_are_rows() -> None:
    book = Book.of(
        {
            "provider": "acme", "currency": "USD", "timezone": "UTC",
            "windows": {"night": {"hours": ["22:00-06:00"]}},
            "alias": [{"model": "fast", "of": "m", "from": date(2026, 3, 1)}],
            "rate": [
                {"model": "m", "effective": date(2026, 1, 1), "input": 4, "output": 8,
                 "case": [{"when": {"input_tokens": "> 1000"}, "input": 6}]},
                {"model": "n", "effective": date(2026, 1, 1), "input": 2, "output": 2,
                 "case": [{"when": {"window": "night"}, "multiply": Decimal("0.5")}]},
                {"model": "s", "effective": date(2026, 1, 1), "input": 2, "output": 2, "minimum": {"input": 10}},
            ],
        }
    )  # fmt: skip
    until = datetime(2026, 1, 3, tzinfo=UTC)
    rows = list(rate_rows(book, ["acme"], until=datetime(2026, 4, 1, tzinfo=UTC), models=["m", "fast"]))
    assert [(row.model, str(row.valid_from.date()), row.valid_until, row.ranges[0], row.each[0]) for row in rows] == [
        ("m", "2026-01-01", None, (None, 1001), Decimal("0.000004")),
        ("m", "2026-01-01", None, (1001, None), Decimal("0.000006")),
        ("fast", "2026-03-01", None, (None, 1001), Decimal("0.000004")),
        ("fast", "2026-03-01", None, (1001, None), Decimal("0.000006")),
    ]
    nights = list(rate_rows(book, ["acme"], until=until, models=["n"]))
    assert [(f"{row.valid_from:%d %H}", f"{row.valid_until:%d %H}", row.each[3]) for row in nights] == [
        ("01 00", "01 06", Decimal("0.000001")),
        ("01 06", "01 22", Decimal("0.000002")),
        ("01 22", "02 06", Decimal("0.000001")),
        ("02 06", "02 22", Decimal("0.000002")),
        ("02 22", "03 00", Decimal("0.000001")),
    ]
    assert list(rate_rows(book, ["acme"], until=until, models=["s"])) == []
