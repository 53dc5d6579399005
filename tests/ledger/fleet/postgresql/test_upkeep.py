"""Upkeep by URL: a database is examined, brought back into a file, and made to forget whose calls they were."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.fleet import file_calls, fleet_calls, ship, some_calls, written, wrong_days
from tests.rigs.made_records import NOON, priced, record
from tests.rigs.postgres_server import PASSWORD, PostgresServer
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


def answered(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What a command prints as JSON."""
    status = main([*words, "--json"])
    printed = capsys.readouterr()
    assert PASSWORD not in printed.out + printed.err
    return status, json.loads(printed.out)


@pytest.fixture
def shipped(url: str, path: Path) -> str:
    """A database of three hundred calls, some with a tag of many values and some losses."""
    written(path, some_calls(300))
    file = LedgerFile(str(path))
    file.write([], [Loss(1, 2, 30, "the queue was full")])
    file.let_go()
    ship(path, url)
    return url


def test_a_database_comes_back_into_a_file_whole(shipped: str, path: Path, tmp_path: Path) -> None:
    back = tmp_path / "back.db"
    (copied,) = merge([shipped], str(back))
    assert (copied.read, copied.new, copied.refused) == (300, 300, 0)
    assert PASSWORD not in copied.path
    assert PASSWORD.encode() not in back.read_bytes()
    assert file_calls(back) == file_calls(path)
    assert wrong(str(back)) == {}
    question = Question(by=("team", "day"), zone=Zone.named("UTC"))
    one, other = ask(str(path), question), ask(str(back), question)
    assert (one.rows, one.totals, one.lost) == (other.rows, other.totals, other.lost)
    assert merge([shipped], str(back))[0].new == 0


def test_a_database_is_exported_as_the_file_is(shipped: str, path: Path, tmp_path: Path) -> None:
    lines = []
    for place in (str(path), shipped):
        target = tmp_path / "calls.jsonl"
        assert main(["ledger", "export", place, "--output", str(target)]) == 0
        lines.append(sorted(target.read_text(encoding="utf-8").splitlines()))
    assert [json.loads(line) for line in lines[1]] == [json.loads(line) for line in lines[0]]
    assert len(lines[0]) == 300


def test_a_sound_database_is_found_sound(shipped: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, answer = answered(capsys, "ledger", "verify", shipped)
    assert (status, answer["wrong"]) == (0, 0)
    assert {check["name"]: check["examined"] for check in answer["checks"]}["keys of calls"] == 300


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        ("UPDATE tokenmeter.days SET amount = amount + 0.000000000001 WHERE calls > 1", "days of the roll-up"),
        ("UPDATE tokenmeter.days SET input_tokens = 0", "days of the roll-up"),
        ("DELETE FROM tokenmeter.call_rows WHERE id = 'call-7'", "days of the roll-up"),
        ("DELETE FROM tokenmeter.texts", "keys of calls"),
        ("INSERT INTO tokenmeter.call_rows SELECT (r).* FROM (SELECT jsonb_populate_record(c, jsonb_build_object("
         "'ended_at', c.ended_at + interval '1 second')) AS r FROM tokenmeter.call_rows AS c "
         "WHERE id = 'call-7') AS q", "ids of calls"),
        ("UPDATE tokenmeter.call_rows SET amount = 2 WHERE id = 'call-1'", "calls with charges"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_found(shipped: str, server: PostgresServer, damage: str, found: str) -> None:
    server.execute(damage, shipped)
    assert found in wrong(shipped)


def test_months_that_were_dropped_are_not_wrong(url: str, path: Path, server: PostgresServer) -> None:
    written(
        path, [record(priced("1"), ended=NOON + timedelta(days=20 * number), id=f"c{number}") for number in range(4)]
    )
    ship(path, url)
    server.execute("DROP TABLE tokenmeter.call_rows_2026_11", url)
    assert wrong(url) == {}
    server.execute("UPDATE tokenmeter.days SET calls = 2 WHERE day > '2026-12-01'", url)
    assert wrong(url).keys() == {"days of the roll-up"}


def test_what_a_database_holds_is_said(shipped: str, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, there = answered(capsys, "ledger", "info", shipped)
    here = information(str(path))
    for name in ("calls", "first", "last", "lost_calls", "zone", "tags_on_rows", "tags_in_rollup", "duplicates"):
        assert there[name] == here[name], name
    assert there["bytes"] > 100_000
    assert str(path) in there["files"][0]


@pytest.mark.parametrize(("tag", "value"), [("user", "u7"), ("team", "推荐")])
def test_a_user_is_forgotten_as_in_a_file(
    shipped: str, path: Path, tag: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, answer = answered(capsys, "ledger", "forget", shipped, "--tag", f"{tag}={value}")
    assert status == 0
    assert answer["changed"] == forget_tag(str(path), tag, value, "forgotten") > 0
    assert fleet_calls(shipped) == file_calls(path)
    assert wrong(shipped) == {}
    for by in ((tag,), ("team", "day"), ()):
        question = Question(by=by, zone=Zone.named("UTC"))
        assert reports.ask(shipped, question).rows == ask(str(path), question).rows
    assert answered(capsys, "ledger", "forget", shipped, "--tag", f"{tag}={value}")[1]["changed"] == 0


def test_nobody_comes_back_by_a_shipper_that_was_there_before(url: str, path: Path, server: PostgresServer) -> None:
    """It remembers the keys of sets of tags; rows with a key that is no more would be in no report."""
    from tokenmeter.ledger.fleet.shipping import Shipper

    written(path, [record(tags={"team": ("ads", "search")[number % 2]}, id=f"c{number}") for number in range(40)])
    shipper = Shipper(str(path), url, batch=20)
    assert shipper.step()
    forget_tag(url, "team", "ads", "forgotten")
    shipper.ship()
    shipper.close()
    assert len(fleet_calls(url)) == 40
    assert "ads" not in {call["tags"].get("team") for call in fleet_calls(url).values()}
    assert wrong_days(url) == 0
    assert server.execute("SELECT count(*) FROM tokenmeter.tagsets WHERE tags ->> 'team' = 'ads'", url) == [(0,)]


def test_two_names_may_become_the_same(shipped: str, path: Path) -> None:
    for place in (shipped, str(path)):
        forget_tag(place, "team", "ads", "gone")
        forget_tag(place, "team", "search", "gone")
    question = Question(by=("team",), zone=Zone.named("UTC"))
    assert reports.ask(shipped, question).rows == ask(str(path), question).rows


@pytest.mark.parametrize(
    "words", [["vacuum"], ["zone", "UTC"], ["migrate"], ["close", "2026-11"], ["ship", "postgresql://db/x"]]
)
def test_what_is_for_files_names_the_way_to_one(
    words: list[str], server: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    action, *rest = words
    assert main(["ledger", action, server.url, *rest]) == 2
    said = capsys.readouterr().err
    assert "tokenmeter ledger merge postgresql://" in said
    assert PASSWORD not in said


def test_a_file_is_no_place_for_a_url_to_be_merged_into(
    path: Path, server: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    written(path, some_calls(1))
    assert main(["ledger", "merge", str(path), "--to", server.url]) == 2
    assert "tokenmeter ledger ship FILE postgresql://" in capsys.readouterr().err
    assert main(["ledger", "import", str(path), "--to", server.url]) == 2
    assert main(["reprice", server.url, "--at-time-of-call"]) == 2
    said = capsys.readouterr().err
    assert said.count("tokenmeter ledger merge postgresql://") == 2
    assert PASSWORD not in said
