"""docs/clickhouse.md and its Chinese page: blocks run on ClickHouse's engine as they are pasted, in their order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs.clickhouse_server import ClickHouseServer, clickhouse_server
from tests.rigs.fleet import fleet_calls
from tokenmeter.ledger.fleet.clickhouse import days

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / name).read_text("utf-8") for name in ("clickhouse.md", "zh/clickhouse.md")}
URL = "clickhouse://spend@db/spend"


@pytest.fixture(scope="module")
def server() -> Iterator[ClickHouseServer]:
    with clickhouse_server() as started:
        yield started


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_what_it_says_to_type_works(page: str, server: ClickHouseServer, tmp_path: Path) -> None:
    url = server.url_of(f"page{len(page)}")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "TOKENMETER_"))}
    clean |= {"XDG_STATE_HOME": str(tmp_path / "state"), "PYTHONUTF8": "1"}

    def run(*words: str) -> str:
        done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=tmp_path, timeout=120,
                              check=False, env=clean)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    for block in blocks(page, "python"):
        run("-c", block.replace(URL, url))
    assert [call["status"] for call in fleet_calls(url).values()] == ["priced"]
    (spool,) = (tmp_path / "state/tokenmeter").glob("spool-*.db")
    for part in spool.parent.glob(f"{spool.name}*"):
        part.rename(tmp_path / part.name.replace(spool.name, "spend.db"))
    for block in blocks(page, "sh"):
        for command in block.splitlines():
            run("-m", *shlex.split(command.replace(URL, url)))
    (query,) = blocks(page, "sql")
    assert [row[:2] for row in server.execute(query.strip().rstrip(";"), url)] in ([("search", "CNY")], [])


def test_its_limits_are_those_of_the_code() -> None:
    assert days._EVERY == 300
    assert "at most every five minutes" in PAGES["clickhouse.md"]


def test_the_chinese_page_has_the_same_commands_and_numbers() -> None:
    english, chinese = PAGES["clickhouse.md"], PAGES["zh/clickhouse.md"]
    for language in ("python", "sh", "sql"):
        one, other = ([re.sub(r" +#.*", "", block) for block in blocks(page, language)] for page in PAGES)
        assert one == other != []
    assert chinese.count("\n## ") == english.count("\n## ")
    measured = re.compile(r"\| ([0-9.,]+)[ |]")
    assert measured.findall(english) == measured.findall(chinese) != []
