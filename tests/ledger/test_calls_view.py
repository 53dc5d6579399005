"""The view `calls`: any SQLite reads it as wide rows, and our own connection reads the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.ledger.test_copying import FORMS, many, written
from tests.rigs.ledger_rows import rows
from tests.rigs.wide_ledger import made_wide
from tokenmeter.ledger.schema import open_for_reading
from tokenmeter.ledger.tables import COLUMNS


def ours(path: Path) -> list[tuple[object, ...]]:
    with closing(open_for_reading(str(path))) as connection:
        return connection.execute(f"SELECT {', '.join(COLUMNS)} FROM calls ORDER BY seq").fetchall()  # noqa: S608


def test_our_own_view_and_that_of_the_file_are_equal(tmp_path: Path) -> None:
    path = written(tmp_path / "spend.db", [*FORMS, *many(5)])
    assert ours(path) == [tuple(row[name] for name in COLUMNS) for row in rows(path)]


def test_rows_of_the_first_schema_and_narrow_ones_stand_in_one_view(tmp_path: Path) -> None:
    made_wide(written(tmp_path / "source.db", FORMS), tmp_path / "old.db", without=("budget_window",))
    before = ours(tmp_path / "old.db")
    written(tmp_path / "old.db", many(3))
    assert ours(tmp_path / "old.db")[: len(FORMS)] == before
    assert ours(tmp_path / "old.db") == [tuple(row[name] for name in COLUMNS) for row in rows(tmp_path / "old.db")]


def test_a_component_that_came_after_the_file_is_not_known_and_is_added_by_the_first_write(tmp_path: Path) -> None:
    path = written(tmp_path / "spend.db", many(3))
    with closing(sqlite3.connect(path)) as connection:  # as a version that did not know the component made it
        connection.execute("DROP VIEW calls")
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f"DROP TRIGGER {name}")
        connection.execute("ALTER TABLE call_rows DROP COLUMN video_input_tokens")
        connection.execute("CREATE VIEW calls AS SELECT seq FROM call_rows")
    column = COLUMNS.index("video_input_tokens")
    assert [row[column] for row in ours(path)] == [None] * 3
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 3")
    written(path, FORMS)
    assert len(rows(path)) == 3 + len(FORMS)
