"""Stores of what was learnt: bounded, shared by processes, whole after a kill."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tokenmeter import ConfigurationError, TokenCount
from tokenmeter.tokens.calibration.calibration import Calibration
from tokenmeter.tokens.calibration.fit import WINDOW, Pair
from tokenmeter.tokens.calibration.store import Change, FileStore, Key, MemoryStore, Store

START = 1_767_225_600_000_000
"""2026-01-01 (UTC), in microseconds."""


class Clock:
    def __init__(self) -> None:
        self.now = START / 1e6

    def __call__(self) -> float:
        self.now += 60
        return self.now


KIND = {"provider": "alibaba", "model": "qwen-plus", "script": "zh", "part": "input"}


def stores(tmp_path: Path) -> list[Store]:
    return [MemoryStore(), FileStore(tmp_path / "learnt.db")]


KEY = Key("alibaba", "qwen-plus", "zh", "input", "v qwen exact")


@pytest.mark.parametrize("which", [0, 1], ids=["memory", "file"])
def test_a_store_keeps_the_newest_and_what_follows_a_change(tmp_path: Path, which: int) -> None:
    store = stores(tmp_path)[which]
    pairs = [Pair(START + n, n, n + 3) for n in range(WINDOW + 20)]
    for pair in pairs:
        kept = store.add(KEY, pair)
    assert kept == pairs[-WINDOW:]
    assert store.load() == ({KEY: kept}, [])
    change = Change(KEY, START + WINDOW + 10)
    assert store.mark(change)
    assert not store.mark(change)
    assert store.load() == ({KEY: pairs[-10:]}, [change])
    assert store.forget("another") == 0
    assert store.forget("qwen-plus") == 10
    assert not any(store.load())


def test_a_file_is_read_again_by_the_next_process(tmp_path: Path) -> None:
    path = tmp_path / "learnt.db"
    first = Calibration(FileStore(path), now=Clock())
    for number in range(30):
        first.learn(TokenCount(100 + number, 90, 110, "exact", "qwen"), 130 + number, **KIND)
    again = Calibration(FileStore(path), now=Clock())
    count = TokenCount(100, 90, 110, "exact", "qwen")
    assert again.correct(count, **KIND) == first.correct(count, **KIND)
    path.chmod(0o400)
    assert Calibration(FileStore(path)).entries()[0].fit == first.entries()[0].fit


WRITER = """
import sys
from tokenmeter.tokens.calibration.store import FileStore, Key, Pair
store = FileStore(sys.argv[1])
for number in range(40):
    store.add(Key("p", "m", "zh", "input", "v"), Pair(1_767_225_600_000_000 + number, int(sys.argv[2]), number))
"""


def test_processes_and_threads_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "learnt.db"
    running = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(n)]) for n in range(2)]
    store = FileStore(path)

    def write() -> None:
        for number in range(20):
            store.add(Key("p", "m", "zh", "input", "v"), Pair(START + number, 9, number))

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    [pairs] = store.load()[0].values()
    assert sorted(pair.counted for pair in pairs) == [0] * 40 + [1] * 40 + [9] * 40


ENDLESS = WRITER.replace("range(40)", "range(10**9)") + "    print(number, flush=True)\n"


def test_a_process_killed_while_writing_leaves_the_file_whole(tmp_path: Path) -> None:
    path = tmp_path / "learnt.db"
    store = FileStore(path)
    store.add(KEY, Pair(START, 1, 2))
    process = subprocess.Popen([sys.executable, "-c", ENDLESS, str(path), "5"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert store.load()[0][KEY] == [Pair(START, 1, 2)]


@pytest.mark.parametrize("content", ["text", "database", "folder"])
def test_a_file_that_is_something_else_is_said_and_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.db"
    if content == "text":
        path.write_text("not a database, " * 100)
    elif content == "folder":
        path.mkdir()
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("CREATE TABLE customers (name TEXT)")
        connection.close()
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ConfigurationError, match=r"other\.db"):
        FileStore(path)
    assert before is None or path.read_bytes() == before
