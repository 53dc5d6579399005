"""docs/zh/prices.md beside its examples: blocks run and print what they say, commands work, its setting is read."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tokenmeter.cli import main
from tokenmeter.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "zh" / "prices.md"
TEXT = PAGE.read_text("utf-8")


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_a_block_runs_as_pasted(block: str) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TOKENMETER_")}
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, timeout=60, check=False, env=clean
    )
    assert done.returncode == 0, done.stderr
    for promised in re.findall(r"^print\(.*\) +# (.*?)(?: \.\.\.)?$", block, re.MULTILINE):
        assert promised in done.stdout


@pytest.mark.parametrize("command", re.findall(r"^tokenmeter (.*)$", TEXT, re.MULTILINE))
def test_its_commands_work(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (head,) = re.findall(r"```toml head\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "my-prices").mkdir()
    (tmp_path / "my-prices" / "example.toml").write_text(
        head + re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)[0], "utf-8"
    )
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == 0, capsys.readouterr().err


def test_its_file_of_rates_is_the_setting_above_it(tmp_path: Path) -> None:
    (table,) = re.findall(r"```toml rates\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "rates.toml").write_text(table, "utf-8")
    (said,) = re.findall(r"rates=(\{.*\}),", TEXT)
    read = Settings.read({}, {"TOKENMETER_RATES": str(tmp_path / "rates.toml")})
    assert read.rates == Settings.read({"rates": eval(said)}, {}).rates


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]*)", TEXT):
        assert (PAGE.parent / target).exists(), target
