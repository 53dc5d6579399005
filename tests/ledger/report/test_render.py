"""What a report prints: names of tags may hold anything."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from tokenmeter import Tokenmeter, Usage
from tokenmeter.cli import main


@pytest.mark.parametrize(
    ("tag", "cell"),
    [
        ("search", "search"),
        ("通义", "通义"),
        ('=HYPERLINK("http://example.org")', """'=HYPERLINK("http://example.org")"""),
        ("+1+1", "'+1+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(1)", "'@SUM(1)"),
        ("a\x1b[2Jb\u202ec\rd", r"a\x1b[2Jb\u202ec\rd"),
    ],
)
def test_a_tag_is_no_formula_and_no_command_in_csv(
    tag: str, cell: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meter = Tokenmeter(ledger=str(tmp_path / "spend.db"))
    with (
        meter.tags(team=tag),
        meter.call(provider="deepseek", model="deepseek-chat") as call,
    ):
        call.observe_usage(Usage(input_tokens=10, output_tokens=2))
    meter.shutdown()
    assert main(["report", str(tmp_path / "spend.db"), "--by", "team", "--csv"]) == 0
    header, row = csv.reader(io.StringIO(capsys.readouterr().out))
    assert row[header.index("team")] == cell
