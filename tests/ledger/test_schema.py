"""A file is made by one of several writers; one of version 4 is read, brought up to date by a write, and copied."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.asker import UTC_ZONE
from tests.rigs.ledger_rows import rows
from tests.rigs.made_records import NOON, priced, record, unpriced
from tests.rigs.version_4_ledger import made_version_4
from tokenmeter.ledger.copying import migrate
from tokenmeter.ledger.exporting import exported_calls
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.report.render import as_json
from tokenmeter.ledger.report.stats import parse_stats
from tokenmeter.ledger.rollup import wrong_days
from tokenmeter.ledger.schema import LedgerError, open_for_writing
from tokenmeter.ledger.upkeep import information
from tokenmeter.ledger.verify import verify
from tokenmeter.ledger.writer import Ledger
from tokenmeter.money import plain
from tokenmeter.prices.book import load_book
from tokenmeter.record import Record
from tokenmeter.usage import Usage

CACHED = Usage(input_tokens=1000, output_tokens=100, cache_read_input_tokens=600)
COST = load_book().price(CACHED, provider="deepseek", model="deepseek-chat", at=NOON)
LATER = ("account", "tool_definition_tokens", "cache_saved")
QUESTIONS = (
    Question(by=("model",), zone=UTC_ZONE),
    Question(by=("day", "team"), zone=UTC_ZONE),
    Question(by=("hour", "account"), zone=UTC_ZONE),
    Question(by=("charge.component",), zone=UTC_ZONE),
    Question(by=("model",), zone=UTC_ZONE, stats=parse_stats("sum:cache_saved,p95")),
)


def some() -> list[Record]:
    return [
        record(priced(f"0.00{number + 1}"), ended=NOON + timedelta(hours=number), tags={"team": f"t{number % 2}"})
        for number in range(5)
    ] + [record(COST, usage=CACHED, tags={"user": "u"}), record(unpriced())]


def written(path: Path, *records: Record) -> Path:
    ledger = Ledger(path)
    for one in records:
        ledger.write(one)
    ledger.close(30)
    return path


@pytest.fixture
def both(tmp_path: Path) -> tuple[Path, Path]:
    """The same calls in a file of today and in one of version 4."""
    new = written(tmp_path / "new.db", *some())
    return new, made_version_4(new, tmp_path / "old.db")


def answered(path: Path, question: Question) -> dict[str, Any]:
    return as_json(ask(str(path), question)) | {"ledger": None, "path": None}


def test_a_file_of_version_4_is_read_as_it_is(both: tuple[Path, Path]) -> None:
    new, old = both
    before = old.read_bytes()
    for question in QUESTIONS:
        assert answered(old, question) == answered(new, question)
    assert ask(str(old), Question(by=("account",), zone=UTC_ZONE)).source == "rollup"
    assert not any(check.wrong for check in verify(str(old)))
    kept = [{name: value for name, value in call.items() if name not in LATER} for call in exported_calls(str(new))]
    assert kept == list(exported_calls(str(old)))
    assert information(str(old))["schema"] == 4
    assert old.read_bytes() == before


def test_the_first_write_brings_it_up_to_date(both: tuple[Path, Path]) -> None:
    _, old = both
    added = record(COST, usage=CACHED, account="key-0a1b2c3d", tool_definition_tokens=83, ended=NOON)
    written(old, added)
    assert information(str(old))["schema"] == information(str(both[0]))["schema"] == 5
    last = rows(old)[-1]
    saved = COST.cache_saved
    assert saved
    assert [last[name] for name in LATER] == ["key-0a1b2c3d", 83, plain(saved)]
    assert all(row[name] is None for row in rows(old)[:-1] for name in LATER)
    by_account = ask(str(old), Question(by=("account",), zone=UTC_ZONE))
    assert by_account.source == "rollup"
    calls: dict[str | None, int] = {}
    for row in by_account.rows:
        calls[row.group[0]] = calls.get(row.group[0], 0) + row.calls
    assert calls == {None: 7, "key-0a1b2c3d": 1}
    saving = ask(str(old), Question(by=("account",), zone=UTC_ZONE, stats=parse_stats("sum:cache_saved")))
    assert {(row.group[0], row.stats["cache_saved_sum"]) for row in saving.rows if row.currency} == {
        (None, saved),
        ("key-0a1b2c3d", saved),
    }
    with closing(sqlite3.connect(old)) as connection:
        assert wrong_days(connection) == 0
    assert not any(check.wrong for check in verify(str(old)))


def test_a_copy_of_version_4_has_every_call(both: tuple[Path, Path], tmp_path: Path) -> None:
    _, old = both
    copied = migrate(str(old), str(tmp_path / "copy.db"))
    assert (copied.read, copied.new, copied.refused) == (7, 7, 0)
    assert list(exported_calls(str(tmp_path / "copy.db"))) == list(exported_calls(str(old)))
    for question in QUESTIONS:
        assert answered(tmp_path / "copy.db", question) == answered(old, question)


def test_writers_that_make_one_file_at_once_all_take_it(tmp_path: Path) -> None:
    """What another writer makes between two looks at a new file is no file of something else."""
    failed: list[LedgerError] = []
    together = threading.Barrier(4)

    def make(path: str) -> None:
        together.wait()
        try:
            open_for_writing(path).close()
        except LedgerError as error:
            failed.append(error)

    for number in range(60):
        writers = [threading.Thread(target=make, args=(str(tmp_path / f"{number}.db"),)) for _ in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    assert [str(error) for error in failed if "something else" in str(error)] == []
