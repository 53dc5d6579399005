"""`tokenmeter demo`: what it prints is what its calls left in the ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tokenmeter import Usage, price
from tokenmeter._support.text_tables import width

pytest.importorskip("openai", reason="the demo makes its calls with the openai SDK")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own: it puts hooks in."""
    command = [sys.executable, "-m", "tokenmeter", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def deepseeks() -> str:
    """What the demo's calls of DeepSeek cost at this hour."""
    usage = Usage(input_tokens=24, output_tokens=12, cache_read_input_tokens=8)
    return str(price(usage, provider="deepseek", model="deepseek-chat").total)


def test_the_demo_shows_spans_and_the_report_of_its_ledger(tmp_path: Path) -> None:
    ledger = tmp_path / "spend.db"
    before = deepseeks()
    done = run("demo", "--ledger", str(ledger))
    assert done.returncode == 0, done.stderr
    spans, report = done.stdout.split("The ledger: tokenmeter report spend.db --by model,team")
    for shown in ("chat deepseek-chat", "closed_early", "chat deepseek-next-week"):
        assert shown in spans
    assert before in spans or deepseeks() in spans  # a peak hour may begin or end meanwhile
    report, _, how = report.partition("\nNow in your own program")
    assert report.strip() == run("report", str(ledger), "--by", "model,team").stdout.strip()
    assert "tokenmeter.instrument()" in how
    assert ";" not in spans.partition("The spans")[2], "what the demo tells its server is in no name"
    ours = [line for line in done.stdout.splitlines() if not line.startswith(str(ledger))]
    assert max(map(width, ours)) <= 80
    totals = json.loads(run("report", str(ledger), "--json").stdout)
    assert totals, "the ledger is kept"


def test_the_demos_own_ledger_is_temporary() -> None:
    done = run("demo")
    assert done.returncode == 0, done.stderr
    (named,) = [line for line in done.stdout.splitlines() if line.endswith(": times in UTC")]
    assert not Path(named.partition(": times")[0]).exists()
