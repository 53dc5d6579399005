"""Every Python block of the pages on budgets runs, their file is read, their arguments are those of `Budget`."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tokenmeter import Budget
from tokenmeter.budgets.budget_file import read_budgets

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {
    "en": (DOCS / "budgets.md").read_text("utf-8"),
    "zh": (DOCS / "zh" / "budgets.md").read_text("utf-8"),
}
BLOCKS = {name: re.findall(r"```python\n(.*?)```", page, re.S) for name, page in PAGES.items()}
each_page = pytest.mark.parametrize("page", PAGES)


@pytest.mark.parametrize(("page", "number"), [(page, number) for page in PAGES for number in range(len(BLOCKS[page]))])
def test_each_block_runs_and_prints_what_it_says(page: str, number: int, tmp_path: Path) -> None:
    block = BLOCKS[page][number]
    ran = subprocess.run([sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    said = re.findall(r"print\(.*\)\s+# (.*)", block)
    assert [line for line in ran.stdout.splitlines() if said] == said


@each_page
def test_the_file_is_read(page: str, tmp_path: Path) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGES[page], re.S)
    path = tmp_path / "budgets.toml"
    path.write_text(text, "utf-8")
    assert [budget.name for budget in read_budgets(path, "budgets")] == ["search", "users"]


@each_page
def test_the_table_has_every_argument(page: str) -> None:
    table = PAGES[page].partition("| `limit` |")[2].partition("TOKENMETER_BUDGETS")[0]
    named = re.findall(r"^\| `(\w+)` \|", table, re.M)
    assert {*named, "limit"} == set(inspect.signature(Budget).parameters) - {"name"}


def test_both_pages_have_the_same_shape() -> None:
    """Headings, rows of tables, and what is code, in order: what the prose of the two pages differs in is language."""
    shapes = [
        [
            (line.partition(" ")[0], re.findall(r"`([^`]+)`", line) if line.startswith("| `") else line.count("|"))
            for line in page.splitlines()
            if line.startswith(("#", "|"))
        ]
        for page in PAGES.values()
    ]
    assert shapes[0] == shapes[1]
