"""What rows of record batches cost: `python benchmarks/batches.py [--rows 2000000]`.

`batch.count` beside tiktoken's own encode on the same ranks and beside our counter, both in a plain loop over the same
texts, for texts of several lengths. `batch.price` in rows a second of one core, and the SQL join of `docs/batch.md` in
DuckDB, equal row by row. Last, the most memory of a process that prices and counts a stream of `--rows` rows. Times are
CPU, the least of several rounds; compare the ratios, which come from one run.
"""

from __future__ import annotations

import argparse
import random
import re
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from counting import TEXTS, bare, least

from tests.rigs.rate_join import TOKENS, call_table, export_rates, join_query, random_calls
from tokenmeter import batch
from tokenmeter.prices.book import load_book
from tokenmeter.tokens.counter import counter

FAMILIES: Final = {
    "o200k": "gpt-4o",
    "qwen": "qwen-plus",
    "deepseek-v3": "deepseek-chat",
    "cl100k": "claude-sonnet-4-5",
}
"""Vocabularies, and a model that is counted with each: the last stands in for Claude's own."""
LENGTHS: Final = ((20, 20_000), (200, 5_000), (2_000, 1_000), (20_000, 100))
"""Characters of a text, about, and how many texts."""
ROWS: Final = 100_000
BATCH: Final = 20_000


def texts(length: int, number: int) -> list[str]:
    """Parts of Chinese, English and code."""
    some = random.Random(length)
    whole = [text * (80_000 // len(text)) for text in TEXTS.values()]
    found = []
    for _ in range(number):
        text, size = some.choice(whole), some.randrange(length // 2, length * 2)
        start = some.randrange(len(text) - size)
        found.append(text[start : start + size])
    return found


def counts() -> None:
    """Counting a batch over the tokenizer alone."""
    print("batch.count: µs a text, and over a plain loop of the bare engine and of our counter")
    for family, model in FAMILIES.items():
        for length, number in LENGTHS:
            some = texts(length, number)
            encode, one = bare(family), counter(model)
            one.count("")
            given = pa.record_batch({"text": some})
            engine, ours, batches = least(
                [
                    lambda encode=encode, some=some: [len(encode(text)) for text in some],
                    lambda one=one, some=some: [one.count(text) for text in some],
                    lambda given=given, model=model: batch.count(given, model=model).read_all(),
                ],
                rounds=5,
            )
            print(
                f"  {model:18} {length:6} characters {batches / number * 1e6:8.2f} µs"
                f"  {batches / engine:5.2f}x bare  {batches / ours:5.2f}x counter"
            )


def prices() -> None:
    """Pricing in Python and by the join, equal row by row."""
    table = call_table(random_calls(load_book(), ROWS))
    sold = table.filter(pc.is_valid(batch.price(table).read_all()["cost"]))
    for name, calls in (("all names and dates", table), ("calls that have a price", sold)):
        (seconds,) = least([lambda calls=calls: batch.price(calls).read_all()], rounds=3)
        print(f"batch.price, {name}: {calls.num_rows / seconds:,.0f} rows/s")
    again = (
        sold.select(["provider", *TOKENS])
        .append_column("request_model", sold["model"])
        .append_column("ended_at", sold["at"])
    )
    (seconds,) = least([lambda: batch.reprice(again).read_all()], rounds=3)
    print(f"batch.reprice, calls that have a price: {sold.num_rows / seconds:,.0f} rows/s")
    with TemporaryDirectory() as folder, duckdb.connect() as connection:
        export_rates(Path(folder), {})
        macro, query = join_query(Path(folder))
        connection.execute("SET threads = 1")
        connection.register("given", table)
        connection.execute(f"CREATE TABLE calls AS FROM given; {macro}")
        (seconds,) = least([partial(connection.execute, f"CREATE OR REPLACE TABLE joined AS {query}")], rounds=3)
        print(f"the SQL join: {table.num_rows / seconds:,.0f} rows/s, one thread")
        joined = connection.execute("SELECT cost FROM joined ORDER BY number").fetchall()
    found = batch.price(table).read_all()["cost"].to_pylist()
    both = [(one, two) for (one,), two in zip(joined, found, strict=True) if one is not None]
    wrong, priced = sum(one != two for one, two in both), len(found) - found.count(None)
    print(f"  {len(both):,} rows have a price by the join, {priced:,} by the book; {wrong} differ")


def most_memory() -> float:
    """The most megabytes that this process had; `getrusage` would begin with those of its parent."""
    found = re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text("ascii"))
    assert found is not None
    return int(found[1]) / 1024


def stream(rows: int, kind: str) -> None:
    """Read all of an answer and say how much memory was held at most."""
    part = call_table(random_calls(load_book(), BATCH)).append_column("text", pa.array(texts(400, BATCH)))
    given = (one for _ in range(rows // BATCH) for one in part.combine_chunks().to_batches())
    texts_alone = (one.select(["text"]) for one in given)
    before = most_memory()
    began, seen = time.process_time(), 0
    ways = {
        "price": lambda: batch.price(given),
        "count": lambda: batch.count(texts_alone, model="gpt-4o"),
        "count of all models": lambda: batch.count(given),
    }
    for one in ways[kind]():
        seen += one.num_rows
    most = most_memory()
    took = time.process_time() - began
    print(f"batch.{kind}, {seen:,} rows streamed: {most:.0f} MB at most, {before:.0f} before; {took:.0f} s of CPU")


def main() -> None:
    """Print every comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the streams whose memory is measured")
    parser.add_argument("--stream", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stream:
        stream(args.rows, args.stream)
        return
    counts()
    prices()
    for kind, rows in (("price", args.rows), ("count", args.rows // 10), ("count of all models", args.rows // 10)):
        subprocess.run([sys.executable, __file__, "--rows", str(rows), "--stream", kind], check=True)


if __name__ == "__main__":
    main()
