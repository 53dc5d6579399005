"""The SQLite store where the model says nothing: several processes, forks, files that are replaced or not ours."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import threading
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.budgets.contract import BudgetAsk, BudgetCharge, StoreError, WindowOver, WindowSpend
from tokenmeter.budgets.sqlite_store import SqliteBudgetStore
from tokenmeter.errors import ConfigurationError

NEVER = 1 << 60
ASK = BudgetAsk("b", 0, 1, 0, NEVER, NEVER, 1_000, 10, 3)


def charge(amount: int) -> BudgetCharge:
    return BudgetCharge("b", 0, 1, NEVER, amount)


def test_a_clock_that_is_set_back_opens_no_window_again_in_another_process(tmp_path: Path) -> None:
    now = 10_000_000
    hour = ASK._replace(start=7_200_000, end=10_800_000, bucket=2)
    first = SqliteBudgetStore(tmp_path / "b.db", lambda: now * 1_000_000, deadline=5)
    assert first.reserve("a", [hour], 60) is None
    now = 10_800_000
    assert first.reserve("b", [hour._replace(start=now, end=now + 3_600_000, bucket=3)], 60) is None
    now = 10_799_999
    second = SqliteBudgetStore(tmp_path / "b.db", lambda: now * 1_000_000, deadline=5)
    assert second.reserve("c", [hour], 60) == WindowOver(10_800_000)


def test_a_child_process_opens_a_connection_of_its_own(tmp_path: Path) -> None:
    store = SqliteBudgetStore(tmp_path / "b.db", deadline=5)
    assert store.reserve("parent", [ASK], 60) is None
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()

    def child() -> None:
        answers.put(store.reserve("child", [ASK], 60))
        answers.put(store.settle("child", [charge(7)]))

    process = context.Process(target=child)
    process.start()
    process.join(30)
    assert process.exitcode == 0
    assert (answers.get(), answers.get()) == (None, (7,))
    assert store.settle("parent", [charge(5)]) == (12,)
    assert store.read("b", 0, 1) == WindowSpend(12, 0, 0, 0)


def test_a_file_that_is_replaced_is_opened_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "b.db"
    store, other = SqliteBudgetStore(path, deadline=5), SqliteBudgetStore(path, deadline=5)
    store.charge([charge(5)])
    for one in tmp_path.iterdir():
        one.unlink()
    assert store.settle("late", [charge(1)]) == (1,)
    assert other.read("b", 0, 1).spent == 1
    assert "was replaced" in caplog.text


def test_a_file_that_may_not_be_written_is_a_configuration_error(tmp_path: Path) -> None:
    path = tmp_path / "folder"
    path.mkdir()
    with pytest.raises(ConfigurationError, match="cannot be used"):
        SqliteBudgetStore(path)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        SqliteBudgetStore(tmp_path / "missing" / "b.db")


def test_a_file_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE calls(id)")
    with pytest.raises(ConfigurationError, match="no budget store"):
        SqliteBudgetStore(path)
    (tmp_path / "notes.txt").write_text("these are notes, and no database at all " * 100)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        SqliteBudgetStore(tmp_path / "notes.txt")


def test_the_file_is_for_its_owner_only(tmp_path: Path) -> None:
    SqliteBudgetStore(tmp_path / "b.db").charge([charge(1)])
    assert {stat.S_IMODE(os.stat(one).st_mode) for one in tmp_path.iterdir()} == {0o600}


def test_a_database_that_breaks_is_a_store_error(tmp_path: Path) -> None:
    store = SqliteBudgetStore(tmp_path / "b.db", deadline=0.05)
    with sqlite3.connect(tmp_path / "b.db") as db:
        db.execute("DROP TABLE counters")
    with pytest.raises(StoreError, match="counters"):
        store.reserve("a", [ASK], 60)


def test_a_thread_waits_no_longer_than_its_deadline_for_another(tmp_path: Path) -> None:
    store = SqliteBudgetStore(tmp_path / "b.db", deadline=0.05)
    inside, over = threading.Event(), threading.Event()

    def keep() -> None:
        with store._transaction():
            inside.set()
            over.wait(30)

    thread = threading.Thread(target=keep)
    thread.start()
    inside.wait(30)
    with pytest.raises(StoreError, match="other threads"):
        store.read("b", 0, 1)
    over.set()
    thread.join()
    assert store.read("b", 0, 1).spent == 0


def test_what_is_over_is_removed(tmp_path: Path) -> None:
    now = 0
    path = tmp_path / "b.db"
    store = SqliteBudgetStore(path, lambda: now * 1_000_000, deadline=5)

    def rows() -> dict[str, Any]:
        with sqlite3.connect(path) as db:
            tables = ("counters", "holds", "done", "swept", "once")
            return {one: db.execute("SELECT count(*) FROM " + one).fetchone()[0] for one in tables}  # noqa: S608

    for number in range(200):
        now += 1_000
        lasts = ASK._replace(bucket=number, start=now, end=now + 1, until=now + 1_000, span=61)
        assert store.reserve(f"c{number}", [lasts], 1) is None
        if number % 2:
            store.settle(f"c{number}", [BudgetCharge("b", number, 61, now + 1_000, 4)])
        store.once(f"k{number}", now + 1_000)
    assert rows()["done"] == 100
    now += 2 * 86_400_000
    store.read("b", 0, 1)  # the last hold is swept now, and its counter kept until then
    now += 2 * 86_400_000
    store.read("b", 0, 1)
    assert rows() == {"counters": 0, "holds": 0, "done": 0, "swept": 0, "once": 0}
