"""Race processes, threads and tasks for three overlapping budgets, and see whether these hold.

`python tests/real/race.py --store memory|sqlite|redis --rounds 10`. Each round: 8 processes of 8 threads and 1,000
asyncio tasks in all; some calls fail, some are forgotten, some are settled again; 8 processes get SIGKILL, and others
take their place. A memory store has one process, whose threads and tasks are as many.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.rigs.budget_worker import HOLD, TEAMS, Spender, budgets, open_race_store
from tests.rigs.redis_server import redis_server
from tokenmeter.budgets.contract import BudgetStore, WindowSpend
from tokenmeter.budgets.lines import SEPARATOR, BudgetCounter

__all__ = ["Outcome", "main", "race"]

LEASE = 4.0
PATIENCE = 120.0


@dataclass
class Outcome:
    """What one round came to, in billionths of the currency."""

    limit: int
    spent: int = 0
    highest: int = 0
    """The highest spent + held that was seen while the round ran."""
    held: int = 0
    """What is held once the leases are over, in all budgets together."""
    settled: int = 0
    """What the processes' own logs say they settled."""
    doubt: int = 0
    """What calls may have cost of which the logs do not say how they ended."""
    calls: int = 0
    kills: int = 0
    seconds: float = 0.0
    teams: list[int] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def judge(self) -> Outcome:
        """Note each rule that did not hold."""
        rules = {
            "spent <= limit": self.spent <= self.limit,
            "highest spent + held <= limit": self.highest <= self.limit,
            "held = 0 after the leases": self.held == 0,
            "settled <= spent <= settled + in doubt": self.settled <= self.spent <= self.settled + self.doubt,
            "the teams' spend is the total": sum(self.teams) == self.spent,
            "no team is above its limit": all(team <= self.limit // 2 for team in self.teams),
            "something was spent": self.calls > 100,
        }
        self.faults = [rule for rule, holds in rules.items() if not holds]
        return self

    def __str__(self) -> str:
        teams = " + ".join(map(str, self.teams))
        return (
            f"limit {self.limit}, spent {self.spent} ({teams}), highest spent + held {self.highest},"
            f" held after the leases {self.held}, settled by the logs {self.settled}, in doubt {self.doubt};"
            f" {self.calls} calls, {self.kills} killed, {self.seconds:.1f} s"
            + "".join(f"\n  NOT: {fault}" for fault in self.faults)
        )


def race(
    store: str, folder: Path, address: str, *, seed: int, limit: int, processes: int, threads: int, tasks: int
) -> Outcome:
    """One round."""
    on_lost = ("bound", "nothing", "input")[seed % 3]
    found = Outcome(limit)
    began = time.monotonic()
    if store == "memory":
        spender = Spender("p", folder / "p.log", "memory", limit, on_lost, LEASE)
        with _watched(spender.enforcer.store, found):
            spender.run(processes * threads, tasks)
        seen = spender.enforcer.store
    else:
        opened = open_race_store(address)
        assert opened is not None
        seen = opened
        with _watched(seen, found):
            _run_processes(folder, address, found, seed, on_lost, processes, threads, tasks // processes)
    found.seconds = time.monotonic() - began
    time.sleep(LEASE + 0.2)
    _read_at_the_end(seen, found, on_lost)
    for log in folder.glob("*.log"):
        _read_log(log, found, on_lost)
    seen.close()
    return found.judge()


@contextlib.contextmanager
def _watched(store: BudgetStore, found: Outcome) -> Iterator[None]:
    """Look at what is spent and held all the time."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.02):
            now = store.read("all", 0, 1)
            found.highest = max(found.highest, now.spent + now.held)

    watching = threading.Thread(target=look)
    watching.start()
    try:
        yield
    finally:
        stop.set()
        watching.join()


def _run_processes(
    folder: Path, address: str, found: Outcome, seed: int, on_lost: str, processes: int, threads: int, tasks: int
) -> None:
    def start(name: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.rigs.budget_worker", name, str(folder / f"{name}.log"), address]
        more = [str(found.limit), on_lost, str(LEASE), str(threads), str(tasks)]
        return subprocess.Popen([*command, *more], cwd=Path(__file__).parents[2])

    dice = random.Random(seed)
    running = {f"p{number}": start(f"p{number}") for number in range(processes)}
    end = time.monotonic() + PATIENCE
    try:
        while any(one.poll() is None for one in running.values()):
            time.sleep(dice.random() * 0.3)
            if time.monotonic() > end:
                found.faults.append("the round did not end")
                break
            name = dice.choice(sorted(running))
            log = folder / f"{name}.log"
            if found.kills < processes and running[name].poll() is None and log.exists() and log.stat().st_size > 400:
                running[name].kill()
                running[name].wait()
                found.kills += 1
                running[f"k{found.kills}"] = start(f"k{found.kills}")
    finally:
        for one in running.values():
            if one.poll() is None:
                one.kill()
            one.wait()


def _read_at_the_end(store: BudgetStore, found: Outcome, on_lost: str) -> None:
    def read() -> dict[str, WindowSpend]:
        windows = {}
        for counter in map(BudgetCounter, budgets(found.limit, on_lost)):
            window = counter.windows.at(store.now())
            prefix = counter.budget.name + (SEPARATOR if counter.budget.each else "")
            for name in store.series(prefix):
                windows[name] = store.read(name, window.bucket, window.span)
        return windows

    for _ in range(200):  # each sweeps a hundred calls at most
        last = read()
        if not any(one.held for one in last.values()):
            break
    found.held = sum(one.held for one in last.values())
    found.spent = last["all"].spent
    found.teams = [last[f"team{SEPARATOR}{team}"].spent for team in range(TEAMS)]


def _read_log(log: Path, found: Outcome, on_lost: str) -> None:
    """A call that was asked for and whose end is not there may have cost what it would be charged as lost."""
    open_calls: dict[str, int] = {}
    vanished = 0 if on_lost == "nothing" else HOLD
    for line in log.read_text("utf-8").splitlines():
        kind, call, *amount = line.split()
        if kind == "A":
            open_calls[call] = vanished
            found.calls += 1
        elif kind == "P":
            open_calls[call] = max(vanished, int(amount[0]))
        else:
            open_calls.pop(call, None)
            found.settled += int(amount[0]) if kind == "S" else 0
    found.doubt += sum(open_calls.values())


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=("memory", "sqlite", "redis"), required=True)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--limit", type=int, default=3_000_000, help="of all spend, in billionths; a call holds 1,000")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--tasks", type=int, default=1_000)
    given = parser.parse_args(arguments)
    size = {"limit": given.limit, "processes": given.processes, "threads": given.threads, "tasks": given.tasks}
    faults = 0
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(redis_server()) if given.store == "redis" else None
        for number in range(given.rounds):
            with TemporaryDirectory(prefix="tokenmeter-race-") as folder:
                address = f"sqlite:{folder}/budgets.db"
                if server is not None:
                    address = f"{server.url}?namespace=round{number}"
                found = race(given.store, Path(folder), address, seed=number, **size)
            print(f"{given.store} round {number + 1}: {found}", flush=True)
            faults += len(found.faults)
    print("all held" if not faults else f"{faults} rules did not hold")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
