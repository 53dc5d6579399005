"""The ledger in one process: what a row says, what it never says, and what happens when the file is not there."""

from __future__ import annotations

import gc
import json
import logging
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.made_records import NOON, nanoseconds, priced, record, unpriced
from tokenmeter._support import guard
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger import rows as ledger_rows
from tokenmeter.ledger import schema
from tokenmeter.ledger.writer import Ledger
from tokenmeter.money import Money
from tokenmeter.record import Attempt, End
from tokenmeter.usage import Source, Usage


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spend.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    ledger = Ledger(path)
    yield ledger
    ledger.close(1)


@pytest.fixture
def production() -> Iterator[None]:
    """Failures of ours are logged, as in a user's program."""
    guard.raise_failures(False)
    yield
    guard.raise_failures(True)


def rows(path: Path, what: str = "*", table: str = "calls") -> list[dict[str, Any]]:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(f"SELECT {what} FROM {table} ORDER BY seq")]  # noqa: S608


def test_a_row_says_everything_of_a_call(ledger: Ledger, path: Path) -> None:
    started = datetime(2026, 11, 1, 11, 59, 58, 123456, tzinfo=UTC)
    ledger.write(
        record(
            priced("0.0012"),
            id="c1",
            parent_id="p1",
            ended=NOON + timedelta(microseconds=7),
            started_ns=int(started.timestamp()) * 10**9 + 123_456_789,
            time_to_first_chunk=0.25,
            stream=True,
            host="api.deepseek.com",
            port=443,
            region="cn-beijing",
            response_model="deepseek-chat-0324",
            service_tier="priority",
            status_code=200,
            usage=Usage(
                input_tokens=1000,
                output_tokens=90,
                cache_read_input_tokens=400,
                cache_writes={"1h": 5},
                quantities={"audio_seconds": Decimal("1.5")},
                sources={"output_tokens": Source.ESTIMATED},
                ranges={"output_tokens": (80, 110)},
            ),
            usage_raw={"prompt_tokens": 1000, "details": {"tier": "fast"}},
            unknown_fields=("usage.shiny",),
            attempts=(
                Attempt(429, None, nanoseconds(NOON), 100_000_000, "req-1", reason="no usage in an error"),
                Attempt(200, None, nanoseconds(NOON), 900_000_000, "req-2", usage=True),
            ),
            tags={"team": "搜索"},
            scope=("nightly", "rerank"),
            vendor_cost=Money(Decimal("0.0000001"), "USD"),
            finish_reasons=("stop",),
            response_id="chatcmpl-1",
            flags=("total_mismatch",),
            trace_id="0af7651916cd43dd8448eb211c80319c",
            span_id="b7ad6b7169203331",
            params={"service_tier": "priority", "batch": False},
        )
    )
    assert ledger.flush()
    (row,) = rows(path)
    texts = {"usage", "usage_sources", "usage_ranges", "usage_raw", "attempts", "tags", "scope", "charges", "params"}
    read = {name: json.loads(value) if name in texts and value else value for name, value in row.items()}
    attempts = read.pop("attempts")
    assert [attempt["status"] for attempt in attempts] == [429, 200]
    assert attempts[0] == {
        "status": 429,
        "error": None,
        "started_at": "2026-11-01T12:00:00.000000Z",
        "duration": 0.1,
        "request_id": "req-1",
        "usage": False,
        "reason": "no usage in an error",
    }
    assert {name: value for name, value in read.items() if value is not None} == {
        "seq": 1,
        "id": "c1",
        "parent_id": "p1",
        "started_at": "2026-11-01T11:59:58.123456Z",
        "ended_at": "2026-11-01T12:00:00.000007Z",
        "started_us": 1793534398123456,
        "ended_us": 1793534400000007,
        "duration": pytest.approx(1.876550211),
        "time_to_first_chunk": 0.25,
        "provider": "deepseek",
        "otel_provider": "deepseek",
        "model": "deepseek-chat",
        "request_model": "deepseek-chat",
        "response_model": "deepseek-chat-0324",
        "api": "openai.chat",
        "operation": "chat",
        "host": "api.deepseek.com",
        "port": 443,
        "region": "cn-beijing",
        "service_tier": "priority",
        "stream": 1,
        "end_state": "complete",
        "status_code": 200,
        "finish_reasons": '["stop"]',
        "response_id": "chatcmpl-1",
        "input_tokens": 1000,
        "output_tokens": 90,
        "cache_read_input_tokens": 400,
        "usage": {
            "input_tokens": 1000,
            "output_tokens": 90,
            "cache_read_input_tokens": 400,
            "cache_write_1h_input_tokens": 5,
            "quantities": {"audio_seconds": "1.5"},
        },
        "usage_source": "estimated",
        "usage_sources": {"output_tokens": "estimated"},
        "usage_ranges": {"output_tokens": [80, 110]},
        "usage_raw": {"prompt_tokens": 1000, "details": {"tier": "fast"}},
        "unknown_fields": '["usage.shiny"]',
        "status": "priced",
        "amount": "0.0012",
        "currency": "CNY",
        "charges": [{"component": "input", "quantity": "0.0012", "rate": "1", "per": "1", "amount": "0.0012"}],
        "rate_id": "deepseek/deepseek-chat#1",
        "effective_from": "2026-01-01T00:00:00+00:00",
        "dating": "official",
        "confidence": "corroborated",
        "list": "CNY",
        "priced_at": "2026-11-01T12:00:00+00:00",
        "book": "test-book",
        "vendor_amount": "0.0000001",
        "vendor_currency": "USD",
        "attempt_count": 2,
        "tags": {"team": "搜索"},
        "scope": ["nightly", "rerank"],
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "span_id": "b7ad6b7169203331",
        "params": {"service_tier": "priority", "batch": False},
        "flags": '["total_mismatch"]',
    }


