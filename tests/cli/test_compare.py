"""`tokenmeter compare` as people and programs meet it."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from decimal import Decimal
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


def test_requests_are_counted_anew_and_bad_lines_are_named(
    spend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(spend) as connection:
        (call,) = connection.execute("SELECT id FROM calls").fetchone()
    request = {"messages": [{"role": "user", "content": "hello"}]}
    file = tmp_path / "requests.jsonl"
    file.write_text(json.dumps({"id": call, "request": request, "output": {"text": "hi"}}) + '\n{"id": "x"}\n')
    flags = ["--models", "alibaba/qwen-plus", "--requests", str(file)]
    assert main(["compare", spend, *flags]) == 1
    printed = capsys.readouterr()
    assert "1 calls were counted anew" in printed.out
    assert "what drives the difference (CNY): " in printed.out
    assert printed.err == f"tokenmeter: {file}:2: request: must be the body as it was sent, an object\n"
    assert main(["compare", spend, "--models", "alibaba/qwen-plus", "--requests", str(tmp_path / "none")]) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("cache", ["keep", "none", "measured"])
def test_drivers_of_each_cache_assumption_add_up(cache: str, spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", spend, "--models", "deepseek/deepseek-chat", "--cache", cache, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    (one,) = answer["models"]
    if cache == "measured":  # the call says nothing of a cache
        assert (one["likely"], one["drivers"]) == (None, None)
    else:
        assert sum(Decimal(amount) for amount in one["drivers"].values()) == Decimal(one["likely"]) - 5


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
