"""The file of a ledger: wrong, locked, moved away, read while it is written."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.ledger_rows import rows
from tests.rigs.made_records import record
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger import schema
from tokenmeter.ledger.writer import Ledger
from tokenmeter.record import End


def test_a_relative_path_stays_where_it_was_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ledger = Ledger("spend.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    ledger.write(record())
    ledger.close()
    assert len(rows(tmp_path / "spend.db")) == 1


@pytest.mark.parametrize("path", ["", ":memory:", "a\0b"])
def test_a_path_that_cannot_be_a_file_is_refused_at_once(path: str) -> None:
    with pytest.raises(ConfigurationError, match=r"spend\.db"):
        Ledger(path)


def garbage(path: Path) -> None:
    path.write_bytes(b"this is not a database, not at all " * 100)


def newer(path: Path) -> None:
    schema.open_for_writing(str(path)).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
        connection.commit()


def folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(garbage, "not a ledger, or it is damaged: move it away", id="garbage"),
        pytest.param(newer, f"newer tokenmeter .schema 99, this one knows {schema.VERSION}.: upgrade", id="newer"),
        pytest.param(foreign, "something else, not a ledger: name another", id="foreign"),
        pytest.param(folder, "is a folder: name a file", id="folder"),
    ],
)
def test_a_wrong_file_is_said_once_left_alone_and_written_when_it_is_gone(
    ledger: Ledger, path: Path, caplog: pytest.LogCaptureFixture, spoil: Any, words: str
) -> None:
    spoil(path)
    before = path.read_bytes() if path.is_file() else None
    caplog.set_level(logging.WARNING, "tokenmeter")
    ledger.write(record())
    assert not ledger.flush(0.3)
    ledger.write(record())
    assert not ledger.flush(0.3)
    assert before == (path.read_bytes() if path.is_file() else None)
    health = ledger.health()
    assert (health["written"], health["waiting"], health["lost"], health["commits"]) == (0, 2, 0, 0)
    assert (health["path"], health["lost_by_reason"]) == (str(path), {})
    assert health["problem"]
    assert len(caplog.records) == 1
    assert re.search(words, caplog.records[0].getMessage())
    path.rename(path.with_name("moved"))
    assert ledger.flush()
    assert len(rows(path)) == 2
    assert ledger.health()["problem"] is None


def test_a_locked_file_delays_and_loses_nothing(ledger: Ledger, path: Path) -> None:
    ledger.write(record())
    assert ledger.flush()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        ledger.write(record())
        assert not ledger.flush(0.4)
        other.execute("ROLLBACK")
    assert ledger.flush()
    assert len(rows(path)) == 2


def test_a_file_moved_away_is_not_written_any_more(ledger: Ledger, path: Path) -> None:
    ledger.write(record(id="first"))
    assert ledger.flush()
    for part in list(path.parent.iterdir()):
        part.rename(path.parent / part.name.replace("spend", "archive"))
    ledger.write(record(id="second"))
    assert ledger.flush()
    assert [row["id"] for row in rows(path)] == ["second"]
    assert [row["id"] for row in rows(path.with_name("archive.db"))] == ["first"]


def test_reading_goes_on_while_writing(ledger: Ledger, path: Path) -> None:
    ledger.write(record())
    assert ledger.flush()
    with closing(schema.open_for_reading(str(path))) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM calls").fetchone()[0] == 1
        ledger.write(record(end=End.ERROR))
        assert ledger.flush()
        assert reader.execute("SELECT count(*) FROM calls").fetchone()[0] == 1  # its own snapshot
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            reader.execute("DELETE FROM call_rows")
    assert os.stat(path).st_size