def test_what_is_not_known_is_null(ledger: Ledger, path: Path) -> None:
    ledger.write(record(unpriced("no usage"), usage=Usage(source=Source.NONE), provider=None, request_model=None))
    assert ledger.flush()
    (row,) = rows(path)
    unknown = ("provider", "model", "input_tokens", "output_tokens", "amount", "currency", "attempt_count", "usage")
    assert {name: row[name] for name in unknown} == dict.fromkeys(unknown)
    assert (row["status"], row["cost_reason"], row["usage_source"]) == ("unpriced", "no usage", "none")


def test_rows_fit_the_table(path: Path) -> None:
    with closing(schema.open_for_writing(str(path))) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(calls)")]
    assert sorted(columns) == sorted([*ledger_rows.COLUMNS, "seq"])


SECRETS = ("sk-abcdef0123456789", "my dear diary", "身份证号码 110101", "Bearer abc")


def test_no_sentence_and_no_key_reaches_the_file(ledger: Ledger, path: Path) -> None:
    told = dict(enumerate(SECRETS)) | {"nested": [*SECRETS], "n": 3}
    named = {str(key): value for key, value in told.items()}
    ledger.write(record(usage_raw={"prompt_tokens": 5, "echo": named}, params=named))
    assert ledger.flush()
    ledger.close()
    (row,) = rows(path)
    assert json.loads(row["usage_raw"])["prompt_tokens"] == 5
    data = path.read_bytes()
    assert not [secret for secret in SECRETS if secret.encode() in data]


def test_a_number_beyond_sqlite_stays_exact_in_the_usage(ledger: Ledger, path: Path) -> None:
    ledger.write(record(usage=Usage(input_tokens=10**30, output_tokens=5)))
    assert ledger.flush()
    (row,) = rows(path)
    assert (row["input_tokens"], row["output_tokens"]) == (None, 5)
    assert json.loads(row["usage"])["input_tokens"] == 10**30


@pytest.mark.parametrize(
    "text",
    [pytest.param("你好🙂", id="wide"), pytest.param("a\ud800b", id="lone surrogate"), pytest.param("x\0y", id="nul")],
)
def test_any_text_can_be_a_tag_and_a_model(ledger: Ledger, path: Path, text: str) -> None:
    ledger.write(record(tags={text: text}, request_model=text, scope=(text,)))
    assert ledger.flush()
    assert ledger.health()["lost"] == 0
    (row,) = rows(path)
    expected = text.replace("\ud800", "?")
    assert json.loads(row["tags"]) == {expected: expected}


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
    assert [row["id"] for row in rows(path)] == ["before", "after"]
    assert ledger.health()["lost"] == 2
    assert ledger.flush()
    assert sum(row["calls"] for row in rows(path, table="losses")) == 2


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
    assert [row["id"] for row in rows(path, "id")] == ids


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
    assert {row["id"] for row in rows(path, "id")} == {f"{a}-{b}" for a in range(6) for b in range(300)}


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


def test_a_queue_without_room_is_refused(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="queue_size"):
        Ledger(path, queue_size=0)


# A file that cannot be written ------------------------------------------------------------------------------------


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
        pytest.param(
            newer, f"newer tokenmeter .schema 99, this one knows {len(schema.MIGRATIONS)}.: upgrade", id="newer"
        ),
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
    assert ledger.health() | {"problem": None} == {
        "path": str(path), "written": 0, "waiting": 2, "lost": 0, "problem": None,
    }  # fmt: skip
    assert len(caplog.records) == 1
    assert re.search(words, caplog.records[0].getMessage())
    path.rename(path.with_name("moved"))
    assert ledger.flush()
    assert len(rows(path)) == 2
    assert ledger.health()["problem"] is None


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
    assert [(row["calls"], row["reason"]) for row in rows(path, table="losses")] == [
        (lost, "the queue was full while the file could not be written")
    ]
    ledger.close()


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
            reader.execute("DELETE FROM calls")
    assert os.stat(path).st_size
