"""Call models by all libraries for minutes, under faults, and reconcile with the provider: `python -m tests.real.soak`.

The server gives every request an id, and each unit of work sends its name. At the end the server's list and the
ledger are matched request by request: by id, or, where an answer was cut before its head and the attempt has no id,
inside the unit, which sent three requests at most. A request without an attempt is lost, one with two is doubled.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import gc
import itertools
import json
import logging
import random
import sqlite3
import sys
import threading
import time
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path
from statistics import linear_regression
from tempfile import TemporaryDirectory
from typing import Any, Final

import psutil
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from tests.rigs.counting_server import CountingServer, counting_server
from tests.rigs.ways import WAYS, Ask, Setting, Way, quick_retries
from tokenmeter import Record, Tokenmeter

__all__ = ["Result", "main", "soak"]

FAULTS: Final = (
    *("", "", "", "gzip=1", "frag=7", "drop=0", "drop=3", "err=2", "bad=1", "bad=html", "bad=null", "bad=list"),
    *("status=500", "status=429", "status=400", "fail=1", "usage=none", "delay=2", "chunks=200", "hang=0", "hang=3"),
)
PATIENCE: Final = 0.3
SETTLED: Final = 0.25
"""Share of the run after which memory should be flat: SDKs, price book and vocabularies are loaded by then."""


@dataclasses.dataclass
class Result:
    """What the reconciliation found. `slope` is MB of resident memory per hour, over the last three quarters."""

    seconds: float
    requests: int
    records: int
    attempts: int
    named_by_id: int
    matched_by_unit: int
    lost: list[str]
    doubled: list[str]
    never_arrived: int
    """Attempts that the server never saw: cancelled or refused before it."""
    metrics: dict[str, Decimal]
    sink: dict[str, Decimal]
    ledger: dict[str, Decimal]
    open_calls: int
    rss: tuple[float, float]
    slope: float
    ends: dict[str, int]
    integrity: str

    @property
    def faults(self) -> list[str]:
        """What should not be; empty if the run is whole."""
        found = [
            f"{len(names)} {what}: {names[:5]}"
            for what, names in (("lost", self.lost), ("doubled", self.doubled))
            if names
        ]
        for name, value in self.ledger.items():
            for other, sums in (("metrics", self.metrics), ("sink", self.sink)):
                if sums.get(name) != value:
                    found.append(f"{name}: ledger {value}, {other} {sums.get(name)}")
        if self.open_calls:
            found.append(f"{self.open_calls} calls still open")
        if self.integrity != "ok":
            found.append(f"integrity: {self.integrity}")
        return found


class _Sums:
    """A sink that adds up what records say."""

    def __init__(self) -> None:
        self.sums: Counter[str] = Counter()
        self._lock = threading.Lock()

    def write(self, record: Record) -> None:
        with self._lock:
            self.sums["calls"] += 1
            self.sums["attempts"] += len(record.attempts)
            if (total := record.cost.total) is not None:
                self.sums[f"cost {total.currency}"] += total.amount  # type: ignore[assignment]

    def flush(self, timeout: float) -> bool:
        return True

    def close(self, timeout: float) -> None:
        """Nothing is open."""


class _Work:
    """Units of work until the time is over: threads with blocking clients, and an event loop with tasks."""

    def __init__(self, server: CountingServer, meter: Tokenmeter, seconds: float, seed: int) -> None:
        self.server = server
        self.meter = meter
        self.end = time.monotonic() + seconds
        self.seed = seed
        self.units = itertools.count(1)
        self.ends: Counter[str] = Counter()

    def threads(self, blocking: int, tasks: int) -> list[threading.Thread]:
        made = [threading.Thread(target=self._blocking, args=(number,)) for number in range(blocking)]
        return [*made, threading.Thread(target=lambda: asyncio.run(self._async(tasks)))]

    def _unit(self, way: Way, chance: random.Random) -> tuple[str, Ask, bool]:
        unit = f"u{next(self.units)}"
        faults = chance.choice(FAULTS)
        stream = chance.random() < 0.6 if way.stream and way.whole else way.stream
        model = f"{way.model};{faults}" if faults else way.model
        prompt = f"{unit} " + "hello 价格 " * chance.randint(1, 30)
        return unit, Ask(model, prompt, stream, headers={"x-unit": unit}), "hang" in faults

    def _client(self, made: dict[tuple[str, bool], Any], way: Way, hangs: bool) -> Any:
        key = (way.name, hangs)
        if key not in made:
            setting = Setting(self.server, 0 if hangs else 2, PATIENCE if hangs else 30.0)  # type: ignore[arg-type]
            made[key] = way.make(setting)
        return made[key]

    def _blocking(self, number: int) -> None:
        chance = random.Random(self.seed * 1000 + number)
        ways = [way for way in WAYS if not way.aio and way.here]
        made: dict[tuple[str, bool], Any] = {}
        while time.monotonic() < self.end:
            way = chance.choice(ways)
            unit, ask, hangs = self._unit(way, chance)
            try:
                with self.meter.scope("unit"), self.meter.tags(unit=unit):
                    got = way.ask(self._client(made, way, hangs), ask)
                    if ask.stream:
                        self._read(got[0] if isinstance(got, tuple) else got, chance)
                self.ends["ok"] += 1
            except Exception as error:  # noqa: BLE001 faults are the purpose
                self.ends[type(error).__name__] += 1
            got = None

    @staticmethod
    def _read(stream: Any, chance: random.Random) -> None:
        how = chance.choice(("end", "end", "end", "close", "forget"))
        with stream if not hasattr(stream, "__iter__") else contextlib.nullcontext(stream) as items:
            for _ in itertools.islice(items, None if how == "end" else chance.randint(0, 4)):
                pass
            if how == "close":
                items.close()

    async def _async(self, tasks: int) -> None:
        await asyncio.gather(*(self._task(number) for number in range(tasks)))

    async def _task(self, number: int) -> None:
        chance = random.Random(self.seed * 1000 + 500 + number)
        ways = [way for way in WAYS if way.aio and way.here]
        made: dict[tuple[str, bool], Any] = {}
        while time.monotonic() < self.end:
            way = chance.choice(ways)
            unit, ask, hangs = self._unit(way, chance)
            try:
                async with asyncio.timeout(chance.choice((30, 30, 30, 0.03, 0.005))):
                    with self.meter.scope("unit"), self.meter.tags(unit=unit):
                        got = way.ask(self._client(made, way, hangs), ask)
                        got = await got if asyncio.iscoroutine(got) else got
                        if ask.stream:
                            await self._read_async(got[0] if isinstance(got, tuple) else got, chance)
                self.ends["async ok"] += 1
            except Exception as error:  # noqa: BLE001
                self.ends[f"async {type(error).__name__}"] += 1
            got = None
        gc.collect()
        for client in made.values():
            with contextlib.suppress(Exception):
                closing = (getattr(client, "close", None) or client.aclose)()
                if asyncio.iscoroutine(closing):
                    await closing

    @staticmethod
    async def _read_async(stream: Any, chance: random.Random) -> None:
        how = chance.choice(("end", "end", "end", "close", "forget"))
        most = 10**9 if how == "end" else chance.randint(1, 4)
        within = not hasattr(stream, "__aiter__")
        async with stream if within else contextlib.nullcontext(stream) as items:
            count = 0
            async for _ in items:
                count += 1
                if count >= most:
                    break
            closing = getattr(items, "close", None) or getattr(items, "aclose", None)
            if how == "close" and closing is not None:
                closed = closing()
                if asyncio.iscoroutine(closed):
                    await closed


def soak(seconds: float, *, seed: int = 1, threads: int = 3, tasks: int = 6, loud: bool = False) -> Result:
    """Work for so many seconds, then reconcile."""
    reader = InMemoryMetricReader()
    sums = _Sums()
    with quick_retries(), TemporaryDirectory() as folder, counting_server() as server:
        ledger = Path(folder) / "spend.db"
        meter = Tokenmeter(
            hosts={server.host: "openai"},
            ledger=str(ledger),
            sinks=[sums],
            tracer_provider=TracerProvider(),
            meter_provider=MeterProvider([reader]),
        )
        meter.instrument()
        try:
            work = _Work(server, meter, seconds, seed)
            rss = _watch(work.threads(threads, tasks), seconds, work, loud)
            gc.collect()
            for _ in range(50):
                if not (open_calls := _open_calls(meter)):
                    break
                time.sleep(0.1)
            meter.flush(60)
            listed = server.listed()
        finally:
            meter.uninstrument()
        result = _reconcile(ledger, listed, sums, reader)
        meter.shutdown()
    times, sizes = zip(*[one for one in rss if one[0] >= seconds * SETTLED] or rss, strict=True)
    slope = linear_regression(times, sizes).slope * 3600 if len(times) > 1 else 0.0
    return dataclasses.replace(
        result, seconds=seconds, open_calls=open_calls, rss=(rss[0][1], rss[-1][1]), slope=slope, ends=dict(work.ends)
    )


def _watch(workers: list[threading.Thread], seconds: float, work: _Work, loud: bool) -> list[tuple[float, float]]:
    """Run the threads to their end; resident memory (MB) each second."""
    this = psutil.Process()
    started = time.monotonic()
    seen: list[tuple[float, float]] = []
    for worker in workers:
        worker.start()
    while any(worker.is_alive() for worker in workers):
        time.sleep(1)
        seen.append((time.monotonic() - started, this.memory_info().rss / 1e6))
        if loud and len(seen) % 30 == 0:
            print(f"{seen[-1][0]:.0f} s: {seen[-1][1]:.0f} MB, {sum(work.ends.values())} units", flush=True)
    return seen


def _open_calls(meter: Tokenmeter) -> int:
    """Calls whose stream has not ended."""
    return len(meter._lifecycle._reading)


def _reconcile(ledger: Path, listed: list[dict[str, Any]], sums: _Sums, reader: Any) -> Result:
    connection = sqlite3.connect(ledger)
    rows = connection.execute(
        "SELECT id, attempts, tags, amount, currency, attempt_count FROM calls ORDER BY started_us"
    ).fetchall()
    integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
    connection.close()
    of_unit: dict[str, list[dict[str, Any]]] = defaultdict(list)
    in_ledger: Counter[str] = Counter()
    for _, attempts, tags, amount, currency, count in rows:
        made = json.loads(attempts or "[]")
        of_unit[json.loads(tags).get("unit", "")].extend(made)
        in_ledger["calls"] += 1
        in_ledger["attempts"] += count or 0
        if amount is not None:
            in_ledger[f"cost {currency}"] += Decimal(amount)  # type: ignore[assignment]
    requests: dict[str, list[str]] = defaultdict(list)
    for one in listed:
        requests[one["unit"] or ""].append(one["id"])
    lost: list[str] = []
    placed = named = left = 0
    for unit in {*of_unit, *requests}:
        found = _match(requests.get(unit, []), [one.get("request_id") for one in of_unit.get(unit, [])])
        lost += [f"{unit}: {name}" for name in found[0]]
        named, placed, left = named + found[1], placed + found[2], left + found[3]
    ids = Counter(one.get("request_id") for several in of_unit.values() for one in several)
    doubled = [str(name) for name, times in ids.items() if name is not None and times > 1]
    known = {one["id"] for one in listed}
    doubled += [f"{name} was never sent" for name in ids if name is not None and name not in known]
    return Result(
        seconds=0,
        requests=len(listed),
        records=len(rows),
        attempts=sum(map(len, of_unit.values())),
        named_by_id=named,
        matched_by_unit=placed,
        lost=lost,
        doubled=doubled,
        never_arrived=left,
        metrics=_metrics(reader),
        sink=_plain(sums.sums),
        ledger=_plain(in_ledger),
        open_calls=0,
        rss=(0, 0),
        slope=0,
        ends={},
        integrity=integrity,
    )


def _match(requests: list[str], attempts: list[str | None]) -> tuple[list[str], int, int, int]:
    """Match a unit's requests with its attempts: requests without one; how many by id, by unit; attempts left over."""
    named = set(requests) & set(attempts)
    unnamed = [one for one in requests if one not in named]
    headless = sum(one is None for one in attempts)
    placed = min(len(unnamed), headless)
    return unnamed[placed:], len(named), placed, headless - placed


