"""Measure everything and write the page: `make bench`.

    python -m benchmarks.compare [--only ROW ...] [--missing] [--quick] [--report]

Each row of the comparison is measured by processes of its own and kept in `.venvs/bench-results`: ours (`tokenmeter`,
`growth`, `processes`) and one for each other instrumentation. One that cannot be installed or run is named on the page
with the reason. Figures are instructions where valgrind and a C compiler are (`apt-get install valgrind`): these do not
depend on what else the machine does, so two rows are measured at a time, and `processes`, whose unit is time, last and
alone. Elsewhere all are CPU time, by turns in one process.

`--only` measures some rows anew, `--missing` those that this commit has no figures of, and `--report` none: the page
and its picture (`docs/benchmarks.md`, `docs/images/benchmarks.svg`) are written from all that is there. `--quick` shows
in minutes that every row can be measured: few calls each, kept and written under `.venvs/bench-quick` instead.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.compare import report
from benchmarks.compare.environments import HERE, PEERS, ROOT, environment, library, own_environment, run

OURS: Final = ("tokenmeter", "growth")
ROWS: Final = (*OURS, *PEERS, "processes")
MODES: Final = {"cold": 7, "import": 7, "memory": 1, "concurrent": 1, "ledger": 1}
"""What `process.py` measures, and in how many processes: the least is taken."""


def worker(name: str, shim: Path | None, quick: bool) -> dict[str, Any]:
    """What one variant measured: what its spans say, and its figures."""
    if name in OURS:
        python, distribution = own_environment(), "tokenmeter-sdk"
    else:
        python, distribution = environment(name, PEERS[name]), PEERS[name][0].partition("==")[0]
    with tempfile.TemporaryDirectory() as folder:
        command: list[Any] = [python, HERE / "worker.py", name, distribution]
        if shim is not None:
            profile = Path(folder) / "profile"
            begin = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes"]
            command = [*begin, f"--callgrind-out-file={profile}", *command, "--library", shim]
        told: dict[str, Any] = json.loads(run([*command, *_quick(quick)]).strip().splitlines()[-1])
        told["instructions"] = instructions(Path(folder))
    return told


def _quick(quick: bool) -> Sequence[str]:
    return ["--quick"] if quick else []


def instructions(folder: Path, pattern: str = "profile.*-*") -> dict[str, dict[str, float]]:
    """Instructions of one call by case: those of the thread that calls, and those of all threads."""
    found: dict[str, dict[str, float]] = {}
    for path in sorted(folder.glob(pattern)):
        text = path.read_text(errors="replace")
        named = re.search(r"Client Request: (.+)\*(\d+)$", text, re.MULTILINE)
        counted = re.search(r"^summary: (\d+)", text, re.MULTILINE) or re.search(r"^totals: (\d+)", text, re.MULTILINE)
        if named is None or counted is None:
            continue
        each = int(counted[1]) / int(named[2])
        case = found.setdefault(named[1], {"caller": 0.0, "all": 0.0})
        case["all"] += each
        if path.name.endswith("-01"):
            case["caller"] += each
    return found


def processes(quick: bool) -> dict[str, Any]:
    """The figures that need a process of their own."""
    python = own_environment()
    found: dict[str, Any] = {}
    for mode, times in MODES.items():
        command = [python, HERE / "process.py", mode, *_quick(quick)]
        turns = [json.loads(run(command).strip().splitlines()[-1]) for _ in range(1 if quick else times)]
        found[mode] = {name: min(turn[name] for turn in turns) for name in turns[0]}
    rounds = "20" if quick else "400"
    found["overhead"] = json.loads(run([python, ROOT / "benchmarks" / "overhead.py", "--json", "--rounds", rounds]))
    return found


class Results:
    """What each row measured, or why it was skipped: one file each in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        described = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
        self._commit = described.stdout.strip()

    def keep(self, row: str, told: dict[str, Any]) -> None:
        """Keep what a row measured with the day and the commit."""
        told |= {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": self._commit}
        (self._folder / f"{row}.json").write_text(json.dumps(told, indent=1))

    def all(self) -> dict[str, dict[str, Any]]:
        """What is kept, by row."""
        return {path.stem: json.loads(path.read_text()) for path in sorted(self._folder.glob("*.json"))}

    def missing(self) -> list[str]:
        """The rows that this commit has no figures of."""
        kept, commit = self.all(), self._commit.removesuffix("-dirty")
        sound = [row for row, told in kept.items() if "skipped" not in told and told["commit"].startswith(commit)]
        return [row for row in ROWS if row not in sound]


def measure(row: str, results: Results, shim: Path | None, quick: bool) -> None:
    """Measure a row and keep what came of it, or the reason why nothing did."""
    print(f"{row}: measuring", flush=True)
    started = time.monotonic()
    told: dict[str, Any]
    try:
        told = processes(quick) if row == "processes" else worker(row, shim, quick)
    except (RuntimeError, ValueError, KeyError, OSError) as error:
        told = {"skipped": str(error)}
        print(f"{row}: skipped: {error}", flush=True)
    told["seconds"] = round(time.monotonic() - started)
    results.keep(row, told)
    print(f"{row}: {told['seconds']} s", flush=True)


def measure_all(rows: Iterable[str], results: Results, quick: bool) -> None:
    """Measure these rows, those of instructions two at a time."""
    rows, started = list(rows), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        shim = library(Path(folder))
        if shim is None:
            print("without valgrind, a C compiler and valgrind's headers: CPU time instead of instructions", flush=True)
        with ThreadPoolExecutor(2 if shim is not None else 1) as pool:
            for done in [pool.submit(measure, row, results, shim, quick) for row in rows if row != "processes"]:
                done.result()
        if "processes" in rows:
            measure("processes", results, shim, quick)
    if set(rows) == set(ROWS):
        results.keep("run", {"seconds": round(time.monotonic() - started)})


def main() -> None:
    """Measure what is asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=ROWS, metavar="ROW", help=f"measure these: {', '.join(ROWS)}")
    parser.add_argument("--missing", action="store_true", help="measure the rows that this commit has no figures of")
    parser.add_argument("--quick", action="store_true", help="few calls: whether everything can be measured")
    parser.add_argument("--report", action="store_true", help="measure nothing; write the page from what is there")
    arguments = parser.parse_args()
    home = ROOT / ".venvs" / ("bench-quick" if arguments.quick else "bench-results")
    results = Results(home)
    started = time.monotonic()
    if not arguments.report:
        rows = arguments.only or (results.missing() if arguments.missing else ROWS)
        measure_all(rows, results, arguments.quick)
    kept = results.all()
    docs = home if arguments.quick else ROOT / "docs"
    (docs / "images").mkdir(exist_ok=True)
    page = report.page(kept, quick=arguments.quick)
    (docs / "benchmarks.md").write_text(page, encoding="utf-8")
    (docs / "images" / "benchmarks.svg").write_text(report.picture(kept), encoding="utf-8")
    print(page)
    print(f"{docs / 'benchmarks.md'}: written after {(time.monotonic() - started) / 60:.1f} minutes")


if __name__ == "__main__":
    main()
