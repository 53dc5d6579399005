"""The replay of recorded traffic, over cases written here from documented shapes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WRITTEN = ROOT / "tests/data/replay/cases.jsonl"


def replay(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks/replay.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ, timeout=300, check=False)


def test_written_cases_replay_without_a_difference() -> None:
    done = replay(str(WRITTEN))
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^mismatches +0$", done.stdout, re.MULTILINE)
    assert re.search(r"^cases +19 \(1 of them", done.stdout, re.MULTILINE)
    assert "1 anthropic: another wire format" in done.stdout
    calls = re.search(r"metered +(\d+) calls, (\d+) records", done.stdout)
    assert calls
    assert calls[1] == calls[2]


def test_a_wrong_recording_is_found(tmp_path: Path) -> None:
    """The comparison itself: a recording whose usage is not what its events say must be reported."""
    case = json.loads(next(line for line in WRITTEN.read_text("utf-8").splitlines() if '"stepfun"' in line))
    case["usage"]["completion_tokens"] = 151
    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text(json.dumps(case), encoding="utf-8")
    done = replay(str(wrong))
    assert done.returncode == 1
    assert "as recorded, asking: usage" in done.stdout