def _metrics(reader: Any) -> dict[str, Decimal]:
    found: Counter[str] = Counter()
    data = reader.get_metrics_data()
    names = {"tokenmeter.calls": "calls", "tokenmeter.attempts": "attempts", "tokenmeter.cost": "cost"}
    for metric in (one for r in data.resource_metrics for scope in r.scope_metrics for one in scope.metrics):
        if metric.name in names:
            for point in metric.data.data_points:
                currency = point.attributes.get("tokenmeter.cost.currency") or point.attributes.get(
                    "tokenmeter.currency"
                )
                name = f"cost {currency or metric.unit}" if metric.name == "tokenmeter.cost" else names[metric.name]
                found[name] += Decimal(str(point.value))  # type: ignore[assignment]
    return _plain(found)


def _plain(sums: Counter[str]) -> dict[str, Decimal]:
    """Sums rounded to what a float of OpenTelemetry carries."""
    return {name: round(Decimal(value), 9) for name, value in sorted(sums.items())}


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1 if one is not as it should be."""
    parser = argparse.ArgumentParser(description="Call models under faults for a time, and reconcile with the server.")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=3)
    parser.add_argument("--tasks", type=int, default=6)
    asked = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    result = soak(asked.seconds, seed=asked.seed, threads=asked.threads, tasks=asked.tasks, loud=True)
    for name, value in dataclasses.asdict(result).items():
        shown = value if not isinstance(value, list) else f"{len(value)} {value[:5]}"
        print(f"{name:18} {shown}")
    print("faults:", *(result.faults or ["none"]), sep="\n  ")
    return 1 if result.faults else 0


if __name__ == "__main__":
    sys.exit(main())
