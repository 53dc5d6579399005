"""What `verify` finds: each way in which a file can be wrong, and nothing in a sound one."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.ledger.test_copying import FORMS, many, written
from tests.rigs.wide_ledger import made_wide
from tokenmeter.ledger.schema import LedgerError
from tokenmeter.ledger.verify import verify


def wrong(path: Path) -> dict[str, int]:
    return {check.name: check.wrong for check in verify(str(path)) if check.wrong}


def test_a_sound_file_of_any_schema_has_nothing_wrong(tmp_path: Path) -> None:
    path = written(tmp_path / "spend.db", [*FORMS, *many(30)])
    made_wide(path, tmp_path / "old.db")
    assert [wrong(path), wrong(tmp_path / "old.db")] == [{}, {}]
    written(tmp_path / "old.db", many(3))
    assert wrong(tmp_path / "old.db") == {}
    assert all(check.examined for check in verify(str(path)))


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        pytest.param("UPDATE days SET amount_whole = amount_whole + 1 WHERE calls", "days of the roll-up", id="sum"),
        pytest.param("DELETE FROM days", "days of the roll-up", id="no sums"),
        pytest.param("DELETE FROM texts", "keys of calls", id="a text is missing"),
        pytest.param("UPDATE call_rows SET amount_pico = 5 WHERE seq = 7", "calls with charges", id="another amount"),
    ],
)
def test_what_is_wrong_is_found_and_counted(tmp_path: Path, spoil: str, found: str) -> None:
    path = written(tmp_path / "spend.db", many(10))
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(spoil)
    assert found in wrong(path)


def test_one_call_in_both_tables_is_found(tmp_path: Path) -> None:
    source = written(tmp_path / "source.db", many(5))
    made_wide(source, tmp_path / "old.db")
    written(tmp_path / "old.db", many(1))
    with closing(sqlite3.connect(tmp_path / "old.db")) as connection, connection:
        connection.execute("UPDATE call_rows SET id = (SELECT id FROM wide_calls LIMIT 1)")
    assert wrong(tmp_path / "old.db") == {"ids of calls": 1}


def test_pages_that_are_damaged_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "spend.db", many(400))
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        root = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'call_rows_ended'").fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)
    try:
        assert wrong(path)
    except LedgerError as error:  # as SQLite finds it: in the check, or already on the way to it
        assert "damaged" in str(error)  # noqa: PT017
