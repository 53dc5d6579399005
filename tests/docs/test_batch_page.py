"""The documentation of batches: its blocks run, and both languages have the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rigs.random_ledger import random_ledger
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.sealed.seal import close

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (DOCS / "batch.md", DOCS / "zh" / "batch.md")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)


def test_both_languages_have_the_same_query_and_columns() -> None:
    english, chinese = PAGES
    assert blocks(english, "sql") == blocks(chinese, "sql")
    names = [set(re.findall(r"`([a-z_]+)`", page.read_text("utf-8"))) for page in PAGES]
    assert names[0] == names[1]


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_the_python_blocks_run(page: Path, tmp_path: Path) -> None:
    for needed in ("duckdb", "polars", "pyarrow"):
        pytest.importorskip(needed)
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "calls").mkdir()
    calls = {"provider": ["openai"], "model": ["gpt-4o"], "input_tokens": [1000], "output_tokens": [10]}
    pq.write_table(pa.table(calls), tmp_path / "calls" / "one.parquet")
    ledger = random_ledger(tmp_path / "spend.db", 1, 20)
    close(str(ledger), "2026-11", Zone.named("UTC"), str(tmp_path / "sealed"), unfinished=True)
    code = "\n".join(blocks(page, "python"))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "openai" in done.stdout
