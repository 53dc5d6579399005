"""`tokenmeter compare` as people and programs meet it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.rigs.bills import ledger_of, metered
from tokenmeter.cli import main
from tokenmeter.usage import Usage

AT = datetime(2025, 10, 2, 9, tzinfo=UTC)


@pytest.fixture
def spend(tmp_path: Path) -> str:
    usage = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
    return ledger_of(tmp_path / "spend.db", [metered("deepseek", "deepseek-chat", AT, usage)])


def test_json_has_a_range_and_what_it_rests_on(spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", spend, "--models", "alibaba/qwen-plus,deepseek/deepseek-chat", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["calls"], answer["spend"]) == (1, [{"currency": "CNY", "amount": "5"}])
    qwen, deepseek = answer["models"]
    assert float(qwen["low"]) < float(qwen["likely"]) < float(qwen["high"])
    assert [deepseek[name] for name in ("low", "likely", "high", "same_tokens")] == ["5"] * 4
    assert deepseek["rests_on"] == [{"currency": "CNY", "amount": "5", "share": "1"}]


def test_the_text_fits_a_table(spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", spend, "--models", "alibaba/qwen-plus,iflytek/4.0Ultra"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("calls: 1, cost: 5 CNY; the length of outputs is kept\n")
    assert "100.0% of CNY" in printed
    assert "were not measured" in printed


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--models", ","], "name at least one"),
        (["--models", "no-such-model"], "sold by no provider"),
        (["--models", "alibaba/qwen-plus", "--at", "soon"], "is not a time"),
    ],
)
def test_wrong_flags(flags: list[str], message: str, spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", spend, *flags]) == 2
    assert message in capsys.readouterr().err
