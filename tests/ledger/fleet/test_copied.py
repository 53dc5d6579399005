"""Commands that read a file through its rows read a database through a copy: the same answers."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import bills
from tests.rigs.bills import lines_of, metered
from tests.rigs.fleet import ship, some_calls, written
from tests.rigs.made_records import NOON, priced, record
from tests.rigs.postgres_server import PASSWORD
from tokenmeter.cli import main
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.fleet.copied import open_copy
from tokenmeter.ledger.fleet.database import shown
from tokenmeter.ledger.focus.charges import export
from tokenmeter.ledger.opening import open_calls
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.where import parse
from tokenmeter.ledger.tables import COLUMNS
from tokenmeter.money import Money
from tokenmeter.usage import Usage

AT = datetime(2025, 10, 2, 9, tzinfo=UTC)


def rows(place: str) -> list[tuple[Any, ...]]:
    columns = (*(name for name in COLUMNS if name != "tags"), "duplicate_of", "stale", "vendor_gap", "calls")
    with closing(open_calls(place)) as connection:
        return connection.execute(f"SELECT {', '.join(columns)} FROM calls ORDER BY ended_us, id").fetchall()  # noqa: S608


def test_a_copy_shows_every_call_as_the_file_does(any_url: str, path: Path) -> None:
    hard = [
        record(priced(amount), id=f"{number:032x}", vendor_cost=Money(Decimal(amount), "CNY"))
        for number, amount in enumerate(("-0.5", "-3", "999999999999999999.999999999999", "0.000000000001", "1E+3"))
    ]
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000, cache_read_input_tokens=600_000)
    written(path, [*some_calls(200), *hard, metered("deepseek", "deepseek-chat", AT, usage, id="cached")])
    ship(path, any_url)
    assert rows(any_url) == rows(str(path))
    with closing(open_calls(any_url)) as connection:
        assert connection.execute("SELECT count(cache_saved) FROM calls").fetchone()[0] == 1


def test_a_copy_of_a_span_of_time_knows_what_the_whole_database_has(any_url: str, path: Path) -> None:
    calls = [record(ended=NOON + timedelta(hours=hour), tags={"team": f"t{hour}"}) for hour in range(10)]
    written(path, [*calls, record(ended=NOON - timedelta(days=40), tags={"old": "x"})])
    ship(path, any_url)
    since, until = (int((NOON + timedelta(hours=hour)).timestamp()) * 1_000_000 for hour in (2, 5))
    with closing(open_copy(any_url, since, until)) as connection:
        ends = connection.execute("SELECT min(ended_us), max(ended_us), count(*) FROM calls").fetchone()
        assert tuple(ends) == (since, until - 3_600_000_000, 3)
        whole = connection.execute("SELECT * FROM whole").fetchone()
        assert (whole[0], whole[1]) == (11, since - (40 * 24 + 2) * 3_600_000_000)
    question = Question(by=(), zone=Zone.named("UTC"), since=NOON, where=parse("old = 'x'"))
    assert export(any_url, question).rows == [], "a tag that only earlier calls have is no mistake"
    with pytest.raises(ConfigurationError, match=r"did you mean 'old'"):
        export(any_url, Question(by=(), zone=Zone.named("UTC"), since=NOON, where=parse("olt = 'x'")))


@pytest.fixture
def places(any_url: str, path: Path) -> tuple[str, str]:
    """A file and a database of calls that a price book knows."""
    usage = Usage(input_tokens=1_000_000, output_tokens=100_000, cache_read_input_tokens=250_000)
    calls = [metered("deepseek", "deepseek-chat", AT + timedelta(hours=hour), usage) for hour in range(4)]
    ship(written(path, calls), any_url)
    return str(path), any_url


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "PLACE", "--models", "alibaba/qwen-plus,deepseek/deepseek-chat", "--json"],
        ["compare", "PLACE", "--models", "alibaba/qwen-plus", "--cache", "measured", "--since", "2025-10", "--json"],
        ["reconcile", "PLACE", "BILL", "--provider", "deepseek", "--json"],
        ["report", "PLACE", "--by", "day", "--stat", "sum:cache_saved", "--json"],
    ],
)
def test_other_commands_answer_the_same(
    places: tuple[str, str], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    usage = Usage(input_tokens=1_000_000, output_tokens=100_000)
    lines = lines_of([metered("deepseek", "deepseek-chat", AT, usage)], "UTC")
    bill = str(bills.deepseek(tmp_path / "usage_data_2025_10.zip", lines))
    answers = []
    for place in places:
        assert main([{"PLACE": place, "BILL": bill}.get(word, word) for word in words]) == 0
        printed = capsys.readouterr()
        assert PASSWORD not in printed.out + printed.err
        answers.append(printed.out.replace(shown(place), "PLACE").replace(place, "PLACE"))
    assert answers[1] == answers[0]
    assert "CNY" in answers[0]


def test_a_reconciliation_is_saved_in_a_file(
    places: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = lines_of([metered("deepseek", "deepseek-chat", AT, Usage(input_tokens=9, output_tokens=9))], "UTC")
    bill = str(bills.deepseek(tmp_path / "usage_data_2025_10.zip", lines))
    assert main(["reconcile", places[1], bill, "--provider", "deepseek", "--save"]) == 2
    said = capsys.readouterr().err
    assert f"tokenmeter ledger merge {places[1].partition(':')[0]}://" in said
    assert PASSWORD not in said


def test_top_shows_the_last_day(any_url: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rich", reason="the extra `cli` is not installed")
    now = datetime.now(UTC).replace(microsecond=0)
    written(path, [record(priced("0.75"), ended=now - timedelta(minutes=number)) for number in range(4)])
    ship(path, any_url)
    assert main(["top", any_url, "--once"]) == 0
    printed = capsys.readouterr().out
    assert PASSWORD not in printed
    assert "3.00" in printed
