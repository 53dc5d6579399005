"""Upkeep by URL in ClickHouse: examined, brought back into a file, made to forget whose calls they were."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.ledger.fleet.clickhouse.test_schema import name_of
from tests.rigs.clickhouse_server import PASSWORD, ClickHouseServer
from tests.rigs.fleet import file_calls, fleet_calls, ship, some_calls, written
from tokenmeter.cli import main
from tokenmeter.ledger.copying import merge
from tokenmeter.ledger.file import LedgerFile
from tokenmeter.ledger.fleet import reports
from tokenmeter.ledger.losses import Loss
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.upkeep import forget_tag, information
from tokenmeter.ledger.verify import verify


def wrong(place: str) -> dict[str, int]:
    """What is wrong, by what was examined."""
    return {check.name: check.wrong for check in verify(place) if check.wrong}


@pytest.fixture
def shipped(click_url: str, path: Path) -> str:
    """A database of three hundred calls, some with a tag of many values and some losses."""
    written(path, some_calls(300))
    file = LedgerFile(str(path))
    file.write([], [Loss(1, 2, 30, "the queue was full")])
    file.let_go()
    ship(path, click_url)
    return click_url


def test_a_database_comes_back_into_a_file_whole(shipped: str, path: Path, tmp_path: Path) -> None:
    back = tmp_path / "back.db"
    (copied,) = merge([shipped], str(back))
    assert (copied.read, copied.new, copied.refused) == (300, 300, 0)
    assert PASSWORD.encode() not in back.read_bytes()
    assert file_calls(back) == file_calls(path)
    assert wrong(str(back)) == {}
    question = Question(by=("team", "day"), zone=Zone.named("UTC"))
    one, other = ask(str(path), question), ask(str(back), question)
    assert (one.rows, one.totals, one.lost) == (other.rows, other.totals, other.lost)


def test_a_sound_database_is_found_sound(shipped: str) -> None:
    examined = {check.name: check.examined for check in verify(shipped)}
    assert wrong(shipped) == {}
    assert examined["keys of calls"] == 300
    assert examined["days of the roll-up"] > 10


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE day_sums UPDATE `groups.calls` = arrayMap(calls -> calls + 1, groups.calls) WHERE 1",
        "ALTER TABLE day_sums UPDATE `groups.amount` = arrayMap(one -> NULL, groups.amount) WHERE 1",
        "ALTER TABLE call_rows DELETE WHERE id = 'call-7'",
    ],
)
def test_sums_that_are_not_those_of_the_rows_are_found(shipped: str, clickhouse: ClickHouseServer, damage: str) -> None:
    clickhouse.command(f"{damage} SETTINGS mutations_sync = 1", name_of(shipped))
    assert "days of the roll-up" in wrong(shipped)


def test_what_a_database_holds_is_said(shipped: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ledger", "info", shipped, "--json"]) == 0
    there, here = json.loads(capsys.readouterr().out), information(str(path))
    for name in ("calls", "first", "last", "lost_calls", "zone", "tags_on_rows", "tags_in_rollup", "duplicates"):
        assert there[name] == here[name], name
    assert there["bytes"] > 10_000
    assert str(path) in there["files"][0]


@pytest.mark.parametrize(("tag", "value"), [("user", "u7"), ("team", "推荐")])
def test_a_user_is_forgotten_as_in_a_file(
    shipped: str, path: Path, clickhouse: ClickHouseServer, tag: str, value: str
) -> None:
    changed = forget_tag(shipped, tag, value, "forgotten")
    assert changed == forget_tag(str(path), tag, value, "forgotten") > 0
    assert fleet_calls(shipped) == file_calls(path)
    assert wrong(shipped) == {}
    for by in ((tag,), ("team", "day"), ()):
        question = Question(by=by, zone=Zone.named("UTC"))
        assert reports.ask(shipped, question).rows == ask(str(path), question).rows
    assert forget_tag(shipped, tag, value, "forgotten") == 0
    raw = f"SELECT count() FROM call_rows WHERE tags['{tag}'] = '{value}'"  # noqa: S608
    assert clickhouse.execute(raw, name_of(shipped)) == [(0,)]
