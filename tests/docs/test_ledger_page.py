"""docs/ledger.md and its Chinese page: blocks run as pasted, and columns, limits and commands are those of the code."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tokenmeter.cli import _parser
from tokenmeter.ledger import schema, writer
from tokenmeter.usage import TOKEN_FIELDS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / name).read_text("utf-8") for name in ("ledger.md", "zh/ledger.md")}
BLOCKS = [
    pytest.param(block, id=f"{name} {number}")
    for name, text in PAGES.items()
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL), 1)
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs_as_pasted(block: str, tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "TOKENMETER_"))}
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, cwd=tmp_path, timeout=120, check=False,
        env={**clean, "PYTHONUTF8": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if "spent" in block:
        assert re.fullmatch(r"\{'CNY': Decimal\('0\.\d+'\)\}", done.stdout.strip())
    if "# True" in block:
        assert done.stdout == "True\n"
    if "spend.db" in block:
        with contextlib.closing(sqlite3.connect(tmp_path / "spend.db")) as ledger:
            assert ledger.execute("SELECT count(*), min(status) FROM calls").fetchone() == (1, "priced")


@pytest.mark.parametrize("page", PAGES)
def test_its_commands_are_understood(page: str) -> None:
    commands = re.findall(r"^tokenmeter (.*)$", PAGES[page], re.MULTILINE)
    assert commands
    for command in commands:
        name, *_ = shlex.split(command)
        parser, _ = _parser(name)
        assert parser.parse_args(shlex.split(command)).command == name


@pytest.mark.parametrize("page", PAGES)
def test_every_column_has_a_row(page: str, tmp_path: Path) -> None:
    with contextlib.closing(schema.open_for_writing(str(tmp_path / "spend.db"))) as ledger:
        columns = {row[1] for row in ledger.execute("PRAGMA table_info(calls)")}
    named = set(re.findall(r"`([a-z_]+)`", "\n".join(re.findall(r"^\|.*\|$", PAGES[page], re.MULTILINE))))
    assert columns - named - set(TOKEN_FIELDS) == {"seq", "otel_provider"}


@pytest.mark.parametrize("page", PAGES)
def test_its_limits_are_the_writers(page: str) -> None:
    for limit in (writer.COMMIT_EVERY, writer.COMMIT_RECORDS, f"{writer.QUEUE_SIZE:,}"):
        assert f"{limit} " in PAGES[page]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]*)", PAGES[page]):
        assert ((DOCS / page).parent / target).exists(), target


def test_a_script_with_the_recipe_loses_nothing_when_it_is_terminated(tmp_path: Path) -> None:
    (recipe,) = [
        block for block in re.findall(r"```python\n(.*?)```", PAGES["ledger.md"], re.DOTALL) if "SIGTERM" in block
    ]
    program = (
        "import os\nimport tokenmeter\n" + recipe + "tokenmeter.configure(ledger='spend.db')\n"
        "for _ in range(5):\n"
        "    with tokenmeter.call('deepseek', 'deepseek-chat') as call:\n"
        "        call.observe_usage(tokenmeter.Usage(input_tokens=1, output_tokens=1))\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "while True:\n    pass\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, timeout=60, check=False)
    assert done.returncode == 143
    with contextlib.closing(sqlite3.connect(tmp_path / "spend.db")) as ledger:
        assert ledger.execute("SELECT count(*) FROM calls").fetchone() == (5,)
