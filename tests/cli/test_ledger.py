"""`tokenmeter ledger`: every action on a real file, by the command line."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.ledger.test_copying import FORMS, many, written
from tests.rigs.ledger_rows import rows
from tests.rigs.wide_ledger import made_wide
from tokenmeter.cli import main


def test_info_and_verify_say_what_a_file_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "spend.db", [*FORMS, *many(5)])
    assert main(["ledger", "info", str(path)]) == 0
    assert "calls" in capsys.readouterr().out
    assert main(["ledger", "verify", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["wrong"] == 0
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM days")
    assert main(["ledger", "verify", str(path)]) == 1
    assert "wrong" in capsys.readouterr().out


def test_migrate_goes_beside_the_old_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_wide(written(tmp_path / "source.db", FORMS), tmp_path / "old.db")
    assert main(["ledger", "migrate", str(tmp_path / "old.db")]) == 0
    assert f"{len(FORMS)} calls" in capsys.readouterr().out
    assert len(rows(tmp_path / "old.narrow.db")) == len(FORMS)
    assert main(["ledger", "migrate", str(tmp_path / "old.db")]) == 2
    assert "is there already" in capsys.readouterr().err


def test_merge_zone_forget_vacuum_and_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (str(written(tmp_path / f"{name}.db", many(3))) for name in ("one", "two"))
    target = str(tmp_path / "all.db")
    assert main(["ledger", "merge", one, two, "--to", target]) == 0
    assert main(["ledger", "zone", target, "Asia/Shanghai"]) == 0
    assert main(["ledger", "forget", target, "--tag", "user=u1"]) == 0
    assert main(["ledger", "vacuum", target]) == 0
    capsys.readouterr()
    assert main(["ledger", "export", target]) == 0
    calls = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(call["tags"]["user"] for call in calls) == ["forgotten"] * 2 + ["u0"] * 2 + ["u2"] * 2
    assert {call["charges"][0]["component"] for call in calls} == {"input"}
    assert main(["ledger", "forget", target, "--tag", "u1"]) == 2
    assert "NAME=VALUE" in capsys.readouterr().err
