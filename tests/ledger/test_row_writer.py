"""Narrow rows: what calls have in common is stored once, tags of many values go on rows, a response is charged once."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.rigs.ledger_rows import rows
from tests.rigs.made_records import NOON, priced, record
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.row_writer import TAG_VALUES, TAGSETS
from tokenmeter.ledger.writer import Ledger
from tokenmeter.record import Record

ANSWER = "chatcmpl-0123456789abcdef"


def written(path: Path, *records: Record) -> None:
    ledger = Ledger(path)
    for one in records:
        ledger.write(one)
    ledger.close(30)


def count(path: Path, table: str) -> int:
    with closing(sqlite3.connect(path)) as connection:
        number: int = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
    return number


def test_calls_of_one_kind_share_their_dimensions(path: Path) -> None:
    written(path, *(record(tags={"team": "search"}) for _ in range(20)), record(host="other", tags={"team": "ads"}))
    assert (count(path, "call_rows"), count(path, "dims"), count(path, "tagsets")) == (
        21,
        3,
        3,
    )  # not yet priced; no tags


@pytest.mark.parametrize("values", [TAG_VALUES, TAG_VALUES + 1, 4 * TAG_VALUES])
def test_a_tag_with_many_values_goes_on_the_rows(path: Path, values: int) -> None:
    written(path, *(record(tags={"user": f"u{number}", "team": "search"}) for number in range(values)))
    assert [json.loads(row["tags"])["user"] for row in rows(path)] == [f"u{number}" for number in range(values)]
    assert {json.loads(row["tags"])["team"] for row in rows(path)} == {"search"}
    assert count(path, "row_tags") == (values > TAG_VALUES)
    assert count(path, "tagsets") <= TAG_VALUES + 2


def test_many_sets_of_few_values_put_one_tag_on_the_rows(path: Path) -> None:
    tags = [{"a": str(a), "b": str(b), "c": str(c)} for a in range(10) for b in range(8) for c in range(6)]
    written(path, *(record(tags=one) for one in tags))
    assert [json.loads(row["tags"]) for row in rows(path)] == tags
    assert count(path, "tagsets") <= TAGSETS + 8 * 6
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM row_tags").fetchone() == (1,)


def test_a_second_process_goes_on_with_the_sets_of_the_first(path: Path) -> None:
    written(path, *(record(tags={"user": f"u{number}"}) for number in range(TAG_VALUES)))
    written(path, *(record(tags={"user": f"u{number}"}) for number in range(TAG_VALUES + 5)))
    assert [json.loads(row["tags"])["user"] for row in rows(path)][-5:] == [f"u{TAG_VALUES + n}" for n in range(5)]
    assert count(path, "row_tags") == 1


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "in two runs"])
def test_a_response_that_two_calls_recorded_is_charged_once(path: Path, together: bool) -> None:
    first, second = (record(priced("0.5"), id=name, response_id=ANSWER) for name in ("a", "b"))
    if together:
        written(path, first, second)
    else:
        written(path, first)
        written(path, second)
    one, other = rows(path)
    assert (one["amount"], one["duplicate_of"], one["end_state"]) == ("0.5", None, "complete")
    assert (other["amount"], other["duplicate_of"], other["end_state"]) == (None, "a", "delegated")
    assert other["input_tokens"] is None
    assert other["response_id"] == ANSWER


def test_the_same_call_again_is_no_second_one(path: Path) -> None:
    written(path, record(priced("0.5"), id="a", response_id=ANSWER))
    written(path, record(priced("0.5"), id="a", response_id=ANSWER))
    (row,) = rows(path)
    assert (row["amount"], row["duplicate_of"]) == ("0.5", None)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"response_id": "chatcmpl-123"}, {"response_id": "chatcmpl-123"}, id="an id that is no id"),
        pytest.param({"response_id": ANSWER}, {"response_id": ANSWER, "provider": "zhipu"}, id="two providers"),
        pytest.param({"response_id": ANSWER}, {"response_id": ANSWER + "x"}, id="answered twice"),
        pytest.param(
            {"response_id": ANSWER}, {"response_id": ANSWER, "ended": NOON + timedelta(seconds=3)}, id="a later call"
        ),
    ],
)  # fmt: skip
def test_what_is_not_surely_one_response_stays_two_charges(path: Path, one: dict, other: dict) -> None:  # type: ignore[type-arg]
    written(path, record(priced("0.5"), **one), record(priced("0.5"), **other))
    assert [row["amount"] for row in rows(path)] == ["0.5", "0.5"]


@pytest.mark.parametrize("ended_ns", [2**62, 4 * 10**20, -(10**19)], ids=["year 2116", "year 14645", "before year 1"])
def test_a_clock_outside_the_calendar_keeps_no_call_from_being_written(path: Path, ended_ns: int) -> None:
    written(path, record(priced("0.5"), started_ns=ended_ns - 10**9, ended_ns=ended_ns), record(priced("1")))
    for zone in ("UTC", "Asia/Tokyo"):
        report = ask(str(path), Question(by=("month",), zone=Zone.named(zone)))
        assert [(row.cost, row.calls) for row in report.totals] == [(Decimal("1.5"), 2)]
