"""What the ledger costs: `python benchmarks/ledger.py [--records 200000] [--keep FOLDER]`.

Records of a made-up team (nine models, two currencies, teams, 20,000 users) go through the product's own classes. On
the caller's thread: `Ledger.write` beside what else could be done there. On the writer's: price, row and insert apart,
records a second, one writer beside four, and bytes. Then every command over the file, each in a process of its own:
CPU, wall time and the most memory; the roll-up's answers against those of the rows; and the migration of a file of the
first schema. All in one run, so that ratios compare. With `--keep` the files stay for another run of the commands.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import queue
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from tests.rigs.wide_ledger import made_wide
from tokenmeter.ledger.file import LedgerFile
from tokenmeter.ledger.report import query
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question
from tokenmeter.ledger.report.render import as_json
from tokenmeter.ledger.report.sum_sources import ROWS
from tokenmeter.ledger.rows import row
from tokenmeter.ledger.writer import COMMIT_RECORDS, Ledger
from tokenmeter.prices.book import load_book
from tokenmeter.record import Attempt, End, Record
from tokenmeter.usage import Usage

BOOK = load_book()
TEAMS: Final = ("search", "ads", "搜索", "batch")
MODELS: Final = (
    ("deepseek", "deepseek-chat"), ("deepseek", "deepseek-reasoner"), ("dashscope", "qwen-max"),
    ("dashscope", "qwen-plus"), ("zhipu", "glm-4.6"), ("moonshot", "kimi-k2-0905-preview"), ("openai", "gpt-4o"),
    ("openai", "gpt-4o-mini"), ("anthropic", "claude-sonnet-4-5"),
)  # fmt: skip
DAYS: Final = 60
WRITERS: Final = 4
WIDE_MOST: Final = 1_000_000
"""Calls that are migrated: the first schema's file of five million would be 7 GB."""


def price(record: Record) -> Any:
    return BOOK.price(
        record.usage, provider=record.provider or "", model=record.request_model or "", at=record.ended_at
    )


def made(chance: random.Random, number: int, count: int) -> Record:
    """One of so many records, spread over the days up to today."""
    ended = (int(time.time()) - DAYS * 86_400) * 10**9 + DAYS * 86_400 * 10**9 * number // count
    ended += chance.randrange(1000)
    provider, model = chance.choice(MODELS)
    read, written = chance.randrange(200, 4000), chance.randrange(10, 900)
    cached, took = chance.randrange(0, read), chance.randrange(3 * 10**8, 9 * 10**9)
    stream = bool(number % 2)
    return Record(
        id=f"{ended // 10**6:012x}7{chance.getrandbits(76):019x}", provider=provider,
        otel_provider=provider, api="openai.chat", operation="chat", request_model=model, response_model=model,
        host=f"api.{provider}.com", port=443,
        started_ns=ended - took, ended_ns=ended, end=End.COMPLETE, stream=stream,
        time_to_first_chunk=chance.random() if stream else None,
        usage=Usage(input_tokens=read, output_tokens=written, cache_read_input_tokens=cached),
        usage_raw={"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written,
                   "prompt_tokens_details": {"cached_tokens": cached}},
        attempts=(Attempt(200, None, ended - took + 10**6, took - 2 * 10**6, f"req-{chance.getrandbits(96):024x}",
                          usage=True),),
        tags={"team": TEAMS[number % 4], "user": f"u{chance.randrange(20_000)}"}, scope=("nightly", "answer"),
        status_code=200, finish_reasons=("stop",), response_id=f"chatcmpl-{chance.getrandbits(96):024x}",
        trace_id=f"{chance.getrandbits(128):032x}", span_id=f"{chance.getrandbits(64):016x}", pricer=price,
    )  # fmt: skip


def each(take: Callable[[Any], object], items: list[Any]) -> list[int]:
    """Nanoseconds of each `take`, with pauses in which background threads get their turn."""
    took = []
    for item in items:
        start = time.perf_counter_ns()
        take(item)
        took.append(time.perf_counter_ns() - start)
        time.sleep(0.001)
    return took


