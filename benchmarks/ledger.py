"""What the ledger costs: `python benchmarks/ledger.py [--records 20000]`.

On the caller's thread: `Ledger.write` beside what else could be done there (a `queue.Queue`, an insert and commit of
one's own). On the writer's: records a second, beside the bare `executemany` of the same rows. And a report over the
file, beside SQLite's own floating-point sums of the same groups. All in one run, so that ratios compare.
"""

from __future__ import annotations

import argparse
import gc
import queue
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.rows import insert, row
from tokenmeter.ledger.schema import open_for_writing
from tokenmeter.ledger.writer import COMMIT_RECORDS, Ledger
from tokenmeter.prices.book import load_book
from tokenmeter.record import End, Record
from tokenmeter.usage import Usage

BOOK = load_book()
TEAMS = ("search", "ads", "搜索", "batch")


def price(record: Record) -> Any:
    return BOOK.price(record.usage, provider="deepseek", model="deepseek-chat", at=record.ended_at)


def made(number: int) -> Record:
    ended = time.time_ns() - number * 1_000_000_000
    return Record(
        id=f"{number:032x}", provider="deepseek", otel_provider="deepseek", api="openai.chat", operation="chat",
        request_model="deepseek-chat", response_model="deepseek-chat", host="api.deepseek.com", port=443,
        started_ns=ended - 1_500_000_000, ended_ns=ended, end=End.COMPLETE, stream=True, time_to_first_chunk=0.4,
        usage=Usage(input_tokens=1200 + number % 500, output_tokens=90, cache_read_input_tokens=800),
        usage_raw={"prompt_tokens": 1200, "completion_tokens": 90, "total_tokens": 1290},
        tags={"team": TEAMS[number % 4], "user": f"u{number % 50}"}, scope=("nightly", "answer"), pricer=price,
    )  # fmt: skip


def each(take: Callable[[Any], object], items: list[Any], pause: float) -> list[int]:
    """Nanoseconds of each `take`, with pauses in which background threads get their turn."""
    took = []
    for item in items:
        start = time.perf_counter_ns()
        take(item)
        took.append(time.perf_counter_ns() - start)
        if pause:
            time.sleep(pause)
    return took


def line(name: str, took: list[int], base: float | None) -> float:
    median = statistics.median(took) / 1000
    late = sorted(took)[int(len(took) * 0.99)] / 1000
    ratio = "" if base is None else f"  {median / base:8.2f} x write"
    print(f"  {name:<46} {median:9.2f} µs median {late:9.1f} µs p99{ratio}")
    return median


def caller(folder: Path, count: int) -> None:
    print(f"on the caller's thread, {count} records, one every millisecond")
    ledger = Ledger(folder / "caller.db")
    records = [made(number) for number in range(count)]
    ledger.write(made(count))
    ledger.flush()
    base = line("Ledger.write", each(ledger.write, records, 0.001), None)
    ledger.close()
    line("queue.Queue.put (nobody listening)", each(queue.Queue().put, records, 0.001), base)
    connection = open_for_writing(str(folder / "direct.db"))

    def direct(record: Record) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(insert(1), row(record))
        connection.execute("COMMIT")

    fresh = [made(number) for number in range(count)]
    line("row, insert and commit by oneself", each(direct, fresh, 0.001), base)
    connection.close()


def writer(folder: Path, count: int) -> Path:
    print(f"on the writer's thread, {count} records at once")
    path = folder / "writer.db"
    ledger = Ledger(path, queue_size=count + 1)
    ledger.write(made(count))
    ledger.flush()
    records = [made(number) for number in range(count)]
    gc.collect()
    start = time.perf_counter()
    burst = each(ledger.write, records, 0)
    ledger.flush(600)
    took = time.perf_counter() - start
    line("Ledger.write in a burst", burst, None)
    print(f"  {'priced, serialised and committed':<46} {count / took:9,.0f} records/s")
    ledger.close()
    start = time.perf_counter()
    rows = [row(made(number)) for number in range(count)]
    making = time.perf_counter() - start
    connection = open_for_writing(str(folder / "bare.db"))
    start = time.perf_counter()
    for first in range(0, count, COMMIT_RECORDS):
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany(insert(1), rows[first : first + COMMIT_RECORDS])
        connection.execute("COMMIT")
    bare = time.perf_counter() - start
    connection.close()
    print(
        f"  {'bare executemany of ready rows':<46} {count / bare:9,.0f} records/s  (ledger takes {took / bare:.1f} x)"
    )
    print(f"  {'making a record, its price and its row':<46} {making / count * 1e6:9.1f} µs each")
    print(f"  {'file':<46} {path.stat().st_size / (count + 1):9.0f} bytes a record")
    return path


def report(path: Path) -> None:
    zone = Zone.named("Asia/Shanghai")
    with sqlite3.connect(path) as connection:
        count = connection.execute("SELECT count(*) FROM calls").fetchone()[0]
    print(f"report over {count} records")
    base = None
    for by in (("model",), ("model", "team"), ("day", "team")):
        start = time.perf_counter()
        ask(str(path), Question(by=by, zone=zone, since=datetime(2000, 1, 1, tzinfo=UTC)))
        took = time.perf_counter() - start
        print(f"  {'by ' + ','.join(by):<46} {count / took:9,.0f} records/s")
        base = base or took
    with sqlite3.connect(path) as connection:
        start = time.perf_counter()
        connection.execute(
            "SELECT model, currency, usage_source, count(*), sum(amount), sum(input_tokens), sum(output_tokens) "
            "FROM calls GROUP BY 1, 2, 3"
        ).fetchall()
        inexact = time.perf_counter() - start
    name = "SQLite alone, inexact, by model"
    print(f"  {name:<46} {count / inexact:9,.0f} records/s  (ours takes {(base or 0) / inexact:.1f} x)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=20_000)
    count = parser.parse_args().records
    with tempfile.TemporaryDirectory() as name:
        caller(Path(name), min(count, 2_000))
        report(writer(Path(name), count))


if __name__ == "__main__":
    main()
