"""Every Python block of the READMEs runs as pasted, and prints what the comment beside it says."""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCKS = [
    pytest.param(block, id=f"{name}-{number}")
    for name in ("README.md", "README.zh-CN.md")
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", (ROOT / name).read_text("utf-8"), re.DOTALL), 1)
]


def promised(block: str) -> list[str]:
    """What the block's comments say is printed, up to the first ellipsis."""
    comments = re.findall(r"^print\(.*\) +# (.*)$", block, re.MULTILINE)
    return [re.split(r" ?\.\.\.|[:：] ?(?=unknown|未知)", comment)[0].rstrip(", ") for comment in comments]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs_as_pasted(block: str, tmp_path: Path) -> None:
    program = tmp_path / "pasted.py"
    program.write_text(block, "utf-8")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TOKENMETER_"))}
    clean["TOKENMETER_LEDGER"] = str(tmp_path / "spend.db")
    runner = (
        [sys.executable, "-m", "pytest", "-q", str(program)] if "def test_" in block else [sys.executable, str(program)]
    )
    done = subprocess.run(
        runner, capture_output=True, text=True, cwd=tmp_path, timeout=120, env={**clean, "PYTHONUTF8": "1"}, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for words in promised(block):
        assert words in done.stdout
    # The calls that a README shows are priced: they are the first answer that a reader sees.
    if "tokenmeter.call(" in block:
        assert calls(tmp_path / "spend.db") == [("priced", None)]


def calls(ledger: Path) -> list[tuple[str, str | None]]:
    """The status of each call in a ledger, and the reason of one without a price."""
    with contextlib.closing(sqlite3.connect(ledger)) as file:
        return list(file.execute("SELECT status, cost_reason FROM calls"))


def test_the_readmes_are_short_and_say_the_same() -> None:
    english, chinese = (ROOT / name for name in ("README.md", "README.zh-CN.md"))
    for file in (english, chinese):
        assert len(file.read_text("utf-8").splitlines()) < 185
    commands = [
        re.findall(r"^(?:pip|tokenmeter|opentelemetry-instrument) [^#\n]*", file.read_text("utf-8"), re.MULTILINE)
        for file in (english, chinese)
    ]
    assert [line.strip() for line in commands[0]] == [line.strip() for line in commands[1]]


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]*)", (ROOT / name).read_text("utf-8")):
        assert (ROOT / target).exists(), target


def test_every_command_the_readme_shows_is_there() -> None:
    for command in set(re.findall(r"^tokenmeter (\w+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)):
        done = subprocess.run(
            [sys.executable, "-m", "tokenmeter", command, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
