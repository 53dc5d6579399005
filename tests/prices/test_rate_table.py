"""The book as a table: joined by plain SQL it gives the prices of the book."""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.cli import main
from tokenmeter.prices.book import Book, load_book
from tokenmeter.prices.rate_table import rate_rows
from tokenmeter.usage import Usage

DOCS = Path(__file__).parents[2] / "docs" / "batch.md"
ROWS = int(os.environ.get("TOKENMETER_RATE_ROWS", "4000"))
UNTIL = datetime(2027, 6, 1, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PROVIDERS = ("deepseek", "openai", "alibaba", "zhipu", "google", "anthropic", "volcengine")


def written(tmp_path: Path, *flags: str) -> Path:
    pytest.importorskip("pyarrow")
    path = tmp_path / "rates.parquet"
    for provider in PROVIDERS:
        assert (
            main(
                [
                    "prices",
                    "export",
                    "--provider",
                    provider,
                    "--output",
                    str(tmp_path / f"{provider}.parquet"),
                    "--until",
                    "2027-06-01",
                    *flags,
                ]
            )
            == 0
        )
    return path


def joined(tmp_path: Path, calls: Any) -> list[tuple[Any, ...]]:
    """The rows of the query in the documentation, in the order of the calls."""
    duckdb = pytest.importorskip("duckdb")
    (block,) = re.findall(r"```sql\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    sql = block.replace("'rates.parquet'", f"'{tmp_path}/*.parquet'")
    macro, query = sql.split(";\n\n")
    with duckdb.connect() as connection:
        connection.register("calls", calls)
        connection.execute(macro)
        found: list[tuple[Any, ...]] = connection.execute(
            f"SELECT number, currency, rate_id, cost FROM ({query.strip().rstrip(';')}) ORDER BY number"  # noqa: S608
        ).fetchall()
    return found


def random_calls(book: Book, count: int) -> list[dict[str, Any]]:
    some = random.Random(20)
    names = [
        (provider, model)
        for provider in PROVIDERS
        for prices in [book.provider_prices(provider)]
        if not isinstance(prices, str)
        for model in prices.names.all()
    ]
    names += [("deepseek", "deepseek-chat"), ("deepseek", "deepseek-reasoner")] * 60
    names += [("openai", "no such model"), ("nobody", "gpt-4o")]
    rows = []
    for number in range(count):
        provider, model = some.choice(names)
        total, output = (
            some.randrange(some.choice((500, 300_000, 1_200_000))),
            some.randrange(some.choice((50, 20_000))),
        )
        read = some.choice((None, 0, some.randrange(total + 1)))
        rows.append(
            {
                "number": number,
                "provider": provider,
                "model": model,
                "at": EPOCH + timedelta(microseconds=some.randrange(1_672_000_000_000_000, 1_800_000_000_000_000)),
                "input_tokens": some.choice((total, total, total, 32_000, 32_001, 128_000, 200_000, 200_001)),
                "output_tokens": output,
                "cache_read_input_tokens": None if read is None else min(read, 30_000),
                "cache_write_input_tokens": some.choice((None, 0, 0, some.randrange(100))),
                "reasoning_output_tokens": some.choice((None, 0, some.randrange(output + 1))),
            }
        )
    return rows


@pytest.mark.parametrize("params", [{}, {"batch": True}, {"currency": "USD"}], ids=str)
def test_the_join_gives_the_prices_of_the_book(tmp_path: Path, params: dict[str, Any]) -> None:
    pa = pytest.importorskip("pyarrow")
    book = load_book()
    written(tmp_path, *(word for name, value in params.items() for word in ("--param", f"{name}={value}")))
    rows = random_calls(book, ROWS if not params else ROWS // 4)
    table = pa.Table.from_pylist(rows, schema=_schema(pa))
    found = joined(tmp_path, table)
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


def _schema(pa: Any) -> Any:
    tokens = (
        "input_tokens",
        "output_tokens",
        "cache_read_input_tokens",
        "cache_write_input_tokens",
        "reasoning_output_tokens",
    )
    return pa.schema(
        [
            ("number", pa.int64()), ("provider", pa.string()), ("model", pa.string()),
            ("at", pa.timestamp("us", tz="UTC")),
            *((name, pa.int64()) for name in tokens),
        ]
    )  # fmt: skip


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
