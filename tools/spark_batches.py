"""Prices the same calls by Spark (`mapInArrow` on local[2]), by DuckDB and one by one by the book: all must be equal.

    make test-spark                         # a million calls
    make test-spark ARGS="--rows 50000"

Spark needs Java; it runs on 127.0.0.1 without its web page, and its session takes up to 80 s to start.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tokenmeter import batch
from tokenmeter.money import EXACT, plain
from tokenmeter.prices.book import load_book
from tokenmeter.usage import Usage

MODELS = (
    ("deepseek", "deepseek-chat"), ("openai", "gpt-4o"), ("openai", "gpt-4o-mini"), ("alibaba", "qwen-max"),
    ("anthropic", "claude-sonnet-4-5"), ("google", "gemini-2.5-pro"), ("zhipu", "glm-4.6"), ("openai", "no such model"),
)  # fmt: skip
TOKENS = ("input_tokens", "output_tokens", "cache_read_input_tokens")
SCHEMA = pa.schema(
    [
        ("id", pa.int64()), ("provider", pa.string()), ("request_model", pa.string()), ("model", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")), ("ended_at", pa.timestamp("us", tz="UTC")), ("currency", pa.string()),
        *((name, pa.int64()) for name in TOKENS),
    ]
)  # fmt: skip
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST, LAST = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1e6) for year in (2024, 2027))
AGAIN = "2025-06-01T00:00:00+00:00"
RESULTS = "{0} DECIMAL(38,12), {0}_text STRING, " + ", ".join(
    f"{{0}}_{name} STRING"
    for name in ("currency", "status", "rate_id", "confidence", "book", "flags", "reason", "source")
)
Sums = dict[tuple[str, ...], tuple[int, Decimal]]


def written(folder: Path, rows: int) -> str:
    """Calls of random models, instants and tokens, as one Parquet file."""
    some = random.Random(rows)
    path = folder / "calls.parquet"
    with pq.ParquetWriter(path, SCHEMA) as writer:
        for start in range(0, rows, 50_000):
            writer.write_batch(pa.RecordBatch.from_pylist(list(_calls(some, start, min(start + 50_000, rows))), SCHEMA))
    return str(path)


def _calls(some: random.Random, first: int, last: int) -> Iterator[dict[str, Any]]:
    for number in range(first, last):
        provider, model = some.choice(MODELS)
        at = EPOCH + timedelta(microseconds=some.randrange(FIRST, LAST))
        total = some.randrange(300_000)
        yield {
            "id": number, "provider": provider, "request_model": model, "model": model, "at": at, "ended_at": at,
            "currency": None, "input_tokens": total, "output_tokens": some.randrange(9_000),
            "cache_read_input_tokens": some.choice((None, 0, some.randrange(total + 1))),
        }  # fmt: skip


def by_spark(path: str, name: str) -> Sums:
    """The sums of `price` or `reprice` in Spark."""
    from pyspark.sql import SparkSession

    for variable in ("PYSPARK_PYTHON", "PYSPARK_DRIVER_PYTHON"):
        os.environ[variable] = sys.executable
    os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", "20000")
        .getOrCreate()
    )
    frame = spark.read.parquet(path)
    columns = ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in frame.schema)
    column = {"price": "cost", "reprice": "repriced"}[name]
    answer = frame.mapInArrow(priced if name == "price" else repriced, f"{columns}, {RESULTS.format(column)}")
    keys = ("provider", f"{column}_currency", f"{column}_status", f"{column}_rate_id")
    rows = answer.groupBy(*keys).agg({"id": "count", column: "sum"}).collect()
    return {tuple(map(str, row[:4])): (row["count(id)"], row[f"sum({column})"] or Decimal(0)) for row in rows}


def priced(batches: Iterable[Any]) -> Iterator[Any]:
    """What a Spark worker does with its batches."""
    yield from batch.price(batches)


def repriced(batches: Iterable[Any]) -> Iterator[Any]:
    """The same, at one instant for all calls."""
    yield from batch.reprice(batches, at=AGAIN)


def by_duckdb(path: str, name: str) -> Sums:
    """The sums of `price` or `reprice` over what DuckDB reads, added up by DuckDB."""
    column = {"price": "cost", "reprice": "repriced"}[name]
    with duckdb.connect() as source, duckdb.connect() as target:
        relation = source.read_parquet(path)
        reader = batch.price(relation) if name == "price" else batch.reprice(relation, at=AGAIN)
        target.register("answer", reader)
        query = (
            f"SELECT provider, {column}_currency, {column}_status, {column}_rate_id, count(*), "  # noqa: S608
            f"coalesce(sum({column}), 0) FROM answer GROUP BY ALL"
        )
        return {tuple(map(str, row[:4])): (row[4], row[5]) for row in target.execute(query).fetchall()}


def by_the_book(path: str, name: str) -> Sums:
    """The sums of `Book.price`, call by call."""
    book = load_book()
    sums: Sums = defaultdict(lambda: (0, Decimal(0)))
    for part in pq.ParquetFile(path).iter_batches(20_000):
        for row in part.to_pylist():
            usage = Usage(**{token: row[token] for token in TOKENS})
            at = row["at"] if name == "price" else AGAIN
            cost = book.price(usage, provider=row["provider"], model=row["model"], at=at)
            currency = None if cost.amount is None else cost.currency
            key = tuple(map(str, (row["provider"], currency, cost.status, cost.rate_id)))
            calls, amount = sums[key]
            sums[key] = calls + 1, EXACT.add(amount, cost.amount or Decimal(0))
    return dict(sums)


def main() -> int:
    """1 where the answers differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    args = parser.parse_args()
    status = 0
    with TemporaryDirectory() as folder:
        path = written(Path(folder), args.rows)
        for name in ("price", "reprice"):
            found: dict[str, Any] = {}
            for engine, ask in (("spark", by_spark), ("duckdb", by_duckdb), ("book", by_the_book)):
                start = time.perf_counter()
                sums = ask(path, name)
                found[engine] = {key: (calls, plain(amount)) for key, (calls, amount) in sums.items()}
                took = time.perf_counter() - start
                print(f"{name} of {args.rows:,} calls by {engine}: {took:.1f} s, {len(sums)} groups")
            for engine in ("spark", "duckdb"):
                if found[engine] != found["book"]:
                    status = 1
                    both = found[engine].items() ^ found["book"].items()
                    print(f"{engine} differs from the book: {json.dumps(sorted(map(str, both))[:10], indent=1)}")
    print("not equal" if status else "equal to the last digit")
    return status


if __name__ == "__main__":
    sys.exit(main())
