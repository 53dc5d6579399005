"""Run the traps against every major of the OpenAI SDK, each in an environment of its own, and print what came of it.

    python tools/sdk_matrix.py [--only openai-1 ...] [-- PYTEST ARGUMENTS]

An environment is made once under `.venvs/` from the package registry, with a cache of downloads beside it, and used
again while its list of packages stays the same. The table has one row for each way in and call form, and one for each
other trap (all its rows together); a column for each environment. `once` is what the traps ask for: the requests of a
bare call, one record that is right, and a caller who cannot tell; `-` did not run there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
VENVS: Final = ROOT / ".venvs"
COMMON: Final = ("pytest>=8", "pytest-xdist>=3.6", "opentelemetry-sdk>=1.27", "opentelemetry-distro>=0.48b0")
# Frameworks are pinned by the SDK under them: litellm allows openai below 3 only, langchain-openai follows slowly.
MATRIX: Final[Mapping[str, tuple[str, ...]]] = {
    "openai-1": ("openai==1.109.1", "langchain-openai", "litellm<1.80"),
    "openai-2": ("openai>=2,<3", "langchain-openai", "litellm"),
    "openai-3": ("openai>=3,<4", "httpx"),
    "openai-3-langchain": ("openai>=3,<4", "langchain-openai"),
    "vendors": ("openai>=3,<4", "anthropic", "google-genai", "dashscope", "cohere", "ollama", "boto3"),
}
SHOWN: Final = {"passed": "once", "failed": "FAILED", "skipped": "-"}
WORSE: Final = ("-", "once", "FAILED")


def floors() -> list[str]:
    """The oldest versions that the extras of pyproject.toml take, for pip: it would go below them without an error."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras: Mapping[str, list[str]] = project["optional-dependencies"]
    # pip takes no extras in constraints.
    return [re.sub(r"\[.*?\]", "", requirement) for requirements in extras.values() for requirement in requirements]


def environment(name: str, packages: Iterable[str], interpreter: str = sys.executable) -> Path:
    """The Python of an environment with these packages and this checkout; made where it is not there or is stale."""
    wanted = [*packages, *COMMON]
    constraints = VENVS / "floors.txt"
    home = VENVS / name
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    stamp = home / ".packages"
    digest = hashlib.sha256(json.dumps([wanted, floors(), sys.version, interpreter]).encode()).hexdigest()
    if python.exists() and stamp.exists() and stamp.read_text() == digest:
        return python
    print(f"{name}: installing {', '.join(packages)}", flush=True)
    subprocess.run([interpreter, "-m", "venv", "--clear", str(home)], check=True)
    cache = os.environ | {"PIP_CACHE_DIR": str(VENVS / "cache"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    constraints.write_text("\n".join(floors()))
    command = [str(python), "-m", "pip", "install", "-qq", "-c", str(constraints), *wanted, "--editable", str(ROOT)]
    subprocess.run(command, check=True, env=cache)
    stamp.write_text(digest)
    return python


def versions(python: Path) -> str:
    """What is really installed, for the table's head."""
    code = (
        "import importlib.metadata as m, sys\n"
        "for name in ('openai', 'langchain-openai', 'litellm', 'httpx', 'httpx2'):\n"
        "    try: print(name, m.version(name), end='  ')\n"
        "    except m.PackageNotFoundError: pass\n"
    )
    return subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def run(name: str, python: Path, extra: list[str]) -> tuple[dict[str, str], int, str]:
    """The cells of one environment, pytest's exit status and its last line."""
    table = VENVS / f"{name}.jsonl"
    table.unlink(missing_ok=True)
    command = [str(python), "-m", "pytest", "-n", "2", "-p", "no:cacheprovider", "tests/traps", "tests/sdks", *extra]
    # Names and settings of this machine stay out; the table's file is the only thing said to the tests.
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"TRAPS_TABLE": str(table)}, capture_output=True, text=True, check=False
    )
    lines = done.stdout.strip().splitlines()
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            print(f"  {name}: {line}")
    cells: dict[str, str] = {}
    rows = table.read_text(encoding="utf-8").splitlines() if table.exists() else []
    for row in map(json.loads, rows):
        name = f"{row['way']} | {row['form']}"
        cells[name] = max(cells.get(name, "-"), SHOWN[row["outcome"]], key=WORSE.index)
    summary = [line for line in lines if " passed" in line or " failed" in line]
    return cells, done.returncode, summary[-1].strip("= ") if summary else done.stderr.strip()[-500:]


def print_table(columns: Mapping[str, Mapping[str, str]]) -> None:
    """Ways in and call forms down, environments across."""
    rows: dict[str, dict[str, str]] = defaultdict(dict)
    for name, cells in columns.items():
        for row, seen in cells.items():
            rows[row][name] = seen
    width = max((len(row) for row in rows), default=10)
    print(f"\n{'way in | call form':{width}}  " + "  ".join(f"{name:>18}" for name in columns))
    for row, seen in sorted(rows.items()):
        print(f"{row:{width}}  " + "  ".join(f"{seen.get(name, '-'):>18}" for name in columns))


def main(argv: list[str] | None = None) -> int:
    """Run the matrix; 0 if every environment passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(MATRIX), default=list(MATRIX))
    parser.add_argument("rest", nargs="*", help="arguments for pytest, after --")
    arguments = parser.parse_args(argv)
    columns: dict[str, dict[str, str]] = {}
    ends: dict[str, tuple[int, str, str]] = {}
    for name in arguments.only:
        python = environment(name, MATRIX[name])
        columns[name], status, last = run(name, python, arguments.rest)
        ends[name] = (status, last, versions(python))
    print_table(columns)
    print()
    for name, (status, last, installed) in ends.items():
        print(f"{name}: {installed}\n  {'ok' if status == 0 else 'FAILED'}: {last}")
    return 0 if all(status == 0 for status, _, _ in ends.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
