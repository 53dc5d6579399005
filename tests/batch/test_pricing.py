"""`batch.price` and `batch.reprice`: the prices of the book, row by row, from whatever holds the columns."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import tokenmeter
from tests.rigs.random_ledger import random_ledger
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.schema import open_for_reading
from tokenmeter.ledger.sealed.seal import close
from tokenmeter.ledger.valuation.stored_calls import CallRow, stored_rows
from tokenmeter.prices.book import Book, load_book
from tokenmeter.usage import Usage

pa = pytest.importorskip("pyarrow")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MODELS = (
    ("deepseek", "deepseek-chat"), ("deepseek", "deepseek-reasoner"), ("openai", "gpt-4o"), ("openai", "gpt-5"),
    ("alibaba", "qwen-max"), ("alibaba", "qwen3-max"), ("anthropic", "claude-sonnet-4-5"), ("google", "gemini-2.5-pro"),
    ("openai", "no such model"), ("nobody", "gpt-4o"), ("volcengine", "doubao-seed-1-6"), ("zhipu", "glm-4.6"),
)  # fmt: skip


def random_calls(count: int, seed: int = 1) -> list[dict[str, Any]]:
    some = random.Random(seed)
    rows = []
    for _ in range(count):
        provider, model = some.choice(MODELS)
        size = some.choice((100, 40_000, 400_000))
        rows.append(
            {
                "provider": provider,
                "model": model,
                "response_model": some.choice((None, None, model, "gpt-4o-mini")),
                "at": EPOCH + timedelta(microseconds=some.randrange(1_700_000_000_000_000, 1_796_000_000_000_000)),
                "batch": some.choice((None, None, True, False)),
                "service_tier": some.choice((None, None, "flex", "priority", "odd")),
                "currency": some.choice((None, None, None, "USD", "CNY")),
                "input_tokens": some.choice((None, some.randrange(size), some.randrange(size))),
                "output_tokens": some.choice((None, some.randrange(9_000), some.randrange(9_000))),
                "cache_read_input_tokens": some.choice((None, 0, some.randrange(200))),
                "reasoning_output_tokens": some.choice((None, 0, some.randrange(200))),
                "audio_input_tokens": some.choice((None, None, 7)),
            }
        )
    return rows


SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("provider", "model", "response_model")),
        ("at", pa.timestamp("us", tz="Asia/Shanghai")),
        ("batch", pa.bool_()), ("service_tier", pa.string()), ("currency", pa.string()),
        *((f"{name}_tokens", pa.int64()) for name in (
            "input", "output", "cache_read_input", "reasoning_output", "audio_input"
        )),
    ]
)  # fmt: skip


def by_the_book(row: dict[str, Any]) -> tuple[Any, ...]:
    params = {name: row[name] for name in ("batch", "service_tier", "currency") if row[name] is not None}
    usage = Usage(**{name: value for name, value in row.items() if name.endswith("_tokens")})
    cost = load_book().price(
        usage, provider=row["provider"], model=row["model"], response_model=row["response_model"], at=row["at"],
        params=params,
    )  # fmt: skip
    known = cost.amount is not None
    return (
        cost.amount, cost.currency if known else None, cost.status, cost.rate_id, cost.confidence, cost.book,
        cost.flags, cost.reason, cost.source if known else None,
    )  # fmt: skip


def answered(row: dict[str, Any]) -> tuple[Any, ...]:
    amount = row["cost"] if row["cost_text"] is None else Decimal(row["cost_text"])
    names = ("currency", "status", "rate_id", "confidence", "book", "flags", "reason", "source")
    currency, status, rate, confidence, book, flags, reason, source = (row[f"cost_{name}"] for name in names)
    return amount, currency, status, rate, confidence, book, tuple(flags.split(",")) if flags else (), reason, source


def test_each_row_costs_what_the_book_says() -> None:
    rows = random_calls(4_000)
    table = pa.Table.from_pylist(rows, schema=SCHEMA)
    found = tokenmeter.batch.price(table).read_all().to_pylist()
    for row, answer in zip(rows, found, strict=True):
        assert answered(answer) == by_the_book(row)
        assert {name: answer[name] for name in row} == row
    assert {row["cost_status"] for row in found} >= {"priced", "unpriced"}


def polars_frame(table: Any) -> Any:
    return pytest.importorskip("polars").from_arrow(table)


def duckdb_relation(table: Any) -> Any:
    connection = pytest.importorskip("duckdb").connect()
    relation = connection.register("calls", table).sql("SELECT * FROM calls")
    return (relation.to_arrow_reader if hasattr(relation, "to_arrow_reader") else relation.fetch_record_batch)(100)


@pytest.mark.parametrize(
    "given",
    [
        lambda table: table,
        lambda table: table.to_reader(max_chunksize=7),
        lambda table: table.to_batches(max_chunksize=7),
        lambda table: iter(table.to_batches(max_chunksize=7)),
        lambda table: [table.slice(0, 30), table.slice(30)],
        lambda table: table.combine_chunks().to_batches()[0],
        polars_frame,
        duckdb_relation,
    ],
    ids=["table", "reader", "batches", "iterator", "tables", "batch", "polars", "duckdb"],
)
def test_whatever_holds_the_columns_is_priced_alike(given: Callable[[Any], Any]) -> None:
    table = pa.Table.from_pylist(random_calls(60), schema=SCHEMA)
    expected = tokenmeter.batch.price(table).read_all()
    found = tokenmeter.batch.price(given(table)).read_all()
    results = [name for name in expected.schema.names if name.startswith("cost")]
    assert found.select(results).to_pylist() == expected.select(results).to_pylist()


def test_polars_and_duckdb_take_the_answer() -> None:
    duckdb, polars = pytest.importorskip("duckdb"), pytest.importorskip("polars")
    table = pa.Table.from_pylist(random_calls(200), schema=SCHEMA)
    total = sum(row["cost"] or 0 for row in tokenmeter.batch.price(table).read_all().to_pylist())
    reader = tokenmeter.batch.price(table)
    assert reader is not None  # DuckDB finds it by its name
    assert duckdb.sql("SELECT sum(cost) FROM reader").fetchall() == [(total,)]
    assert polars.from_arrow(tokenmeter.batch.price(table))["cost"].sum() == total


def test_rows_are_read_as_the_answer_is() -> None:
    table = pa.Table.from_pylist(random_calls(10), schema=SCHEMA)
    read = []

    def endless() -> Iterator[Any]:
        while True:
            read.append(1)
            yield from table.to_batches()

    reader = tokenmeter.batch.price(endless())
    for _ in range(3):
        assert reader.read_next_batch().num_rows == 10
    assert len(read) <= 4


def test_what_is_the_same_in_all_rows_is_an_argument() -> None:
    table = pa.table({"input_tokens": [1_000_000, 2_000_000]})
    found = tokenmeter.batch.price(
        table, provider="openai", model="gpt-4o", at="2024-11-01", book=load_book(), batch=True
    )
    expected = [
        tokenmeter.price(Usage(input_tokens=tokens), provider="openai", model="gpt-4o", at="2024-11-01", batch=True)
        for tokens in (1_000_000, 2_000_000)
    ]
    assert [row["cost"] for row in found.read_all().to_pylist()] == [cost.amount for cost in expected]
    with pytest.raises(ConfigurationError, match="did you mean batch"):
        tokenmeter.batch.price(table, provider="openai", model="gpt-4o", bach=True)


@pytest.mark.parametrize("given", [5, "text", {"a": 1}, [5], None])
def test_what_is_no_arrow_data_is_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="no Arrow data"):
        tokenmeter.batch.price(given)


def test_no_batches_give_no_rows() -> None:
    assert tokenmeter.batch.price(iter(())).read_all().num_rows == 0
    assert tokenmeter.batch.price(pa.Table.from_pylist([], schema=SCHEMA)).read_all().num_rows == 0


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_instants_of_any_unit_are_the_same_instants(unit: str) -> None:
    row = random_calls(1)[0] | {"at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)}
    table = pa.Table.from_pylist([row], schema=SCHEMA)
    place = table.schema.get_field_index("at")
    table = table.set_column(place, "at", table["at"].cast(pa.timestamp(unit, tz="UTC")))
    assert answered(tokenmeter.batch.price(table).read_all().to_pylist()[0]) == by_the_book(row)


@pytest.mark.parametrize("at", [None, datetime(2025, 3, 1, tzinfo=UTC), "2026-02-01"])
def test_sealed_months_are_priced_again_as_a_valuation_of_the_ledger_does(tmp_path: Path, at: Any) -> None:
    path = random_ledger(tmp_path / "spend.db", 5, 300)
    for month in ("2026-09", "2026-10", "2026-11", "2026-12"):
        close(str(path), month, Zone.named("UTC"), str(tmp_path), now=datetime(2027, 2, 1, tzinfo=UTC))
    table = pa.concat_tables([pa.parquet.read_table(one) for one in sorted(tmp_path.glob("calls-*.parquet"))])
    rates = [{"model": name, "effective": date(2025, 1, 1), "input": 3, "output": 7} for name in "ab"]
    heads = {"currency": "CNY", "timezone": "UTC"}
    book = Book.of(*({"provider": name, **heads, "rate": rates} for name in ("deepseek", "openai")))
    found = {row["id"]: row for row in tokenmeter.batch.reprice(table, at=at, book=book).read_all().to_pylist()}
    connection = open_for_reading(str(path))
    expected = {call.id: call.price(book, at) for page in stored_rows(connection) for call in map(CallRow.call, page)}
    connection.close()
    assert len(expected) > 200
    for name, cost in expected.items():
        row = found[name]
        amount = row["repriced"] if row["repriced_text"] is None else Decimal(row["repriced_text"])
        if isinstance(cost, str):
            assert (row["repriced_status"], amount) == ("unpriced", None)
        else:
            assert (row["repriced_status"], amount) == (cost.status, cost.amount)
            assert row["repriced_rate_id"] == cost.rate_id
    assert {row["repriced_status"] for row in found.values()} == {"priced", "unpriced"}
