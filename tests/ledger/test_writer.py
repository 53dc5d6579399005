"""The ledger in one process: what a row says, what it never says, and what happens when the file is not there."""

from __future__ import annotations

import gc
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.ledger_rows import rows
from tests.rigs.made_records import record
from tokenmeter._support import guard
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.file import LedgerFile
from tokenmeter.ledger.rows import row
from tokenmeter.ledger.writer import Ledger


@pytest.fixture
def production() -> Iterator[None]:
    """Failures of ours are logged, as in a user's program."""
    guard.raise_failures(False)
    yield
    guard.raise_failures(True)


@pytest.mark.usefixtures("production")
def test_a_call_that_cannot_be_priced_is_still_recorded(ledger: Ledger, path: Path) -> None:
    def broken(_: object) -> Any:
        raise ZeroDivisionError

    ledger.write(record(pricer=broken, id="broken"))
    ledger.write(record(id="whole"))
    assert ledger.flush()
    first, second = rows(path)
    assert (first["id"], first["status"], first["amount"], first["input_tokens"]) == ("broken", "unpriced", None, 1000)
    assert "pricing failed" in first["cost_reason"]
    assert (second["status"], second["amount"]) == ("priced", "0.0012")


@pytest.mark.usefixtures("production")
def test_a_record_that_cannot_be_stored_does_not_take_its_neighbours_with_it(ledger: Ledger, path: Path) -> None:
    ledger.write(record(id="before"))
    ledger.write(record(id="broken", port=object()))
    ledger.write(record(id="unreadable", started_ns="yesterday"))
    ledger.write(record(id="after"))
    assert ledger.flush()
    assert [one["id"] for one in rows(path)] == ["before", "after"]
    assert ledger.health()["lost"] == 2
    assert ledger.flush()
    assert sum(one["calls"] for one in rows(path, table="losses")) == 2


def test_the_same_record_twice_is_one_row(ledger: Ledger, path: Path) -> None:
    one = record()
    ledger.write(one)
    assert ledger.flush()
    ledger.write(one)
    assert ledger.flush()
    assert len(rows(path)) == 1


def test_order_is_kept_and_batches_lose_nothing(ledger: Ledger, path: Path) -> None:
    ids = [f"r{number}" for number in range(2_345)]
    for id_ in ids:
        ledger.write(record(id=id_))
    assert ledger.flush(30)
    assert [one["id"] for one in rows(path, "id")] == ids


def test_threads_write_at_once(ledger: Ledger, path: Path) -> None:
    def work(name: int) -> None:
        for number in range(300):
            ledger.write(record(id=f"{name}-{number}"))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.flush(30)
    assert {one["id"] for one in rows(path, "id")} == {f"{a}-{b}" for a in range(6) for b in range(300)}


def test_records_written_by_the_garbage_collector_do_not_lock_the_writer(ledger: Ledger, path: Path) -> None:
    class Forgotten:
        def __init__(self, number: int) -> None:
            self.number, self.itself = number, self

        def __del__(self) -> None:
            ledger.write(record(id=f"gone-{self.number}"))

    thresholds = gc.get_threshold()
    gc.set_threshold(5)  # collects within nearly every statement, the writer's own included
    try:
        for number in range(400):
            Forgotten(number)
            ledger.write(record(id=f"here-{number}"))
            if number % 100 == 0:
                assert ledger.flush(20)
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    assert ledger.flush(20)
    assert len(rows(path, "id")) == 800


def test_a_record_without_flush_is_committed_by_itself(ledger: Ledger, path: Path) -> None:
    ledger.write(record())
    waiting = threading.Event()
    for _ in range(200):
        if path.exists() and ledger.health()["written"]:
            break
        waiting.wait(0.05)
    assert len(rows(path)) == 1


def test_flush_of_nothing_and_close_of_nothing_make_no_file(ledger: Ledger, path: Path) -> None:
    assert ledger.flush()
    ledger.close()
    assert not path.exists()


def test_close_lets_go_and_a_later_record_reopens(ledger: Ledger, path: Path) -> None:
    ledger.write(record())
    ledger.close()
    assert sorted(found.name for found in path.parent.iterdir()) == ["spend.db"]  # WAL and index are folded in
    assert "tokenmeter-ledger" not in {thread.name for thread in threading.enumerate()}
    ledger.write(record())
    assert ledger.flush()
    assert len(rows(path)) == 2


def test_a_queue_without_room_is_refused(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="queue_size"):
        Ledger(path, queue_size=0)


def test_a_full_queue_slows_its_callers_down_and_loses_nothing(path: Path) -> None:
    ledger = Ledger(path, queue_size=20)

    def work(name: int) -> None:
        for number in range(500):
            ledger.write(record(id=f"{name}-{number}"))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.flush(30)
    assert ledger.health()["lost"] == 0
    assert {one["id"] for one in rows(path, "id")} == {f"{a}-{b}" for a in range(4) for b in range(500)}
    ledger.close()


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 130])
@pytest.mark.parametrize("variables", [32_766, 999])
def test_rows_are_whole_however_many_go_into_one_statement(count: int, variables: int, path: Path) -> None:
    file = LedgerFile(str(path))
    file.write([row(record(id="first"))])
    assert file._connection is not None
    file._connection.setlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, variables)
    sent = [record(id=f"r{number}", port=number) for number in range(count)]
    assert file.write([row(one) for one in sent]) == 0
    file.let_go()
    assert [(one["id"], one["port"]) for one in rows(path)[1:]] == [(f"r{n}", n) for n in range(count)]


# A file that cannot be written ------------------------------------------------------------------------------------


def folder(path: Path) -> None:
    path.mkdir()


def test_a_full_queue_counts_what_it_cannot_hold_and_the_file_says_so_later(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "spend.db"
    ledger = Ledger(path, queue_size=5)
    ledger.write(record())
    assert not ledger.flush(0.2)  # the writer has it in hand now, and cannot get rid of it
    for _ in range(12):
        ledger.write(record())
    health = ledger.health()
    assert (health["written"], health["waiting"] + health["lost"]) == (0, 13)
    assert "folder" in health["problem"]
    lost = health["lost"]
    assert lost >= 8
    path.parent.mkdir()
    assert ledger.flush()
    assert len(rows(path)) == 13 - lost
    assert [(one["calls"], one["reason"]) for one in rows(path, table="losses")] == [
        (lost, "the queue was full while the file could not be written")
    ]
    ledger.close()


def test_callers_of_a_locked_ledger_wait_once_and_losses_are_logged_once(path: Path, caplog: Any) -> None:
    ledger = Ledger(path, queue_size=5)
    ledger.write(record())
    assert ledger.flush()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        longest = 0.0
        for _ in range(40):
            began = time.monotonic()
            ledger.write(record())
            longest = max(longest, time.monotonic() - began)
        assert longest < 10  # 2 s, on an idle machine
        health = ledger.health()
        assert health["lost"] == 35
        assert caplog.text.count("later ones are lost until it is written again") == 1
        other.execute("ROLLBACK")
    until = time.monotonic() + 60
    while not ledger.flush(5):
        assert time.monotonic() < until
    assert len(rows(path)) == 6
    assert sum(one["calls"] for one in rows(path, table="losses")) == 35
    ledger.close()
