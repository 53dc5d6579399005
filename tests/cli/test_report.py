"""`tokenmeter report` as people and programs meet it."""

from __future__ import annotations

import csv
import io
import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.rigs.made_records import NOON, priced, record, unpriced
from tokenmeter._support.text_tables import table, width
from tokenmeter.cli import main
from tokenmeter.ledger.writer import Ledger
from tokenmeter.record import End
from tokenmeter.usage import Source, Usage


@pytest.fixture
def spend(tmp_path: Path) -> str:
    ledger = Ledger(tmp_path / "spend.db")
    for one in (
        record(priced("1234.56785"), tags={"team": "搜索"}, usage=Usage(input_tokens=1_200_000, output_tokens=90)),
        record(priced("0.0000012"), tags={"team": "ads\x1b[31m"}),
        record(unpriced(), tags={"team": "搜索"}, usage=Usage(source=Source.NONE), end=End.ERROR),
        record(priced("0.5", "USD", model="gpt-4o"), provider="openai", tags={"team": "ads"}),
    ):
        ledger.write(one)
    ledger.close(30)
    return ledger.path


def test_the_table(spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", spend, "--by", "team", "--tz", "Asia/Shanghai"]) == 0
    printed = capsys.readouterr().out
    heading, _, *lines = printed.splitlines()
    assert heading == f"{spend}: times in Asia/Shanghai"
    assert [line.split() for line in lines[:10] if "─" not in line] == [
        ["team", "cost", "currency", "calls", "input", "output"],
        ["搜索", "1,234.5678+", "CNY", "1", "1,200,000", "90"],
        ["ads\\x1b[31m", "0.0000012", "CNY", "1", "1,000", "100"],
        ["ads", "0.5000", "USD", "1", "1,000", "100"],
        ["搜索", "?", "unpriced", "1", "?", "?"],
        ["total", "1,234.5679+", "CNY", "2", "1,201,000", "190"],
        ["total", "0.5000+", "USD", "1", "1,000", "100"],
        ["total", "?", "unpriced", "1", "?", "?"],
    ]  # fmt: skip
    assert len({width(line) for line in lines[:10]}) == 1  # wide characters and all
    assert "1 of 1 unpriced calls ended in an error" in printed
    assert "unpriced calls, by reason:\n  1: " in printed


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_the_table_fits_the_terminal_and_says_what_it_left_out(
    columns: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path / "spend.db")
    for source in (Source.REPORTED, Source.COUNTED, Source.ESTIMATED):
        usage = Usage(
            input_tokens=5, output_tokens=6, cache_read_input_tokens=1, reasoning_output_tokens=2, source=source
        )
        ledger.write(record(priced("0.5"), usage=usage, tags={"team": "search"}))
    ledger.close(30)
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["report", ledger.path, "--by", "provider,team"]) == 0
    _, _, *lines = capsys.readouterr().out.splitlines()
    assert max(map(width, lines)) <= columns
    assert ("left out for" in "".join(lines)) is (columns < 120)
    assert ("reasoning" in lines[0]) is (columns == 200)
    assert main(["report", ledger.path, "--by", "team", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["tokens"]["reasoning_output_tokens"] == 6


def test_shares_are_of_the_rows_own_calls_and_unpriced_calls_have_their_reasons(
    spend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", spend, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert {row["currency"]: (row["shares"]["reported"], row["shares"]["unpriced"]) for row in answer["totals"]} == {
        "CNY": ("1", "0"), "USD": ("1", "0"), None: ("0", "1"),
    }  # fmt: skip
    (reason,) = answer["unpriced_reasons"]
    assert reason["calls"] == 1
    assert reason["reason"]


def test_json_is_exact_and_unknown_is_null(spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", spend, "--by", "model,team", "--json", "--since", "2026-11-01", "--tz", "UTC"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["by"], answer["timezone"], answer["since"]) == (
        ["model", "team"], "UTC", "2026-11-01T00:00:00+00:00",
    )  # fmt: skip
    assert [(row["group"]["team"], row["currency"], row["cost"], row["complete"]) for row in answer["rows"]] == [
        ("搜索", "CNY", "1234.56785", False),
        ("ads\x1b[31m", "CNY", "0.0000012", True),
        ("ads", "USD", "0.5", True),
        ("搜索", None, None, False),
    ]
    assert answer["totals"][0]["cost"] == "1234.5678512"
    assert answer["rows"][3]["tokens"]["input_tokens"] is None
    assert answer["rows"][3]["calls_without_tokens"] == {"input_tokens": 1, "output_tokens": 1}


def test_csv_is_exact_and_unknown_is_empty(spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", spend, "--by", "team", "--csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [(row["team"], row["cost"], row["complete"], row["input_tokens"]) for row in rows] == [
        ("搜索", "1234.56785", "no", "1200000"),
        ("ads\\x1b[31m", "0.0000012", "yes", "1000"),
        ("ads", "0.5", "yes", "1000"),
        ("搜索", "", "no", ""),
    ]


def test_without_keys_there_are_only_sums(spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", spend, "--by", "", "--provider", "openai"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[4].split()[:3] == ["0.5000", "USD", "1"]


def test_the_ledger_may_come_from_the_environment(
    spend: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENMETER_LEDGER", spend)
    assert main(["report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["ledger"] == spend


def test_nothing_matches_says_what_there_is(spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", spend, "--until", "2020-01-01", "--tz", "UTC"]) == 0
    assert "no call matches; the ledger holds 4 calls, from 2026-11-01T12:00:00+00:00" in capsys.readouterr().out


def test_since_a_while_ago(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = Ledger(tmp_path / "spend.db")
    now = datetime.fromtimestamp(int(time.time()), UTC)
    ledger.write(record(ended=now))
    ledger.write(record(ended=NOON.replace(year=2020)))
    ledger.close()
    assert main(["report", ledger.path, "--since", "1h", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["calls"] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["nowhere.db"], "there is no ledger at nowhere.db: tokenmeter.configure(ledger=", id="missing"),
        pytest.param([], "which ledger? Name its file", id="none named"),
        pytest.param(["SPEND", "--by", "teem"], "did you mean 'team'?", id="unknown key"),
        pytest.param(["SPEND", "--since", "soon"], "--since: 'soon' is not a time", id="bad time"),
        pytest.param(["SPEND", "--since", "2026-02", "--until", "2026-01"], "is not after", id="turned round"),
        pytest.param(["SPEND", "--tag", "team"], "--tag: 'team' is not KEY=VALUE", id="bad tag"),
        pytest.param(["SPEND", "--tz", "Mars/Base"], "'Mars/Base' is not a time zone", id="bad zone"),
        pytest.param(["SPEND", "--json", "--csv"], "not allowed with", id="two forms"),
    ],
)
def test_bad_flags_end_with_2_and_the_way_out(
    spend: str, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", *(spend if word == "SPEND" else word for word in arguments)]) == 2
    printed = capsys.readouterr()
    assert words in printed.err
    assert not printed.out


def test_columns_line_up_with_wide_and_combining_characters() -> None:
    text = table(["名字", "n"], [["模型", "1"], ["e\u0301e", "22"], ["a", "333"]], right=["n"])
    assert text.splitlines() == ["名字    n", "────  ───", "模型    1", "e\u0301e     22", "a     333"]


RATES = "CNY=0.1400USD@2026-11-01"


def test_a_column_in_dollars_at_the_users_rates(
    spend: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["report", spend, "--by", "currency", "--tz", "UTC", "--convert", "usd", "--rates", RATES]) == 0
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines()]
    assert lines[2][:5] == ["currency", "cost", "currency", "in", "USD"]
    assert ["CNY", "1,234.5679", "CNY", "172.8395"] in [line[:4] for line in lines]
    assert ["USD", "0.5000", "USD", "0.5000"] in [line[:4] for line in lines]
    assert ["-", "?", "unpriced", "?"] in [line[:4] for line in lines]
    assert "together 173.3395+ USD, by your own rates, for show" in printed
    assert "rates applied: CNY/USD 0.14 of 2026-11-01 (--rates)" in printed

    monkeypatch.setenv("TOKENMETER_EXCHANGE", RATES)
    assert main(["report", spend, "--by", "currency", "--convert", "USD", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [row["converted"]["amount"] for row in answer["rows"]] == ["172.839499168", "0.5", None]
    assert answer["rows"][0]["cost"] == "1234.5678512", "the original stays"
    assert answer["conversion"] == {
        "currency": "USD",
        "rates": [{"rate": "0.14", "pair": "CNY/USD", "rate_day": "2026-11-01", "rate_source": "TOKENMETER_EXCHANGE"}],
        "total": "173.339499168",
        "calls_without_rate": 0,
        "unpriced_calls": 1,
    }
    assert main(["report", spend, "--by", "currency", "--convert", "EUR", "--csv"]) == 0
    first, *_ = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (first["converted"], first["converted_currency"], first["calls_without_rate"]) == ("", "EUR", "2")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        pytest.param(["--convert", "USD"], "no exchange rate is assumed", id="no rates"),
        pytest.param(["--rates", RATES], "say into which currency with --convert", id="no currency"),
        pytest.param(["--convert", "USD", "--rates", "CNY=7"], "--rates: 'CNY=7' is not a rate", id="bad rate"),
        pytest.param(["--convert", "USD", "--rates", "none.toml"], "cannot read none.toml", id="no file"),
    ],
)
def test_a_conversion_that_cannot_be_says_why(
    spend: str, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", spend, *flags]) == 2
    assert said in capsys.readouterr().err
