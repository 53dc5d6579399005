"""The forms of `tokenmeter report`, on standard output and in files."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rigs.made_records import priced, record, unpriced
from tokenmeter.cli import main
from tokenmeter.ledger.writer import Ledger


@pytest.fixture
def spend(tmp_path: Path) -> str:
    ledger = Ledger(tmp_path / "spend.db")
    for amount, team in (("1", "a"), ("2", "b"), ("4", "c")):
        ledger.write(record(priced(amount), tags={"team": team, "user": "u"}))
    ledger.write(record(unpriced("no rate here"), tags={"team": "a"}))
    ledger.close(30)
    return ledger.path


def focus_rows(printed: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(printed)))


def test_focus_on_standard_output_and_the_rest_on_standard_error(
    spend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", spend, "--format", "focus"]) == 0
    out, err = capsys.readouterr()
    rows = focus_rows(out)
    assert sorted(row["BilledCost"] for row in rows) == ["1", "2", "4"]
    assert "ServiceProviderName" in rows[0]
    assert err.splitlines() == ["1 calls have no known cost and no row:", "  1: no rate here"]


@pytest.mark.parametrize(
    ("flags", "rows", "tags"),
    [
        (["--focus", "1.2"], 3, '{"team":"a","user":"u"}'),
        (["--focus", "1.4", "--focus-tags", "team"], 3, '{"team":"a"}'),
        (["--format", "focus", "--focus-tags", "user"], 1, '{"user":"u"}'),
        (["--format", "focus", "--focus-tags", ""], 1, "{}"),
        (["--format", "focus", "--where", "team = a"], 1, '{"team":"a","user":"u"}'),
        (["--format", "focus", "--charge-period", "hour", "--tag", "team=a"], 1, '{"team":"a","user":"u"}'),
    ],
)
def test_what_keeps_focus_rows_apart(
    flags: list[str], rows: int, tags: str, spend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", spend, *flags]) == 0
    found = focus_rows(capsys.readouterr().out)
    assert len(found) == rows
    assert tags in {row["Tags"] for row in found}


@pytest.mark.parametrize(
    ("form", "begins"),
    [("table", "{spend}: times in"), ("json", '{{\n  "ledger"'), ("csv", "team,currency,"), ("md", "_")],
)
def test_a_file_holds_what_standard_output_would(
    form: str, begins: str, spend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["report", spend, "--by", "team", "--format", form]
    assert main([*arguments, "--output", str(tmp_path / "answer")]) == 0
    assert capsys.readouterr().out == ""
    assert main(arguments) == 0
    assert (tmp_path / "answer").read_text("utf-8").split() == capsys.readouterr().out.split()
    assert (tmp_path / "answer").read_text("utf-8").startswith(begins.format(spend=spend))


@pytest.mark.parametrize("flags", [[], ["--format", "focus"], ["--focus", "1.2"]])
def test_the_name_of_a_file_makes_it_parquet(flags: list[str], spend: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    assert main(["report", spend, *flags, "--output", str(tmp_path / "x.parquet")]) == 0
    assert (tmp_path / "x.parquet").read_bytes()[:4] == b"PAR1"


def test_parquet_can_be_piped(spend: str) -> None:
    pytest.importorskip("pyarrow")
    command = [sys.executable, "-m", "tokenmeter", "report", spend, "--format", "parquet"]
    assert subprocess.run(command, capture_output=True, check=True, timeout=60).stdout[:4] == b"PAR1"


def test_json_has_what_was_asked_for(spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--by", "team", "--json", "--where", "cost > 0.5", "--stat", "p95", "--top", "2", "--compare", "2026-01"]
    assert main(["report", spend, *flags]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["where"], answer["rows_left_out"]) == ("cost > 0.5", 1)
    assert [(row["group"]["team"], row["stats"], row["change"]) for row in answer["rows"]] == [
        ("c", {"cost_p95": "4"}, "4"),
        ("b", {"cost_p95": "2"}, "2"),
    ]
    assert answer["totals"][0]["cost"] == "7"
    (causes,) = answer["comparison"]["causes"]
    assert (causes["change"], causes["mix"]) == ("7", "7")


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        (["--charge-period", "hour"], "--charge-period belongs to --format focus"),
        (["--json", "--focus", "1.2"], "--focus belongs to --format focus"),
        (["--format", "focus", "--top", "3"], "--top has no meaning with --format focus"),
        (["--format", "focus", "--compare", "previous"], "--compare has no meaning"),
        (["--json", "--output", "x.parquet"], "--format json is not Parquet"),
        (["--output", "{spend}"], "is an SQLite file, perhaps a ledger"),
        (["--format", "focus", "--output", "{spend}"], "is an SQLite file, perhaps a ledger"),
        (["--where", "cost >"], "--where: the end where a value should stand"),
        (["--sort", "money"], "--sort: 'money' is not one of"),
        (["--compare", "previous"], "say with --since"),
        (["--output", "/nowhere/x"], "/nowhere/x"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(
    flags: list[str], problem: str, spend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path(spend).read_bytes()
    assert main(["report", spend, *(flag.format(spend=spend) for flag in flags)]) == 2
    assert problem in capsys.readouterr().err
    assert Path(spend).read_bytes() == before


def test_a_page_by_the_name_of_its_file(spend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", spend, "--format", "html", "--lang", "zh", "--tz", "UTC"]) == 0
    printed = capsys.readouterr().out
    assert main(["report", spend, "-o", str(tmp_path / "p.html"), "--lang", "zh", "--tz", "UTC"]) == 0
    written = (tmp_path / "p.html").read_text("utf-8")
    without_minute = [text.replace("生成于", "\n").splitlines()[0] for text in (printed, written)]
    assert without_minute[0] == without_minute[1]
    assert "<html lang=zh-CN>" in written
    assert "exactly" not in written


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--stat", "p50"], "--stat has no meaning with --format html"),
        (["--top", "3"], "--top has no meaning with --format html"),
        (["--sort", "cost"], "--sort has no meaning with --format html"),
        (["--convert", "USD", "--rates", "CNY=0.14USD@2026-01-01"], "--convert has no meaning with --format html"),
        (["--by", "team,month"], "--by month: a page has its own periods"),
        (["--by", "taem"], "--by taem: no call has this tag; did you mean 'team'"),
        (["--budgets", "none.toml"], "none.toml"),
        (["--compare", "previous"], "--compare previous: say with --since"),
    ],
)
def test_flags_that_a_page_does_not_take(
    flags: list[str], said: str, spend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "p.html"
    assert main(["report", spend, "-o", str(target), *flags]) == 2
    assert said in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize("flags", [["--lang", "zh"], ["--budgets", "b.toml"]])
def test_flags_of_a_page_alone(flags: list[str], spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", spend, *flags]) == 2
    assert f"{flags[0]} belongs to --format html" in capsys.readouterr().err


def test_a_page_never_replaces_a_ledger(spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = Path(spend).read_bytes()
    assert main(["report", spend, "--format", "html", "-o", spend]) == 2
    assert "perhaps a ledger" in capsys.readouterr().err
    assert Path(spend).read_bytes() == before
