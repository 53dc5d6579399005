"""docs/fleet.md and its Chinese page: blocks run on a real server as they are pasted, in their order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs.fleet import fleet_calls
from tests.rigs.postgres_server import PostgresServer, postgres_server
from tokenmeter.ledger.fleet import spooled

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / name).read_text("utf-8") for name in ("fleet.md", "zh/fleet.md")}
URL = "postgresql://spend@db/spend"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as started:
        yield started


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_what_it_says_to_type_works(page: str, server: PostgresServer, tmp_path: Path) -> None:
    name = f"page{len(page)}"
    server.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'p'")
    server.execute(f"CREATE DATABASE {name} OWNER {name}")
    url = server.url_of(name, user=name, password="p")
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
    for part in spool.parent.glob(f"{spool.name}*"):  # a program that ends while it ships leaves its log beside
        part.rename(tmp_path / part.name.replace(spool.name, "spend.db"))
    commands = [line for block in blocks(page, "sh") for line in block.splitlines()]
    for command in commands:
        words = shlex.split(command.replace(URL, url))
        if "--follow" not in words:
            run("-m", *words)
    assert sum("--follow" in command for command in commands) == 1
    query, rights = blocks(page, "sql")
    assert [row[:2] for row in server.execute(query, url)] in ([("search", "CNY")], [])  # at the turn of a month
    for statement in rights.replace("spend_reader", f"{name}_reader").split(";"):
        if statement.strip():
            server.execute(statement, server.url_of(name))


@pytest.mark.parametrize("page", PAGES)
def test_its_limits_are_those_of_the_code(page: str) -> None:
    assert f"{spooled.KEPT:,}" in PAGES[page]
    assert f"{spooled._EXIT:.0f} s" in PAGES[page]


def test_the_chinese_page_has_the_same_commands_and_numbers() -> None:
    english, chinese = PAGES["fleet.md"], PAGES["zh/fleet.md"]
    for language in ("python", "sh", "sql"):
        one, other = (
            [re.sub(r" +#.*", "", block) for block in blocks(page, language)] for page in ("fleet.md", "zh/fleet.md")
        )
        assert one == other
    assert chinese.count("\n## ") == english.count("\n## ")
    measured = re.compile(r"\| ([0-9.,]+)[ |]")
    assert measured.findall(english) == measured.findall(chinese) != []
