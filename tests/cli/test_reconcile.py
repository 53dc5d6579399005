"""`tokenmeter reconcile` as people and programs meet it."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from tests.rigs import bills
from tests.rigs.bills import ledger_of, lines_of, metered
from tokenmeter.cli import main
from tokenmeter.usage import Usage

AT = datetime(2025, 10, 2, 9, tzinfo=UTC)
MAP = """\
zone = "UTC"
currency = "CNY"
[components]
"tokens in" = "input"
"tokens out" = "output"
[[part]]
name = "ours"
required = ["day", "model", "type", "quantity", "amount"]
[part.columns]
day = "Date"
model = "Model"
type = "What"
quantity = "Tokens"
amount = "Cost"
"""


@pytest.fixture
def spend(tmp_path: Path) -> str:
    usage = Usage(input_tokens=1_000_000, output_tokens=100_000)
    return ledger_of(tmp_path / "spend.db", [metered("deepseek", "deepseek-chat", AT, usage)])


def bill(tmp_path: Path, factor: str = "1") -> str:
    usage = Usage(input_tokens=1_000_000, output_tokens=100_000)
    lines = lines_of([metered("deepseek", "deepseek-chat", AT, usage)], "UTC")
    lines = [one.priced(one.price * Decimal(factor)) if one.component == "output" else one for one in lines]
    return str(bills.deepseek(tmp_path / "usage_data_2025_10.zip", lines))


def test_the_text_says_layers_causes_and_the_proposal(
    spend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reconcile", spend, bill(tmp_path, "0.5"), "--provider", "deepseek"]) == 0
    printed = capsys.readouterr().out
    assert "deepseek by deepseek: 2025-10-02 to 2025-10-02, days in UTC" in printed
    cells = [line.split() for line in printed.splitlines()]
    assert ["payable", "2.15", "CNY"] in cells
    assert ["promotion", "or", "contract", "-0.15"] in cells
    assert ["gap", "-0.15"] in cells
    assert "multiply = { output = 0.5 }" in printed


def test_json_is_exact_and_the_proposal_goes_to_a_file(
    spend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "contract.toml"
    assert main(["reconcile", spend, bill(tmp_path, "0.5"), "--json", "--proposal", str(target)]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert (answer["format"], answer["metered"], answer["cost"], answer["paid"]) == ("deepseek", "2.3", "2.15", "2.15")
    assert answer["causes"] == {"promotion or contract": "-0.15"}
    assert answer["gap"] == "-0.15"
    assert target.read_text() == answer["proposal"]


def test_no_difference(spend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reconcile", spend, bill(tmp_path)]) == 0
    assert "no difference" in capsys.readouterr().out


def test_a_format_of_one_s_own_and_a_line_that_cannot_be_read(
    spend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "map.toml").write_text(MAP)
    (tmp_path / "own.csv").write_text(
        'Date,Model,What,Tokens,Cost\n2025-10-02,deepseek-chat,tokens in,"1,000,000",2\n'
        "2025-10-02,deepseek-chat,tokens out,100000,0.3\n2025-10-02,deepseek-chat,tokens out,many,0.3\n"
    )
    flags = ["--provider", "deepseek", "--map", str(tmp_path / "map.toml")]
    assert main(["reconcile", spend, str(tmp_path / "own.csv"), *flags]) == 1
    printed = capsys.readouterr()
    assert "no difference" in printed.out
    assert printed.err == "tokenmeter: own.csv:4: quantity: 'many' is not a number\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--format", "deepsek"], "'deepsek' is none of"),
        (["--map", "nowhere.toml"], "there is no file"),
        (["--tz", "Mars/Olympus"], "is not a time zone"),
        (["--provider", "openai"], "start_time"),
    ],
)
def test_wrong_flags_are_answered_in_a_line(
    flags: list[str], message: str, spend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reconcile", spend, bill(tmp_path), *flags]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1


def test_a_focus_export_of_the_same_ledger_has_no_difference_on_its_own_clock(
    spend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = str(tmp_path / "focus.csv")
    assert main(["report", spend, "--format", "focus", "--output", export]) == 0
    assert main(["reconcile", spend, export, "--provider", "deepseek", "--tz", "Asia/Shanghai"]) == 0
    assert "no difference" in capsys.readouterr().out


def test_a_saved_bill_is_what_focus_rows_say_was_billed(
    spend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = bill(tmp_path, "0.5")
    assert main(["reconcile", spend, given, "--save", "--invoice", "DS-2025-10"]) == 0
    export = tmp_path / "focus.csv"
    assert main(["report", spend, "--format", "focus", "--output", str(export)]) == 0
    with export.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["InvoiceId"] for row in rows} == {"DS-2025-10"}
    assert sorted((row["ChargeCategory"], row["BilledCost"]) for row in rows) == [
        ("Credit", "-0.15"), ("Usage", "0.3"), ("Usage", "2"),
    ]  # fmt: skip
    capsys.readouterr()
    assert main(["reconcile", spend, given, "--save"]) == 2
    assert "--replace it" in capsys.readouterr().err
    assert main(["reconcile", spend, given, "--save", "--replace"]) == 0
    assert main(["reconcile", spend, given, "--invoice", "DS"]) == 2
    assert "--invoice belongs to --save" in capsys.readouterr().err
