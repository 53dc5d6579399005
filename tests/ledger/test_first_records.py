"""The first records of a process, a ledger that writes synchronously, and what is noticed of its file."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.ledger_rows import rows
from tests.rigs.made_records import priced, record
from tokenmeter.cost import Cost
from tokenmeter.ledger import rows as ledger_rows
from tokenmeter.ledger.writer import Ledger
from tokenmeter.record import Record


def _wait_for(path: Path, found: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """The rows, once they are as wanted."""
    until = time.monotonic() + 20
    while True:
        with suppress(sqlite3.Error):
            seen = rows(path) if path.exists() else []
            if found(seen):
                return seen
        assert time.monotonic() < until
        time.sleep(0.005)


def test_a_record_is_written_before_the_price_book_is_loaded_and_priced_after(ledger: Ledger, path: Path) -> None:
    loaded = threading.Event()

    def slowly(one: Record) -> Cost:
        assert loaded.wait(20)
        return priced("0.0012")

    for number in range(3):
        ledger.write(record(id=f"r{number}", pricer=slowly))
    early = _wait_for(path, lambda seen: len(seen) == 3)
    assert {(row["status"], row["amount"], row["cost_reason"]) for row in early} == {
        ("unpriced", None, ledger_rows.NOT_YET_PRICED)
    }
    assert [row["input_tokens"] for row in early] == [1000] * 3
    assert ledger.health()["waiting"] == 3
    loaded.set()
    late = _wait_for(path, lambda seen: all(row["status"] == "priced" for row in seen))
    assert [(row["id"], row["cost_reason"]) for row in late] == [(f"r{number}", None) for number in range(3)]
    assert all(row["amount"] for row in late)
    assert ledger.flush()
    assert (ledger.health()["written"], ledger.health()["waiting"]) == (3, 0)


@pytest.mark.parametrize("end", ["flush", "close"])
def test_what_was_written_early_is_priced_at_the_end(end: str, ledger: Ledger, path: Path) -> None:
    loaded = threading.Event()

    def slowly(one: Record) -> Cost:
        assert loaded.wait(20)
        return priced("0.0012")

    ledger.write(record(pricer=slowly))
    _wait_for(path, lambda seen: len(seen) == 1)
    threading.Timer(0.05, loaded.set).start()
    ledger.flush(20) if end == "flush" else ledger.close(20)
    assert [row["status"] for row in rows(path)] == ["priced"]


def test_a_synchronous_ledger_has_the_record_when_write_returns(path: Path) -> None:
    ledger = Ledger(path, sync=True)
    for number in range(5):
        ledger.write(record(id=f"r{number}"))
        assert [row["status"] for row in rows(path)] == ["priced"] * (number + 1)
    ledger.close(1)


def test_a_deleted_wal_is_noticed_and_nothing_of_it_lost(ledger: Ledger, path: Path, caplog: Any) -> None:
    ledger.write(record(id="before"))
    assert ledger.flush()
    Path(f"{path}-wal").unlink()
    ledger.write(record(id="after"))
    assert ledger.flush()
    assert [row["id"] for row in rows(path)] == ["before", "after"]
    assert "-wal was deleted" in caplog.text


def test_keys_of_a_vendor_that_are_sentences_are_left_out(ledger: Ledger, path: Path) -> None:
    raw = {"prompt_tokens": 3, "a key with the prompt": 1, "sk-abc": 2, "details": {"\u4f60\u597d": 1, "x": 4}}
    names = ("usage.prompt_tokens_details.accepted_prediction_tokens", "usage.a key with the prompt")
    ledger.write(record(usage_raw=raw, unknown_fields=names))
    assert ledger.flush()
    row = rows(path)[0]
    assert json.loads(row["usage_raw"]) == {"prompt_tokens": 3, "details": {"x": 4}}
    assert json.loads(row["unknown_fields"]) == [names[0]]
