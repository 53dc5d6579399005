"""End processes that write one ledger at random moments, and see what it lacks: `python -m tests.real.kill`.

Each round starts four processes that call a model and say so to this one as soon as a call is over for them. Then each
gets SIGKILL, or SIGTERM in every other round. A call that was over for longer than the window must be in the ledger.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import signal
import sqlite3
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tests.rigs.counting_server import CountingServer, counting_server
from tests.rigs.ways import TLS

__all__ = ["Deaths", "kill_rounds", "main"]

PROCESSES: Final = 4
SIGNALS: Final = (signal.SIGKILL, signal.SIGTERM)


@dataclass
class Deaths:
    """What the ledger lacks after processes were ended. Ages are seconds from a call's end to the signal."""

    finished: Counter[str] = field(default_factory=Counter)
    lost: dict[str, list[float]] = field(default_factory=lambda: {one.name: [] for one in SIGNALS})
    rows: int = 0
    doubled: int = 0
    unknown: int = 0
    """Rows that name a request which the server never received."""
    integrity: str = ""

    def too_old(self, window: float) -> int:
        """Lost calls that were over for longer than the window when the signal came."""
        return sum(age > window for ages in self.lost.values() for age in ages)

    def lines(self, window: float) -> list[str]:
        """The figures for people."""
        found = [f"rows {self.rows}, doubled {self.doubled}, unknown {self.unknown}, integrity {self.integrity}"]
        for name, ages in self.lost.items():
            lost, oldest, old = len(ages), max(ages, default=0), sum(age > window for age in ages)
            found.append(
                f"{name}: {lost} of {self.finished[name]} finished calls lost, oldest {oldest:.2f} s,"
                f" older than {window} s: {old}"
            )
        return found


def kill_rounds(rounds: int, *, seed: int = 1, longest: float = 1.0, window: float = 0.2, loud: bool = False) -> Deaths:
    """Run the rounds on one ledger; a round lasts at most `longest` seconds after its processes are up."""
    logging.disable(logging.CRITICAL)
    chance = random.Random(seed)
    over: dict[str, tuple[str, float]] = {}
    deaths = Deaths()
    with TemporaryDirectory() as folder, counting_server() as server:
        ledger = Path(folder) / "spend.db"
        _load_sdk(server)
        for number in range(rounds):
            kind = SIGNALS[number % len(SIGNALS)]
            over.update(_round(server, ledger, kind, chance, longest))
            if loud and number % 20 == 19:
                print(
                    f"round {number + 1}:", *_read(ledger, over, server, Deaths()).lines(window), sep="\n  ", flush=True
                )
        return _read(ledger, over, server, deaths)


def _round(
    server: CountingServer, ledger: Path, kind: signal.Signals, chance: random.Random, longest: float
) -> dict[str, tuple[str, float]]:
    """One round: request ids of calls that were over, with the signal and their age when it came."""
    running: list[tuple[int, Any]] = []
    for _ in range(PROCESSES):
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reading)
            _call_until_killed(server, ledger, writing)
        os.close(writing)
        running.append((pid, os.fdopen(reading)))
    first = {pid: said.readline() for pid, said in running}  # a process that has made no call loses none
    time.sleep(chance.uniform(0, longest))
    died: dict[int, float] = {}
    for pid, _ in chance.sample(running, len(running)):
        died[pid] = time.time()
        os.kill(pid, kind)
        time.sleep(chance.uniform(0, 0.05))
    found: dict[str, tuple[str, float]] = {}
    for pid, said in running:
        with said:
            for line in [first[pid], *said.read().splitlines()]:
                name, _, at = line.strip().partition(" ")
                if at.endswith(";"):
                    found[name] = (kind.name, died[pid] - float(at[:-1]))
        os.waitpid(pid, 0)
    return found


def _load_sdk(server: CountingServer) -> None:
    """Call once, unmetered: the processes are forks, and none spends its life on loading the SDK."""
    import openai

    with openai.OpenAI(base_url=server.url("openai"), api_key="any") as client:
        client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "first"}])
    TLS()


def _call_until_killed(server: CountingServer, ledger: Path, out: int) -> None:
    """Child process: make calls, and say which are over and when. Does not return."""
    try:
        import openai

        import tokenmeter

        tokenmeter.configure(hosts={server.host: "openai"}, ledger=str(ledger), spans="none")
        tokenmeter.instrument()
        wire = openai.DefaultHttpxClient(verify=TLS())
        client = openai.OpenAI(base_url=server.url("openai"), api_key="any", max_retries=0, http_client=wire)
        while True:
            raw = client.chat.completions.with_raw_response.create(
                model="gpt-4o-mini", messages=[{"role": "user", "content": "价格 of a call?"}], stream=True
            )
            for _ in raw.parse():
                pass
            os.write(out, f"{raw.headers['x-request-id']} {time.time()};\n".encode())
    except BaseException as error:  # noqa: BLE001 a fork must not return into the parent's program
        os.write(2, f"a process ended by itself: {error!r}\n".encode())
    finally:
        os._exit(9)


def _read(ledger: Path, over: dict[str, tuple[str, float]], server: CountingServer, deaths: Deaths) -> Deaths:
    connection = sqlite3.connect(ledger, timeout=30)
    try:
        if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'calls'").fetchone():
            connection.execute("CREATE TEMP TABLE calls (attempts TEXT)")  # no process came so far
        named = Counter(
            name
            for (name,) in connection.execute(
                "SELECT json_extract(each.value, '$.request_id') FROM calls, json_each(calls.attempts) AS each"
            )
            if name
        )
        deaths.rows = connection.execute("SELECT count(*) FROM calls").fetchone()[0]
        deaths.integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
    finally:
        connection.close()
    deaths.doubled = sum(times > 1 for times in named.values())
    deaths.unknown = len(named.keys() - {one["id"] for one in server.listed()})
    for name, (kind, age) in over.items():
        deaths.finished[kind] += 1
        if name not in named:
            deaths.lost[kind].append(age)
    return deaths


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1 if a call was lost that was over for longer than the window, or one is there twice."""
    parser = argparse.ArgumentParser(description="End processes at random moments and see what their ledger lacks.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--window", type=float, default=0.2, help="seconds within which a call may be lost")
    parser.add_argument("--longest", type=float, default=1.0, help="seconds that a round lasts at most")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    deaths = kill_rounds(asked.rounds, seed=asked.seed, longest=asked.longest, window=asked.window, loud=True)
    print(f"{asked.rounds} rounds of {PROCESSES} processes", *deaths.lines(asked.window), sep="\n  ")
    whole = not deaths.doubled and not deaths.unknown and deaths.integrity == "ok"
    return 0 if whole and not deaths.too_old(asked.window) else 1


if __name__ == "__main__":
    sys.exit(main())
