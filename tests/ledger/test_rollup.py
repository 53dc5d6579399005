"""The roll-up by day is what the rows sum up to, whatever is written, written again, or deleted."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rigs.asker import UTC_ZONE
from tests.rigs.made_records import NOON, priced, record, unpriced
from tokenmeter.ledger.report import query
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import LedgerReport, Question
from tokenmeter.ledger.report.render import as_json
from tokenmeter.ledger.report.sum_sources import ROWS, source_of
from tokenmeter.ledger.report.where import parse
from tokenmeter.ledger.rollup import rebuild, wrong_days
from tokenmeter.ledger.writer import Ledger
from tokenmeter.money import Money
from tokenmeter.record import End, Record
from tokenmeter.usage import Source, Usage

COUNTS = st.none() | st.integers(0, 5_000)
RECORDS = st.builds(
    lambda cost, minutes, **rest: record(cost, ended=NOON + timedelta(minutes=minutes), **rest),
    st.one_of(
        st.builds(priced, st.decimals(0, 9, places=6).map(str), st.sampled_from(["CNY", "USD"]),
                  confidence=st.sampled_from(["corroborated", "single-source"])),
        st.just(unpriced()),
    ),
    st.integers(-5_000, 5_000),
    end=st.sampled_from(End),
    usage=st.builds(Usage, input_tokens=COUNTS, output_tokens=COUNTS, cache_read_input_tokens=COUNTS),
    tags=st.fixed_dictionaries({}, optional={"team": st.sampled_from(["a", "搜索"]), "env": st.just("prod")}),
    vendor_cost=st.none() | st.builds(Money, st.decimals(0, 1, places=4), st.sampled_from(["CNY", "USD"])),
)  # fmt: skip


def written(path: Path, records: list[Record]) -> None:
    ledger = Ledger(path)
    for one in records:
        ledger.write(one)
    ledger.close(30)


def both(path: Path, question: Question) -> list[dict[str, Any]]:
    """The answers of the roll-up and of the rows, as JSON without the name of the source."""
    answers = []
    for chosen in (source_of, lambda *_: ROWS):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(query, "source_of", chosen)
            report: LedgerReport = query.ask(str(path), question)
        assert report.source == ("rollup" if chosen is source_of else "rows")
        answers.append(as_json(report) | {"source": None})
    return answers


@settings(max_examples=40, deadline=None)
@given(st.lists(RECORDS, min_size=1, max_size=25), st.data())
def test_the_roll_up_answers_as_the_rows_do(records: list[Record], data: st.DataObject) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "Asia/Shanghai")
        path = Path(folder) / "spend.db"
        written(path, [*records, *records[:3]])
        with closing(sqlite3.connect(path)) as connection:
            assert wrong_days(connection) == 0
        zone = Zone.named("Asia/Shanghai")
        keys = data.draw(st.lists(st.sampled_from(["day", "week", "month", "team", "model", "source"]), unique=True))
        since = data.draw(st.none() | st.just(zone.midnight(2026, 11, 1)))
        used = any(one.tags.get("team") for one in records)
        by = tuple(key for key in keys if key != "team" or used)
        where = data.draw(st.none() | st.just(parse('provider = "deepseek" and end != "cancelled"')))
        rolled, row_by_row = both(path, Question(by=by, zone=zone, since=since, where=where))
        assert rolled == row_by_row


def test_deleted_calls_leave_the_roll_up(tmp_path: Path) -> None:
    path = tmp_path / "spend.db"
    written(path, [record(priced("0.5"), tags={"team": team}) for team in ("a", "a", "b")])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM calls WHERE json_extract(tags, '$.team') = 'a'")
        assert wrong_days(connection) == 0
    report = query.ask(str(path), Question(by=("team",), zone=UTC_ZONE))
    assert [(row.group, row.cost, row.calls) for row in report.rows] == [(("b",), Decimal("0.5"), 1)]


def test_a_roll_up_made_anew_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "spend.db"
    written(path, [record(priced(f"{number}.999999999999")) for number in range(30)])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE days SET calls = calls + 1 WHERE calls")
        assert wrong_days(connection) == 1
        rebuild(connection)
        assert wrong_days(connection) == 0


@pytest.mark.parametrize(
    "asked",
    [
        pytest.param({"by": ("hour",)}, id="hours"),
        pytest.param({"by": ("scope",)}, id="a key that is on rows"),
        pytest.param({"by": ("day",), "zone": Zone.named("America/New_York")}, id="days of another clock"),
        pytest.param({"by": ("model",), "since": NOON}, id="from noon"),
        pytest.param({"by": ("model",), "where": parse("cost > 0.1")}, id="each call's cost"),
        pytest.param({"by": ("user",)}, id="a tag of many values"),
    ],
)
def test_what_is_finer_is_answered_by_the_rows(tmp_path: Path, asked: dict[str, Any]) -> None:
    path = tmp_path / "spend.db"
    written(path, [record(tags={"user": f"u{number}"}) for number in range(60)])
    assert query.ask(str(path), Question(**{"zone": UTC_ZONE, **asked})).source == "rows"


def test_amounts_that_integers_cannot_say_are_summed_from_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "spend.db"
    written(path, [record(priced("0.0000000000000000001")), record(priced("1"))])
    report = query.ask(str(path), Question(by=(), zone=UTC_ZONE))
    assert (report.source, report.rows[0].cost) == ("rows", Decimal("1.0000000000000000001"))


def test_calls_written_before_the_book_was_loaded_are_in_the_roll_up_once(tmp_path: Path) -> None:
    path = tmp_path / "spend.db"
    ledger = Ledger(path)
    ledger.write(record(priced("0.5"), usage=Usage(input_tokens=5, source=Source.REPORTED)))
    ledger.flush()
    ledger.close(30)
    report = query.ask(str(path), Question(by=(), zone=UTC_ZONE))
    assert [(row.cost, row.calls) for row in report.rows] == [(Decimal("0.5"), 1)]
