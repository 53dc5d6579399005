"""Upkeep of a file while another writer has it open: nothing is lost, and sums stay what they were."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.ledger.test_copying import FORMS, many, written
from tests.ledger.test_verify import wrong
from tests.rigs.asker import UTC_ZONE
from tests.rigs.ledger_rows import rows
from tests.rigs.made_records import NOON, priced, record
from tests.rigs.wide_ledger import made_wide
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.schema import LedgerError
from tokenmeter.ledger.upkeep import forget_tag, information, set_zone, vacuum
from tokenmeter.ledger.writer import Ledger


def test_what_a_ledger_holds(tmp_path: Path) -> None:
    path = written(tmp_path / "spend.db", [*FORMS, *(record(tags={"user": f"u{n}", "team": "a"}) for n in range(60))])
    said = information(str(path))
    assert (said["calls"], said["duplicates"], said["wide_calls"]) == (len(FORMS) + 60, 1, 0)
    assert said["tags_on_rows"] == ["user"]
    assert "team" in said["tags_in_rollup"]
    assert said["bytes"] >= os.path.getsize(path)
    made_wide(path, tmp_path / "old.db")
    assert information(str(tmp_path / "old.db"))["schema"] == 3


def test_vacuum_gives_room_back_and_an_open_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "spend.db"
    ledger = Ledger(path)
    for one in many(2_000):
        ledger.write(one)
    ledger.write(record(host="gone", tags={"team": "gone"}, scope=("gone",)))
    assert ledger.flush()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM call_rows WHERE seq > 10")
    done = vacuum(str(path))
    assert done.after < done.before / 3
    assert done.unused > 2
    ledger.write(record(host="gone", tags={"team": "gone"}, scope=("gone",)))  # its keys were dropped meanwhile
    ledger.close(30)
    assert wrong(path) == {}
    last = rows(path)[-1]
    assert (last["host"], last["tags"], last["scope"]) == ("gone", '{"team":"gone"}', '["gone"]')


def test_days_of_another_zone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    path = tmp_path / "spend.db"
    ledger = Ledger(path)
    for hour in range(24):
        ledger.write(record(priced("1"), ended=NOON + timedelta(hours=hour)))
    assert ledger.flush()
    assert set_zone(str(path), "Asia/Shanghai") == 8
    ledger.write(record(priced("1"), ended=NOON + timedelta(hours=5)))  # by a writer that knew the other zone
    ledger.close(30)
    report = ask(str(path), Question(by=("day",), zone=Zone.named("Asia/Shanghai")))
    assert report.source == "rollup"
    assert [(row.group, row.calls) for row in report.rows] == [(("2026-11-01",), 4), (("2026-11-02",), 21)]
    assert wrong(path) == {}
    with pytest.raises(ConfigurationError, match="not a time zone"):
        set_zone(str(path), "Mars/Olympus")


@pytest.mark.parametrize("users", [3, 80], ids=["in sets of tags", "on rows"])
def test_a_user_is_forgotten_and_the_money_stays(tmp_path: Path, users: int) -> None:
    path = written(
        tmp_path / "spend.db",
        [record(priced("0.5"), tags={"user": f"u{n % users}", "team": "a"}) for n in range(users * 2)],
    )
    assert forget_tag(str(path), "user", "u1", "forgotten") == 2
    assert b'u1"' not in path.read_bytes()
    values = [json.loads(row["tags"])["user"] for row in rows(path)]
    assert (values.count("forgotten"), values.count("u1"), values.count("u2")) == (2, 0, 2)
    (row,) = ask(str(path), Question(by=(), zone=UTC_ZONE)).rows
    assert (row.cost, row.calls) == (users, users * 2)
    assert wrong(path) == {}
    assert forget_tag(str(path), "user", "u1", "forgotten") == 0


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for one in (vacuum, information):
        with pytest.raises(LedgerError, match="there is no ledger"):
            one(str(tmp_path / "spend.db"))
    assert not (tmp_path / "spend.db").exists()
