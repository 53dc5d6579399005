"""Run random programs bare and metered, and compare all that can be seen: `python -m tests.real.differential`.

A difference is run again: one that does not return is counted apart, since a busy machine can pass a time limit.
"""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.rigs.programs import Program, RecordingServer, Run, Sent, programs, recording_server, run
from tests.rigs.ways import WAYS, quick_retries
from tokenmeter import Record, Tokenmeter
from tokenmeter._support import guard

__all__ = ["Bench", "bench", "main"]

# What the user can switch: that a stream is asked for its usage.
_ASKED: Final = re.compile(rb',?\s*"stream_options":\s*\{"include_usage":\s*true\}')
_LENGTH: Final = re.compile(rb"(?i)(content-length): \d+")


class _Kept:
    """A sink that keeps records until they have been looked at."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)

    def flush(self, timeout: float) -> bool:
        return True

    def close(self, timeout: float) -> None:
        """Nothing is open."""


@dataclass
class Bench:
    """A server, a meter with a ledger, and what was compared so far."""

    server: RecordingServer
    meter: Tokenmeter
    kept: _Kept
    counts: Counter[str] = field(default_factory=Counter)

    def differences(self, program: Program) -> list[str]:
        """Run a program bare, then metered; what differs, in lines for people. Empty if nothing does."""
        bare = run(program, self.server)
        started = time.time_ns()
        metered = self._metered(program)
        self.counts["programs"] += 1
        self.counts["steps"] += len(bare.seen)
        self.counts["requests"] += len(bare.sent) + len(metered.sent)
        self.counts["items"] += sum(map(len, bare.seen.values()))
        found = [
            *_of_steps(program, bare, metered),
            *_of_wire(bare, metered),
            *self._of_records(program, metered, started),
        ]
        self.kept.records.clear()
        gc.freeze()  # nothing of this program is left: what SDKs built at first use need not be looked through again
        return found

    def _metered(self, program: Program) -> Run:
        wrapped = program.metered_by in ("wrap", "both")
        if program.metered_by != "wrap":
            self.meter.instrument()
        try:
            return run(program, self.server, (lambda c, p: self.meter.wrap(c, provider=p)) if wrapped else None)
        finally:
            gc.collect()
            self.meter.uninstrument()

    def _of_records(self, program: Program, metered: Run, started: int) -> Iterator[str]:
        """Every request that was sent is an attempt of a record, where all libraries are metered."""
        if program.metered_by == "wrap":
            return
        self.meter.flush(10)
        deadline = time.monotonic() + 1
        while True:
            # A stream that the program before forgot may have been collected since.
            records = [one for one in self.kept.records if one.started_ns >= started]
            attempts = [attempt for one in records for attempt in one.attempts]
            if len(attempts) >= len(metered.sent) or time.monotonic() > deadline:
                break
            time.sleep(0.01)
        # One without a status may have been cancelled before anything was sent.
        answered = sum(attempt.status is not None for attempt in attempts)
        if not answered <= len(metered.sent) <= len(attempts):
            yield f"{len(attempts)} attempts ({answered} answered) of {len(metered.sent)} requests: " + "; ".join(
                f"{one.api} {one.end} {[a.status or a.error for a in one.attempts]}" for one in records
            )


def _of_steps(program: Program, bare: Run, metered: Run) -> Iterator[str]:
    steps = [step for group in program.groups for step in group]
    for number, seen in bare.seen.items():
        if seen != metered.seen[number]:
            yield f"step {number} {steps[number]!r}:"
            yield from (line[:600] for line in difflib.unified_diff(seen, metered.seen[number], "bare", "metered", n=0))


def _of_wire(bare: Run, metered: Run) -> Iterator[str]:
    if len(bare.sent) != len(metered.sent):
        yield f"{len(bare.sent)} requests were sent bare, {len(metered.sent)} metered"
        return
    for one, other in zip(bare.sent, metered.sent, strict=True):
        other = _unasked(one, other)
        for name in Sent.__dataclass_fields__:
            if (was := getattr(one, name)) != (now := getattr(other, name)):
                yield f"step {one.step}: {name} of a request: bare {was!r}, metered {now!r}"


def _unasked(bare: Sent, metered: Sent) -> Sent:
    """The metered request without the question for usage that the bare one does not have."""
    if bare.body == metered.body or _ASKED.search(bare.body):
        return metered
    length = _LENGTH.search(bare.head)
    head = _LENGTH.sub(length[0], metered.head) if length else metered.head
    return replace(metered, body=_ASKED.sub(b"", metered.body), head=head)


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """A bench whose ledger is in `folder`; failures of tokenmeter are raised into the program, where they show."""
    guard.raise_failures(True)
    for way in WAYS:
        if way.here:
            importlib.import_module(way.needs)
    gc.collect()
    gc.freeze()
    kept = _Kept()
    with quick_retries(), recording_server() as server:
        meter = Tokenmeter(spans="none", hosts={server.host: "openai"}, ledger=str(folder / "spend.db"), sinks=[kept])
        try:
            yield Bench(server, meter, kept)
        finally:
            meter.uninstrument()
            meter.shutdown()
            gc.unfreeze()


def main(arguments: list[str] | None = None) -> int:
    """Compare as many programs as asked for; 1 if one differs each time that it is run."""
    parser = argparse.ArgumentParser(description="Run random programs bare and metered, and compare them.")
    parser.add_argument("--programs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=10, help="so many differences are shown whole")
    asked = parser.parse_args(arguments)
    started = time.monotonic()
    lasting: list[tuple[Program, list[str]]] = []
    with TemporaryDirectory() as folder, bench(Path(folder)) as rig:

        @seed(asked.seed)
        @settings(
            max_examples=asked.programs,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(programs())
        def compare(program: Program) -> None:
            found = rig.differences(program)
            if rig.counts["programs"] % 250 == 0:
                print(f"{rig.counts['programs']} programs, {len(lasting)} differ", flush=True)
            if not found:
                return
            again = [rig.differences(program) for _ in range(2)]
            if all(again):
                lasting.append((program, found))
                if len(lasting) <= asked.show:
                    _show(program, found)
            else:
                rig.counts["not seen again"] += 1
                print("a difference that did not return:", *found[:4], sep="\n  ", flush=True)

        compare()
        counts: Any = dict(rig.counts)
    print(f"{counts}, {len(lasting)} differ, in {time.monotonic() - started:.0f} s")
    return 1 if lasting else 0


def _show(program: Program, found: list[str]) -> None:
    print(f"differs, metered by {program.metered_by}:", *map(repr, program.groups), sep="\n  ", flush=True)
    print(*found, sep="\n    ", flush=True)


if __name__ == "__main__":
    sys.exit(main())
