"""`tokenmeter reprice`: calls at other instants and by other prices, beside the ledger."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.bills import ledger_of, metered
from tests.rigs.ledger_rows import rows
from tests.rigs.made_records import record
from tokenmeter.cli import main
from tokenmeter.record import End
from tokenmeter.usage import Usage

MILLION = Usage(input_tokens=1_000_000, output_tokens=1_000_000)
BEFORE = datetime(2024, 5, 1, 4, tzinfo=UTC)
MODELS = [
    ("alibaba", "qwen-long"),
    ("zhipu", "glm-3-turbo"),
    ("openai", "gpt-4"),
    ("volcengine", "doubao-pro-32k"),
    ("deepseek", "deepseek-v2"),
]


@pytest.fixture
def spend(tmp_path: Path) -> str:
    made = [metered(provider, model, BEFORE, MILLION) for provider, model in MODELS]
    return ledger_of(tmp_path / "spend.db", [*made, record(end=End.DELEGATED, id="outer")])


def repriced(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    assert main(["reprice", *flags, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def valued(path: str, name: str) -> dict[str, str | None]:
    query = (
        "SELECT calls.request_model, valued_calls.amount FROM valued_calls JOIN calls ON calls.id = call_id"
        " WHERE valuation = ?"
    )
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute(query, (name,)))


def test_may_2024_before_and_after(spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = repriced(capsys, spend, "--at", "2024-05-01T12:00:00+08:00", "--name", "before")
    after = repriced(capsys, spend, "--at", "2024-06-01T12:00:00+08:00", "--name", "after")
    unsold = {"doubao-pro-32k": None, "deepseek-v2": None}
    assert valued(spend, "before") == {"qwen-long": "40", "glm-3-turbo": "10", "gpt-4": "90", **unsold}
    sold = {"doubao-pro-32k": "2.8", "deepseek-v2": "3"}
    assert valued(spend, "after") == {"qwen-long": "2.5", "glm-3-turbo": "2", "gpt-4": "90", **sold}
    assert before["changed"] == 0
    assert (after["changed"], after["calls"]) == (4, 5)  # the delegated call is carried by others
    assert {one["currency"]: (one["ledger"], one["valued"]) for one in after["sums"]} == {
        "CNY": ("50", "10.3"),
        "USD": ("90", "90"),
    }


def test_at_the_time_of_the_call_nothing_changes_and_the_rows_are_not_touched(
    spend: str, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = rows(Path(spend))
    answer = repriced(capsys, spend, "--at-time-of-call")
    assert answer["changed"] == 0
    assert answer["at"] is None
    assert answer["name"].startswith(answer["book"])
    assert rows(Path(spend)) == calls


def test_an_overlay_prices_what_the_book_does_not_sell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spend = ledger_of(tmp_path / "spend.db", [metered("deepseek", "house-model", BEFORE, MILLION)])
    without = repriced(capsys, spend, "--at-time-of-call", "--name", "book")
    assert (without["statuses"], without["sums"]) == ({"unpriced": 1}, [])
    assert any("house-model" in reason for reason in without["unpriced"])
    overlay = tmp_path / "house.toml"
    overlay.write_text(
        'provider = "deepseek"\n[[rate]]\nmodel = "house-model"\neffective = 2024-01-01\ninput = 1\noutput = 2\n'
        'source = "contract"\nconfidence = "official"\n'
    )
    answer = repriced(capsys, spend, "--at-time-of-call", "--name", "contract", "--prices", str(overlay))
    assert answer["sums"] == [{"currency": "CNY", "ledger": "0", "valued": "3"}]


def test_a_name_is_not_taken_twice_unless_replaced(spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [spend, "--at", "2024-06-01T12:00:00+08:00", "--name", "after"]
    repriced(capsys, *flags)
    assert main(["reprice", *flags]) == 2
    assert "there is a valuation 'after'" in capsys.readouterr().err
    assert repriced(capsys, *flags, "--replace")["calls"] == 5
    assert len(valued(spend, "after")) == 5


def test_the_text(spend: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reprice", spend, "--at", "2024-06-01T12:00:00+08:00"]) == 0
    printed = capsys.readouterr().out
    assert "5 calls (5 priced), 4 cost another amount" in printed
    assert ["CNY", "50", "10.3"] in [line.split() for line in printed.splitlines()]


def test_a_ledger_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reprice", str(tmp_path / "none.db"), "--at-time-of-call"]) == 2
    assert "there is no ledger" in capsys.readouterr().err
    assert not (tmp_path / "none.db").exists()
