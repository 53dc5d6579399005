"""What answers a question: the roll-up where it can, to the last digit; `tests/ledger/test_rollup.py` compares them."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.asker import UTC_ZONE
from tests.rigs.made_records import NOON, record
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.stats import parse_stats
from tokenmeter.ledger.report.sum_sources import day_number, source_of
from tokenmeter.ledger.report.where import parse
from tokenmeter.ledger.schema import open_for_reading
from tokenmeter.ledger.writer import Ledger

MIDNIGHT = NOON.replace(hour=0)


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TZ", "UTC")
    ledger = Ledger(tmp_path / "spend.db")
    for number in range(3):
        ledger.write(record(tags={"team": f"t{number}"}))
    ledger.close(30)
    return tmp_path / "spend.db"


@pytest.mark.parametrize(
    ("asked", "source"),
    [
        pytest.param({"by": ()}, "rollup", id="everything"),
        pytest.param({"by": ("day", "team", "model")}, "rollup", id="day, tag and model"),
        pytest.param({"by": ("model",), "since": MIDNIGHT, "until": MIDNIGHT + timedelta(days=1)}, "rollup", id="days"),
        pytest.param({"by": ("model",), "since": MIDNIGHT + timedelta(hours=1)}, "rows", id="from one o'clock"),
        pytest.param({"by": ("hour",)}, "rows", id="hours"),
        pytest.param({"by": ("trace",)}, "rows", id="traces"),
        pytest.param(
            {"by": ("model",), "where": parse("status = 'priced' and team = 't1'")}, "rollup", id="dimensions"
        ),
        pytest.param({"by": ("model",), "where": parse("input_tokens > 5")}, "rows", id="a number of each call"),
        pytest.param({"by": ("model",), "stats": parse_stats("p95")}, "rows", id="percentiles"),
        pytest.param({"by": ("charge.component",)}, "charges", id="components"),
    ],
)
def test_the_coarsest_source_that_can_answer_does(path: Path, asked: dict[str, Any], source: str) -> None:
    with closing(open_for_reading(str(path))) as connection:
        assert source_of(connection, Question(**{"zone": UTC_ZONE, **asked})).name == source


def test_statistics_of_calls_are_not_divided_by_component(path: Path) -> None:
    question = Question(by=("charge.component",), zone=UTC_ZONE, stats=parse_stats("p95"))
    with closing(open_for_reading(str(path))) as connection, pytest.raises(ConfigurationError, match="--stat"):
        source_of(connection, question)


def test_a_day_is_numbered_on_its_own_clock() -> None:
    assert day_number(MIDNIGHT, UTC_ZONE) - day_number(MIDNIGHT - timedelta(seconds=1), UTC_ZONE) == 1
