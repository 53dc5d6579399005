"""`tokenmeter ledger ship`, as it is typed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rigs.fleet import file_calls, fleet_calls, some_calls, written
from tests.rigs.made_records import record
from tests.rigs.postgres_server import PASSWORD, PostgresServer, postgres_server
from tests.rigs.services import until
from tokenmeter.cli import main


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as started:
        yield started


def test_ships_what_is_there(server: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, url = written(tmp_path / "spend.db", some_calls(30)), server.database("once")
    assert main(["ledger", "ship", str(path), url]) == 0
    assert capsys.readouterr().out == f"postgresql://postgres@127.0.0.1:{server.port}/once: 30 new calls of 30 read\n"
    written(path, [record(id="bad", request_model="a\0b")])
    assert main(["ledger", "ship", str(path), url, "--json"]) == 1
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert (answer["read"], answer["new"], [call["id"] for call in answer["refused"]]) == (1, 0, ["bad"])
    assert "refused: call bad: " in printed.err


def test_follows_a_file_through_a_crash_of_the_server(server: PostgresServer, tmp_path: Path) -> None:
    path, url = written(tmp_path / "spend.db", some_calls(30)), server.database("follow")
    command = [sys.executable, "-m", "tokenmeter", "ledger", "ship", str(path), url, "--follow"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: server.execute("SELECT 1 FROM pg_namespace WHERE nspname = 'tokenmeter'", url))
            until(lambda: len(fleet_calls(url)) == 30)
            server.stop()
            written(path, some_calls(20, first=30))
            assert process.stderr is not None
            assert "trying again" in process.stderr.readline()
            server.start()
            assert "is shipped again" in process.stderr.readline()
            until(lambda: len(fleet_calls(url)) == 50)
        finally:
            process.kill()
    assert fleet_calls(url) == file_calls(path)


def test_a_place_that_is_no_database_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "ship", str(tmp_path / "spend.db"), "other.db"]) == 2
    assert "other.db is not a database" in capsys.readouterr().err


def test_an_empty_database_is_said_without_its_password(
    server: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ledger", "info", server.url]) == 2
    printed = capsys.readouterr().err
    assert "holds no ledger yet: tokenmeter ledger ship FILE postgresql://postgres@" in printed
    assert PASSWORD not in printed
