"""Measure everything and write the page: `make bench`.

    python -m benchmarks.compare [--only NAME ...] [--report]

Each instrumentation runs in an environment of its own under `.venvs`, made from the registry, and ours from a wheel of
this checkout. One that cannot be installed or run is named on the page with the reason. Figures are instructions where
valgrind and a C compiler are (`apt-get install valgrind`), else CPU time by turns in one process. What each run
measured is kept in `.venvs/bench-results`, so that `--only langfuse` measures that one anew and `--report` none; the
page and its picture (`docs/benchmarks.md`, `docs/images/benchmarks.svg`) are written from all that is there.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.compare import report

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = Path(__file__).resolve().parent
RESULTS: Final = ROOT / ".venvs" / "bench-results"
BASE: Final = ("openai>=2,<4", "opentelemetry-sdk")
PEERS: Final[dict[str, tuple[str, ...]]] = {
    "openinference": ("openinference-instrumentation-openai",),
    "official": ("opentelemetry-instrumentation-genai-openai",),
    "openllmetry": ("opentelemetry-instrumentation-openai",),
    "langfuse": ("langfuse",),
    "logfire": ("logfire",),
    # Of its many requirements the registry has one set that fits together, found by hand; pip searches for hours.
    "openlit": (
        "openlit==1.45.0",
        "opentelemetry-sdk==1.39.0",
        "opentelemetry-exporter-otlp-proto-http==1.39.0",
        "opentelemetry-distro==0.60b0",
    ),
}
MODES: Final = {"cold": 7, "import": 7, "memory": 1, "concurrent": 1, "ledger": 1}
"""What `process.py` measures, and in how many processes: the least is taken."""


def environment(name: str, packages: Iterable[str]) -> Path:
    """The Python of an environment with these packages; made where it is not there or is another."""
    home = ROOT / ".venvs" / f"bench-{name}"
    python, stamp = home / "bin" / "python", home / ".packages"
    wanted = json.dumps([*BASE, *packages])
    if python.exists() and stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"{name}: installing", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(home)], check=True)
    run([python, "-m", "pip", "install", "-qq", *BASE, *packages])
    stamp.write_text(wanted)
    return python


def own_environment() -> Path:
    """The environment with a wheel of this checkout, with bytecode, as users install it."""
    python = environment("tokenmeter", ())
    run([python, "-m", "pip", "install", "-qq", "--force-reinstall", "--no-deps", ROOT])
    run([python, "-m", "pip", "install", "-qq", ROOT])
    return python


def run(command: Iterable[Any], **more: Any) -> str:
    """What a command prints. Raises RuntimeError with the end of what it said where it fails."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TOKENMETER_"))}
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, env={**clean, "PYTHONHASHSEED": "0"}, **more
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise RuntimeError(said[-1] if said else f"exit status {done.returncode}")
    return done.stdout


def library(folder: Path) -> Path | None:
    """`callgrind.c` compiled; None where valgrind or a compiler is missing."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or shutil.which("valgrind") is None:
        return None
    made = folder / "libcallgrind.so"
    try:
        run([compiler, "-shared", "-fPIC", "-O1", "-o", made, HERE / "callgrind.c"])
    except RuntimeError:
        return None  # valgrind's headers are a package of their own in some places
    return made


def worker(name: str, python: Path, distribution: str, shim: Path | None) -> dict[str, Any]:
    """What one variant measured: what its spans say, and its figures."""
    with tempfile.TemporaryDirectory() as folder:
        command: list[Any] = [python, HERE / "worker.py", name, distribution]
        if shim is not None:
            profile = Path(folder) / "profile"
            begin = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=yes"]
            command = [*begin, f"--callgrind-out-file={profile}", *command, shim]
        told: dict[str, Any] = json.loads(run(command).strip().splitlines()[-1])
        told["instructions"] = instructions(Path(folder))
    return told


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


def processes(python: Path) -> dict[str, Any]:
    """The figures that need a process of their own."""
    found: dict[str, Any] = {}
    for mode, times in MODES.items():
        turns = [json.loads(run([python, HERE / "process.py", mode]).strip().splitlines()[-1]) for _ in range(times)]
        found[mode] = {name: min(turn[name] for turn in turns) for name in turns[0]}
    found["overhead"] = json.loads(run([python, ROOT / "benchmarks" / "overhead.py", "--json", "--rounds", "400"]))
    return found


def keep(name: str, measure: Callable[[], dict[str, Any]]) -> None:
    """Measure and keep what came of it, or the reason why nothing did."""
    print(f"{name}: measuring", flush=True)
    try:
        told = measure()
    except (RuntimeError, subprocess.CalledProcessError, ValueError, OSError) as error:
        told = {"skipped": str(error)}
        print(f"{name}: skipped: {error}", flush=True)
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    told |= {"date": datetime.now(UTC).strftime("%Y-%m-%d"), "commit": commit.stdout.strip()}
    (RESULTS / f"{name}.json").write_text(json.dumps(told, indent=1))


def main() -> None:
    """Measure what is asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=["tokenmeter", "processes", *PEERS], help="measure these")
    parser.add_argument("--report", action="store_true", help="measure nothing; write the page from what is there")
    arguments = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    wanted = [] if arguments.report else arguments.only or ["tokenmeter", "processes", *PEERS]
    with tempfile.TemporaryDirectory() as folder:
        shim = library(Path(folder))
        if {"tokenmeter", "processes"} & set(wanted):
            python = own_environment()
        for name in wanted:
            if name == "tokenmeter":
                keep(name, lambda: worker("tokenmeter", python, "tokenmeter-sdk", shim))
            elif name == "processes":
                keep(name, lambda: processes(python))
            else:
                needs = PEERS[name]
                distribution = needs[0].partition("==")[0]
                keep(name, lambda: worker(name, environment(name, needs), distribution, shim))  # noqa: B023
    results = {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}
    page, picture = report.page(results), report.picture(results)
    (ROOT / "docs" / "benchmarks.md").write_text(page, encoding="utf-8")
    (ROOT / "docs" / "images" / "benchmarks.svg").write_text(picture, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
