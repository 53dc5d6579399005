"""Kill processes that write one ledger, and see what it lacks: `python -m tests.real.ledger_crash`.

Each round starts four processes that write records as fast as they can, half of them with `sync=True`, and say so to
this one after each. They are killed at a random moment. In every third round each process forks in the middle and its
child goes on; in every other third the file is moved away under them, and a new one takes what follows. What was
acknowledged by a `sync` writer must be there, once; another record may be lost only within the window.
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
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, NoReturn

from tests.rigs.made_records import priced, record
from tokenmeter.ledger.verify import verify
from tokenmeter.ledger.writer import Ledger

__all__ = ["Crashes", "crash_rounds", "main"]

PROCESSES: Final = 4
KINDS: Final = ("killed", "forked, then killed", "file moved, then killed")
_FORKS_AFTER: Final = 0.15


@dataclass
class Crashes:
    """What the ledgers lack. Ages are seconds from the acknowledgement to the signal."""

    acknowledged: Counter[str] = field(default_factory=Counter)
    lost: dict[str, list[float]] = field(default_factory=lambda: {"sync": [], "queued": []})
    rows: int = 0
    doubled: int = 0
    """Calls that are charged twice, in one file or in two."""
    uncharged: int = 0
    """Calls of which only the row without a cost was written before the kill."""
    unknown: int = 0
    """Rows that no process said it wrote, or was about to write."""
    wrong: Counter[str] = field(default_factory=Counter)
    """What `verify` found."""
    files: int = 0

    def failed(self, window: float) -> bool:
        """Whether something is wrong that the documents exclude."""
        old = any(age > window for age in self.lost["queued"])
        return bool(self.lost["sync"] or old or self.doubled or self.unknown or self.wrong.total())

    def lines(self) -> list[str]:
        """The figures for people."""
        found = [
            f"{self.files} files, {self.rows} rows, charged twice {self.doubled}, not priced yet {self.uncharged}, "
            f"unknown {self.unknown}, "
            f"wrong by verify {dict(self.wrong) or 'none'}"
        ]
        for name, ages in self.lost.items():
            oldest = f", oldest {max(ages):.3f} s" if ages else ""
            found.append(f"{name}: {len(ages)} of {self.acknowledged[name]} acknowledged records lost{oldest}")
        return found


def crash_rounds(rounds: int, *, seed: int = 1, longest: float = 0.6, loud: bool = False) -> Crashes:
    """Run the rounds in one folder; a round lasts at most `longest` seconds after its processes are up."""
    logging.disable(logging.CRITICAL)
    chance = random.Random(seed)
    said: dict[str, tuple[str, float]] = {}
    began: set[str] = set()
    with TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(rounds):
            _round(folder, KINDS[number % len(KINDS)], number, chance, longest, said, began)
            if loud and number % 20 == 19:
                print(f"round {number + 1}:", *_read(folder, said, began).lines(), sep="\n  ", flush=True)
        return _read(folder, said, began)


def _round(
    folder: Path, kind: str, number: int, chance: random.Random, longest: float, said: dict[str, tuple[str, float]],
    began: set[str],
) -> None:  # fmt: skip
    running = []
    for process in range(PROCESSES):
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(reading)
            os.setpgid(0, 0)
            _write_until_killed(folder / "spend.db", writing, sync=process % 2 == 0, forks="forked" in kind)
        os.close(writing)
        running.append((pid, process % 2 == 0, os.fdopen(reading)))
    first = [lines.readline() for _, _, lines in running]
    time.sleep(chance.uniform(0, longest / 2))
    if "moved" in kind:
        _move(folder, number)
    time.sleep(chance.uniform(0, longest / 2))
    died = {}
    for pid, _, _ in chance.sample(running, len(running)):
        died[pid] = time.time()
        os.killpg(pid, signal.SIGKILL)
        time.sleep(chance.uniform(0, 0.02))
    for (pid, sync, lines), line in zip(running, first, strict=True):
        with lines:
            for name, at in _told([line, *lines.read().splitlines(keepends=True)]):
                began.add(name)
                if at is not None:
                    said[name] = "sync" if sync else "queued", died[pid] - at
        os.waitpid(pid, 0)


def _told(lines: list[str]) -> Iterator[tuple[str, float | None]]:
    """The ids that whole lines name, with the time at which the record was acknowledged; None if it was begun."""
    for line in lines:
        name, _, at = line.partition(" ")
        if line.endswith(";\n"):
            yield name, float(at[:-2]) if at[:-2] else None


def _move(folder: Path, number: int) -> None:
    for part in ("spend.db", "spend.db-wal", "spend.db-shm"):
        if (folder / part).exists():
            (folder / part).rename(folder / part.replace("spend", f"moved{number}"))


def _write_until_killed(path: Path, out: int, *, sync: bool, forks: bool) -> NoReturn:
    """A child process: write records, and say which and when. Does not return."""
    try:
        ledger = Ledger(path, sync=sync)
        forks_at = time.monotonic() + _FORKS_AFTER if forks else float("inf")
        cost = priced("0.000123")
        while True:
            if time.monotonic() > forks_at:
                forks_at = float("inf")
                os.fork()  # parent and child go on with one ledger
            name = uuid.uuid4().hex
            os.write(out, f"{name} ;\n".encode())
            ledger.write(record(cost, id=name, tags={"process": str(os.getpid() % 7)}))
            os.write(out, f"{name} {time.time()};\n".encode())
            if not sync:
                time.sleep(0.0002)
    except BaseException as error:  # noqa: BLE001  # a fork must not return into the parent's program
        os.write(2, f"a process ended by itself: {error!r}\n".encode())
    finally:
        os._exit(9)


def _read(folder: Path, said: dict[str, tuple[str, float]], began: set[str]) -> Crashes:
    crashes, found, charged = Crashes(), Counter[str](), Counter[str]()
    for path in sorted(folder.glob("*.db")):
        crashes.files += 1
        with closing(sqlite3.connect(path, timeout=30)) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'calls'").fetchone():
                continue  # its maker was killed before it had made the tables
            for name, amount in connection.execute("SELECT id, amount FROM calls"):
                found[name] += 1
                charged[name] += amount is not None
        for check in verify(str(path)):
            crashes.wrong.update({check.name: check.wrong} if check.wrong else {})
    crashes.rows = found.total()
    # A call that was written before the book was loaded may stand without a cost in a file that was moved then.
    crashes.doubled = sum(times > 1 for times in charged.values())
    crashes.uncharged = len(found) - sum(times > 0 for times in charged.values())
    crashes.unknown = len(found.keys() - began)
    for name, (kind, age) in said.items():
        crashes.acknowledged[kind] += 1
        if name not in found:
            crashes.lost[kind].append(age)
    return crashes


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1 if an acknowledged record is lost that must not be, or one is there twice."""
    parser = argparse.ArgumentParser(description="Kill writers of one ledger at random moments and see what it lacks.")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--window", type=float, default=0.2, help="seconds within which a queued record may be lost")
    parser.add_argument("--longest", type=float, default=0.6, help="seconds that a round lasts at most")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    crashes = crash_rounds(asked.rounds, seed=asked.seed, longest=asked.longest, loud=True)
    print(f"{asked.rounds} rounds of {PROCESSES} processes", *crashes.lines(), sep="\n  ")
    return 1 if crashes.failed(asked.window) else 0


if __name__ == "__main__":
    sys.exit(main())
