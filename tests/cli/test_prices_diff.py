"""`tokenmeter prices diff` compares days and books, and says how much money it is, for a ledger's calls too."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.made_records import record
from tokenmeter._support.data_files import CATALOG
from tokenmeter.cli import main
from tokenmeter.ledger.writer import Ledger
from tokenmeter.prices.book import Book
from tokenmeter.prices.upkeep.compile import compile_book
from tokenmeter.prices.upkeep.money_at_risk import CALLS, TYPICAL
from tokenmeter.prices.upkeep.price_history import in_force
from tokenmeter.usage import Usage

MILLION = Usage(input_tokens=10**6, output_tokens=10**6)


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """The shipped book, compiled, but for glm-4.7 at half its price."""
    root = tmp_path / "source"
    shutil.copytree(CATALOG / "prices", root / "prices", ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    file = root / "prices" / "data" / "zhipu.toml"
    head, model, rest = file.read_text("utf-8").partition('model = "glm-4.7"\n')
    assert model
    file.write_text(head + model + rest.replace("\ninput = 2\n", "\ninput = 1\n", 1), "utf-8")
    compile_book(tmp_path / "older" / "_compiled", root)
    return tmp_path / "older"


def ask(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert main(["prices", "diff", *arguments, "--json"]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def test_two_books_are_compared_at_an_instant(older: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (row,) = ask(capsys, str(older), "installed", "--at", "2026-11-20")
    assert (row["provider"], row["model"]) == ("zhipu", "glm-4.7")
    assert {"component": "input", "before": "1", "after": "2", "percent": "+100%"} in row["changes"]
    assert ask(capsys, str(CATALOG), "installed") == []


def test_the_calls_of_a_ledger_say_how_much_money_it_is(
    older: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger = Ledger(tmp_path / "spend.db")
    noon = datetime(2026, 11, 20, 12, tzinfo=UTC)
    short = Usage(input_tokens=10_000, output_tokens=100)
    for model in ("glm-4.7", "glm-4.7", "glm-4-plus"):
        cost = Book().price(short, provider="zhipu", model=model, at=noon)
        ledger.write(record(cost, provider="zhipu", request_model=model, usage=short, ended=noon))
    ledger.close(30)
    arguments = (str(older), "installed", "--ledger", str(tmp_path / "spend.db"))
    (row,) = ask(capsys, *arguments)
    money = row["ledger"]
    assert (money["calls"], money["difference"]) == (2, "0.02")
    assert Decimal(money["after"]) - Decimal(money["before"]) == Decimal("0.02")
    assert main(["prices", "diff", *arguments]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith(f"{tmp_path / 'spend.db'}: 3 calls, ")
    assert last.endswith("; at risk 0.02")


def test_typical_use_stands_beside_a_change(capsys: pytest.CaptureFixture[str]) -> None:
    rows = ask(capsys, "2024-05-01", "2024-06-01", "--provider", "alibaba", "--currency", "CNY")
    (row,) = [row for row in rows if row["model"] == "qwen-long"]
    assert (row["typical"]["before"], row["typical"]["after"]) == ("20", "0.8")
    assert main(["prices", "diff", "2024-05-01", "2024-06-01", "--provider", "alibaba"]) == 0
    shown = capsys.readouterr().out
    assert "a typical million tokens: 100 calls of 8,000 in and 2,000 out" in shown


def test_the_share_of_spend_at_risk_needs_no_ledger(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("2024-05-01", "2024-06-01", "--provider", "alibaba", "--currency", "CNY")
    rows = {row["model"]: row for row in ask(capsys, *arguments)}
    book, noon = Book(), datetime(2024, 5, 1, tzinfo=UTC).timestamp()
    sold = {rate.model for rate in in_force(book, "alibaba", noon) if rate.list == "CNY"}
    costs = {model: book.price(TYPICAL, provider="alibaba", model=model, at="2024-05-01").amount for model in sold}
    whole = sum(amount * CALLS for amount in costs.values() if amount is not None)
    fell = Decimal("19.2")  # of qwen-long, from 20 to 0.8
    assert abs(Decimal(rows["qwen-long"]["typical"]["share"]) - fell / whole) < Decimal("0.000001")
    shares = [Decimal(row["typical"]["share"]) for row in rows.values() if row["typical"]["difference"] is not None]
    assert main(["prices", "diff", *arguments]) == 0
    said = "at risk if every model were used alike: "
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(said)]
    assert line == f"{said}{float(sum(shares)):.2%} of spend in CNY"


def test_what_is_neither_time_nor_book_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prices", "diff", "no-such-book.whl", "2024-06-01"]) == 2
    assert "OLD: 'no-such-book.whl' is not a time" in capsys.readouterr().err
    (tmp_path / "bad.whl").write_text("no")
    assert main(["prices", "diff", str(tmp_path / "bad.whl"), "installed"]) == 2
    assert "not a wheel" in capsys.readouterr().err
