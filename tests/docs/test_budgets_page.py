"""Every Python block of the page on budgets runs, its file is read, its arguments are those of `Budget`."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tokenmeter import Budget
from tokenmeter.budgets.budget_file import read_budgets

PAGE = (Path(__file__).parents[2] / "docs" / "budgets.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_block_runs_and_prints_what_it_says(number: int, tmp_path: Path) -> None:
    block = BLOCKS[number]
    ran = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    said = re.findall(r"print\(.*\)\s+# (.*)", block)
    assert [line for line in ran.stdout.splitlines() if said] == said


def test_the_file_is_read(tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.S)
    path = tmp_path / "budgets.toml"
    path.write_text(text, "utf-8")
    assert [budget.name for budget in read_budgets(path, "budgets")] == ["search", "users"]


def test_the_table_has_every_argument() -> None:
    table = PAGE.partition("## A budget")[2].partition("In a file")[0]
    named = re.findall(r"^\| `(\w+)` \|", table, re.M)
    assert set(named) == set(inspect.signature(Budget).parameters) - {"name"}
