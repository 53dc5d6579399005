"""Measure what budgets cost a call, store by store: `python benchmarks/budgets.py [--rounds 30]`.

Stores take turns in short batches, so that a busy machine weighs on all of them; times are in µs, wall and CPU, the
median and the best batch. Redis is compared with its own PING, measured in turn with it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.rigs.budget_calls import bound_of, enforcer, facts
from tests.rigs.redis_server import redis_server
from tokenmeter import Budget, Tokenmeter
from tokenmeter.budgets.contract import BudgetAsk, BudgetCharge, BudgetStore
from tokenmeter.budgets.memory_store import MemoryBudgetStore
from tokenmeter.budgets.redis_store import RedisBudgetStore
from tokenmeter.budgets.request_size import most_input
from tokenmeter.budgets.sqlite_store import SqliteBudgetStore

NEVER = 1 << 60
LIMIT = 2**53 - 1
_numbers = itertools.count()


class Series:
    """Batches of one measurement: seconds of wall and CPU for each operation."""

    def __init__(self, name: str, act: Callable[[], object], each: int) -> None:
        self.name, self.act, self.each = name, act, each
        self.wall: list[float] = []
        self.cpu: list[float] = []
        self.single: list[float] = []

    def batch(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(self.each):
            began = time.perf_counter()
            self.act()
            self.single.append(time.perf_counter() - began)
        self.wall.append((time.perf_counter() - wall) / self.each)
        self.cpu.append((time.process_time() - cpu) / self.each)

    def line(self) -> str:
        wall, cpu = statistics.median(self.wall), statistics.median(self.cpu)
        ordered = sorted(self.single)
        p99 = ordered[int(len(ordered) * 0.99)]
        return (
            f"{self.name:44} {wall * 1e6:9.1f} {min(self.wall) * 1e6:9.1f} {cpu * 1e6:9.1f} {min(self.cpu) * 1e6:9.1f}"
            f" {p99 * 1e6:9.1f}"
        )


def asks(budgets: int) -> list[BudgetAsk]:
    return [BudgetAsk(f"b{one}", 0, 1, 0, NEVER, NEVER, LIMIT, 10, 3) for one in range(budgets)]


def pair(store: BudgetStore, budgets: int) -> Callable[[], object]:
    asked = asks(budgets)
    charges = [BudgetCharge(one.series, 0, 1, NEVER, 7) for one in asked]

    def act() -> None:
        call = f"call {next(_numbers)}"
        assert store.reserve(call, asked, 600) is None
        store.settle(call, charges)

    return act


def redis_series(store: RedisBudgetStore, each: int) -> list[Series]:
    asked = asks(1)
    charges = [BudgetCharge("b0", 0, 1, NEVER, 7)]
    held: list[str] = []

    def reserve() -> None:
        held.append(f"call {next(_numbers)}")
        store.reserve(held[-1], asked, 600)

    return [
        Series("redis PING", store._client.ping, each),
        Series("redis reserve", reserve, each),
        Series("redis settle", lambda: store.settle(held.pop(), charges), each),
    ]


def pairs_per_second(store: BudgetStore, threads: int, seconds: float = 1.5) -> float:
    done = [0] * threads
    stop = time.monotonic() + seconds

    def run(place: int) -> None:
        act = pair(store, 1)
        while time.monotonic() < stop:
            act()
            done[place] += 1

    running = [threading.Thread(target=run, args=(place,)) for place in range(threads)]
    began = time.monotonic()
    for one in running:
        one.start()
    for one in running:
        one.join()
    return sum(done) / (time.monotonic() - began)


def bounds() -> list[Series]:
    body = {"model": "deepseek-chat", "max_tokens": 100, "messages": [{"role": "user", "content": "word " * 390}]}
    assert 1_900 < len(json.dumps(body)) < 2_200
    meter = Tokenmeter(budgets=[Budget("1000 CNY", name="b")], spans="none")
    built = meter._gate.enforcer
    assert built is not None
    asked = facts(body=body)
    lines = built.lines
    lines._bound(asked, True)  # loads the vocabulary
    other = enforcer(Budget("1 CNY", name="b", where={"team": "search"}), bound=bound_of("0.1"))
    return [
        Series("ask that no budget is for", lambda: other.admit(asked), 2_000),
        Series("walk of a 2 KB body", lambda: most_input(body, frozenset()), 500),
        Series("cheap bound of a 2 KB body", lambda: lines._bound(asked, False), 200),
        Series("counted bound of a 2 KB body", lambda: lines._bound(asked, True), 20),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="tokenmeter-bench-"))
        server = stack.enter_context(redis_server())
        memory = MemoryBudgetStore()
        sqlite = SqliteBudgetStore(Path(folder) / "b.db", deadline=10)
        full = SqliteBudgetStore(Path(folder) / "full.db", deadline=10)
        full._connection().execute("PRAGMA synchronous = FULL")
        redis = RedisBudgetStore(server.url, deadline=10)
        rows = bounds()
        for budgets in (1, 3):
            rows.append(Series(f"memory reserve + settle, {budgets} budgets", pair(memory, budgets), 500))
            rows.append(Series(f"sqlite reserve + settle, {budgets} budgets", pair(sqlite, budgets), 50))
            rows.append(Series(f"sqlite FULL reserve + settle, {budgets} budgets", pair(full, budgets), 10))
            rows.append(Series(f"redis reserve + settle, {budgets} budgets", pair(redis, budgets), 25))
        rows.extend(redis_series(redis, 25))
        for _ in range(given.rounds):
            for row in rows:
                row.batch()
        print(f"{'µs an operation':44} {'wall p50':>9} {'best':>9} {'CPU p50':>9} {'best':>9} {'wall p99':>9}")
        for row in rows:
            print(row.line())
        ping, reserve, settle = rows[-3:]
        for row in (reserve, settle):
            ratios = [one / other for one, other in zip(row.wall, ping.wall, strict=True)]
            print(
                f"{row.name} / PING: median {statistics.median(ratios):.2f}, best {min(row.wall) / min(ping.wall):.2f}"
            )
        for threads in (1, 4, 16):
            print(f"redis pairs a second, {threads} threads: {pairs_per_second(redis, threads):,.0f}")


if __name__ == "__main__":
    main()