def line(name: str, took: list[int], base: float | None) -> float:
    median = statistics.median(took) / 1000
    late = sorted(took)[int(len(took) * 0.99)] / 1000
    ratio = "" if base is None else f"  {median / base:8.2f} x write"
    print(f"  {name:<46} {median:9.2f} µs median {late:9.1f} µs p99{ratio}", flush=True)
    return median


def caller(folder: Path, count: int) -> None:
    print(f"on the caller's thread, {count} records, one every millisecond")
    chance = random.Random(1)
    records = [made(chance, number, count) for number in range(count)]
    ledger = Ledger(folder / "caller.db")
    ledger.write(made(chance, 0, count))
    ledger.flush()
    base = line("Ledger.write", each(ledger.write, records), None)
    ledger.close()
    line("queue.Queue.put (nobody listening)", each(queue.Queue().put, records), base)
    direct = LedgerFile(str(folder / "direct.db"))
    fresh = [made(chance, number, count) for number in range(count)]
    line("row, insert and commit by oneself", each(lambda record: direct.write([row(record)]), fresh), base)
    direct.let_go()


def batches(seed: int, count: int) -> Iterator[list[Record]]:
    chance = random.Random(seed)
    for at in range(0, count, COMMIT_RECORDS):
        yield [made(chance, number, count) for number in range(at, min(at + COMMIT_RECORDS, count))]


