"""The ten questions of docs/questions.md, as they are typed: the same answers from every engine that is here."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.docs.test_questions_page import QUESTIONS, folder
from tests.rigs.clickhouse_server import ClickHouseServer
from tests.rigs.fleet import ship
from tests.rigs.postgres_server import PostgresServer
from tokenmeter.cli import main
from tokenmeter.ledger.fleet.database import shown
from tokenmeter.ledger.report.periods import Zone

__all__ = ["folder"]  # the ledger of that page's tests

COMMANDS = [(number, command) for number, commands in QUESTIONS.items() for command in commands]
ENGINES = ("sealed months by DuckDB", "postgresql", "clickhouse")


@pytest.fixture(scope="module", autouse=True)
def home_zone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Shanghai")
        yield


@pytest.fixture(scope="module")
def place(request: pytest.FixtureRequest, folder: Path) -> str:
    """Where the calls of the ledger are for an engine."""
    path = folder / "spend.db"
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("server")
        url = server.database("questions")
        ship(path, url)
        return url
    if request.param == "clickhouse":
        clickhouse: ClickHouseServer = request.getfixturevalue("clickhouse")
        url = clickhouse.url_of("questions")
        ship(path, url)
        return url
    pytest.importorskip("duckdb", reason="sealed months are answered by DuckDB")
    from tokenmeter.ledger.sealed.seal import close

    for month in ("2026-10", "2026-11"):
        close(
            str(path), month, Zone.named("Asia/Shanghai"), str(folder / "months"), now=datetime(2027, 1, 1, tzinfo=UTC)
        )
    return str(folder / "months")


def answer(command: str, place: str, target: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """What a command answers of a place: its JSON, or what it writes."""
    words = [place if word == "spend.db" else word for word in shlex.split(command)]
    if "--output" in words:
        words[words.index("--output") + 1] = str(target)
        assert main(words) == 0
        return target.read_text(encoding="utf-8").replace(shown(place), "PLACE").replace(place, "PLACE")
    assert main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    return {name: value for name, value in found.items() if name not in ("ledger", "path", "source", "answered_from")}


@pytest.mark.parametrize("place", ENGINES, indirect=True)
@pytest.mark.parametrize(("number", "command"), COMMANDS, ids=[f"{number}" for number, _ in COMMANDS])
def test_every_engine_answers_as_the_file_does(
    place: str, folder: Path, number: int, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    file = answer(command, str(folder / "spend.db"), tmp_path / "file", capsys)
    engine = answer(command, place, tmp_path / "engine", capsys)
    if isinstance(file, str):
        assert engine == file
        assert re.search(r"\d", file)
    else:
        assert engine == file
        assert file["rows"], number