def write(path: Path, seed: int, count: int, *, loud: bool = False) -> float:
    """CPU seconds of the writer's work, apart from making the records."""
    file, prices, rows, inserts, since = LedgerFile(str(path)), 0.0, 0.0, 0.0, 0.0
    for number, records in enumerate(batches(seed, count), 1):
        start = time.process_time()
        for one in records:
            _ = one.cost
        priced = time.process_time()
        ready = [row(one) for one in records]
        made_rows = time.process_time()
        while file.write(ready) is None:  # another writer holds the file
            time.sleep(0.002)
        prices, rows = prices + priced - start, rows + made_rows - priced
        inserts += time.process_time() - made_rows
        done = number * COMMIT_RECORDS
        if loud and done % max(count // 10, COMMIT_RECORDS) == 0:
            spent = prices + rows + inserts
            print(
                f"  {done:>9,} records: price {prices / done * 1e6:5.1f}, row {rows / done * 1e6:5.1f}, insert "
                f"{inserts / done * 1e6:5.1f} µs CPU each; the last tenth {(spent - since) / (count / 10) * 1e6:5.1f}",
                flush=True,
            )
            since = spent
    file.let_go()
    return prices + rows + inserts


def writer(folder: Path, count: int) -> Path:
    print(f"on the writer's thread, {count:,} records")
    path = folder / "spend.db"
    spent = write(path, 1, count, loud=True)
    print(f"  all in {spent / count * 1e6:.1f} µs CPU a record, {path.stat().st_size / count:.0f} bytes a record")
    return path


def together(folder: Path, count: int) -> None:
    """Records a second of one process by `Ledger`, and of four that write one file."""
    for writers in (1, WRITERS):
        path = folder / f"together{writers}.db"
        processes = [
            multiprocessing.Process(target=_through_ledger, args=(path, seed, count // writers))
            for seed in range(writers)
        ]
        start = time.perf_counter()
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        took = time.perf_counter() - start
        print(f"  {writers} processes, {count:,} records, made and written: {count / took:,.0f} records/s", flush=True)


def _through_ledger(path: Path, seed: int, count: int) -> None:
    ledger = Ledger(path)
    for records in batches(seed, count):
        for one in records:
            ledger.write(one)
    ledger.close(600)


COMMANDS: Final = (
    ("report, one key", "report {ledger} --by model --json --tz UTC"),
    ("report by day, tag and model", "report {ledger} --by day,team,model --json --tz UTC"),
    ("the same from the rows", "report {ledger} --by day,team,model --json --tz Asia/Kolkata"),
    ("report of 7 days", "report {ledger} --by model --since 7d --json --tz UTC"),
    ("top 20 users", "report {ledger} --by user --top 20 --json --tz UTC"),
    ("p95 by model", "report {ledger} --by model --stat p50,p95 --json --tz UTC"),
    ("FOCUS", "report {ledger} --format focus --output {folder}/focus.csv"),
    ("page", "report {ledger} --format html --output {folder}/page.html"),
    ("ledger verify", "ledger verify {ledger}"),
    ("compare", "compare {ledger} --models deepseek/deepseek-chat,dashscope/qwen-plus"),
    ("reprice", "reprice {ledger} --at-time-of-call --name bench --replace"),
    ("ledger migrate", "ledger migrate {wide} --to {folder}/migrated.db"),
)


def command(folder: Path, path: Path, text: str, count: int) -> str:
    """Run one command; its CPU, wall time and memory."""
    arguments = text.format(ledger=path, folder=folder, wide=folder / "wide.db").split()
    code = (
        "import sys, json, resource; from tokenmeter.cli import main; status = main(sys.argv[1:]);"
        "used = resource.getrusage(resource.RUSAGE_SELF);"
        "most = [line.split()[1] for line in open('/proc/self/status') if 'VmHWM' in line];"  # rusage has the parent's
        "print(json.dumps([status, used.ru_utime + used.ru_stime, int(most[0])]), file=sys.stderr)"
    )
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False,
        env={**os.environ, "TZ": "UTC"},
    )  # fmt: skip
    wall = time.perf_counter() - start
    try:
        status, cpu, memory = json.loads(done.stderr.strip().splitlines()[-1])
    except (IndexError, ValueError):
        return f"failed: {done.stderr.strip()[-200:]}"
    note = f"  exit {status}: {done.stderr.strip().splitlines()[0][:80]}" if status else ""
    return f"{cpu:8.2f} s CPU {wall:8.2f} s wall {cpu / count * 1e6:7.2f} µs a call {memory / 1024:6.0f} MB{note}"


def commands(folder: Path, path: Path, count: int, chosen: str | None) -> None:
    print(f"commands over {count:,} calls, each in a process of its own")
    if not (folder / "wide.db").exists():
        made_wide(path, folder / "wide.db", most=WIDE_MOST)
        size = (folder / "wide.db").stat().st_size / min(count, WIDE_MOST)
        print(f"  (the first {WIDE_MOST:,} in the first schema: {size:.0f} bytes a record)")
    for name, text in COMMANDS:
        if chosen is None or chosen in name:
            calls = min(count, WIDE_MOST) if "{wide}" in text else count
            print(f"  {name:<30} {command(folder, path, text, calls)}", flush=True)


def same_answers(path: Path) -> None:
    """The roll-up and the rows, to the last digit."""
    real = query.source_of
    for by in ((), ("model",), ("day", "team", "model"), ("month", "source", "currency")):
        question = Question(by=by, zone=Zone.named("UTC"))
        rolled = query.ask(str(path), question)
        query.source_of = lambda *_: ROWS
        row_by_row = query.ask(str(path), question)
        query.source_of = real
        equal = as_json(rolled) | {"source": None} == as_json(row_by_row) | {"source": None}
        names = f"{rolled.source} and {row_by_row.source}"
        print(f"  {'by ' + (','.join(by) or 'nothing'):<30} {names}: {'equal' if equal else 'NOT EQUAL'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="where the files stay; those there are used")
    parser.add_argument("--only", metavar="COMMAND", help="measure only this command over the files of --keep")
    asked = parser.parse_args()
    os.environ["TZ"] = "UTC"
    time.tzset()
    gc.freeze()
    with tempfile.TemporaryDirectory() as name:
        folder = asked.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "spend.db"
        if not path.exists():
            caller(folder, min(asked.records, 2_000))
            writer(folder, asked.records)
            together(folder, min(asked.records, 100_000))
        commands(folder, path, asked.records, asked.only)
        if asked.only is None:
            same_answers(path)
    print(f"most memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
