"""docs/questions.md and its Chinese page: every command is run on a ledger, and its answer is checked."""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.rigs.made_records import NOON, priced, record, unpriced
from tokenmeter.cli import main
from tokenmeter.cost import Cost
from tokenmeter.ledger.writer import Ledger
from tokenmeter.offers import Offer, Price
from tokenmeter.usage import Source, Usage

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / name).read_text("utf-8") for name in ("questions.md", "zh/questions.md")}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def commands(page: str) -> dict[int, list[str]]:
    parts = re.split(r"^## (\d+)\. ", page, flags=re.MULTILINE)[1:]
    return {
        int(number): re.findall(r"^tokenmeter (.*)$", text, re.MULTILINE)
        for number, text in zip(parts[::2], parts[1::2], strict=True)
    }


QUESTIONS = commands(PAGES["questions.md"])


def cached(fresh: int, read: int) -> Cost:
    """Fresh input at 2 and cached input at 0.2 for a million."""
    lines = tuple(
        (Price(name, Decimal(rate), 1_000_000), used, Decimal(rate) * used / 1_000_000)
        for name, rate, used in (("input", "2", fresh), ("cache_read", "0.2", read))
    )
    offer = Offer(provider="deepseek", model="cached", rate_id="deepseek/cached@1", confidence="official", list="CNY")
    return Cost(offer, "priced", sum((part for _, _, part in lines), Decimal(0)), lines, NOON)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    shanghai = ZoneInfo("Asia/Shanghai")
    october, november = datetime(2026, 10, 31, 23, 59, tzinfo=shanghai), datetime(2026, 11, 1, tzinfo=shanghai)
    place = tmp_path_factory.mktemp("questions")
    ledger = Ledger(place / "spend.db")
    for one in (
        record(priced("1"), ended=october, tags={"team": "search", "user": "ann"}),
        record(
            priced("2"), ended=november, tags={"team": "search", "user": "ann", "conversation": "c-42"}, trace_id=TRACE
        ),
        record(priced("0.5"), ended=november, tags={"team": "ads", "user": "bob", "conversation": "c-42"}),
        record(
            priced("3", "USD", model="gpt-4o", provider="openai"), provider="openai", ended=november,
            tags={"team": "ads", "user": "ann"},
        ),
        record(
            priced("0.25"), ended=november, scope=("nightly", "index"), tags={"team": "search", "user": "bot"},
            usage=Usage(input_tokens=10, output_tokens=1, source=Source.ESTIMATED),
        ),
        record(
            cached(1000, 9000), ended=november, tags={"team": "search", "user": "bob"},
            usage=Usage(input_tokens=10_000, cache_read_input_tokens=9000, output_tokens=0),
        ),
        record(unpriced("set TOKENMETER_MODELS"), ended=november, tags={"team": "ads", "user": "bob"}),
        *(record(priced("0.01"), ended=november, tags={"user": f"user-{one}", "team": "web"}) for one in range(12)),
    ):  # fmt: skip
        ledger.write(one)
    ledger.close(30)
    return place


@pytest.fixture
def answers(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run the commands of a question as they stand, then once more as JSON; the answers to the latter."""
    monkeypatch.chdir(folder)

    def run(number: int) -> list[Any]:
        found = []
        for command in QUESTIONS[number]:
            arguments = shlex.split(command)
            assert main(arguments) == 0
            printed = capsys.readouterr().out
            assert printed.startswith("spend.db: times in") or "--output" in arguments
            if "--output" in arguments:
                continue
            assert main([*arguments, "--json"]) == 0
            found.append(json.loads(capsys.readouterr().out))
        return found

    return run


def rows(answer: Any, *values: str) -> list[tuple[Any, ...]]:
    return [(*row["group"].values(), row["currency"], *(row[value] for value in values)) for row in answer["rows"]]


def test_both_pages_have_ten_questions_and_the_same_commands() -> None:
    assert list(QUESTIONS) == list(range(1, 11))
    assert all(QUESTIONS.values())
    assert commands(PAGES["zh/questions.md"]) == QUESTIONS


def test_1_per_day_and_team(answers: Callable[..., Any]) -> None:
    (answer,) = answers(1)
    assert rows(answer, "cost") == [
        ("2026-10-31", "search", "CNY", "1"),
        ("2026-11-01", "ads", "CNY", "0.5"),
        ("2026-11-01", "ads", "USD", "3"),
        ("2026-11-01", "ads", None, None),
        ("2026-11-01", "search", "CNY", "2.2538"),
        ("2026-11-01", "web", "CNY", "0.12"),
    ]


def test_2_top_users(answers: Callable[..., Any]) -> None:
    (answer,) = answers(2)
    found = rows(answer, "cost")
    assert [row for row in found if row[1] == "CNY"][:3] == [
        ("ann", "CNY", "3"), ("bob", "CNY", "0.5038"), ("bot", "CNY", "0.25"),
    ]  # fmt: skip
    assert (len(found), answer["rows_left_out"]) == (10 + 1 + 1, 5)  # CNY, USD, unpriced
    assert answer["totals"][0]["cost"] == "3.8738"


def test_3_one_conversation_trace_or_run(answers: Callable[..., Any]) -> None:
    conversation, trace, run = answers(3)
    assert rows(conversation, "cost") == [("deepseek-chat", "CNY", "2.5")]
    assert rows(trace, "cost") == [("deepseek-chat", "CNY", "2")]
    assert rows(run, "cost") == [("nightly / index", "CNY", "0.25")]


def test_4_what_the_cache_saved(answers: Callable[..., Any]) -> None:
    (answer,) = answers(4)
    saved = {row["group"]["model"]: row["stats"]["cache_saved_sum"] for row in answer["rows"]}
    assert saved == {"cached": "0.0162", "deepseek-chat": None, "gpt-4o": None}  # 9,000 at 1.8 less for a million


def test_5_how_much_is_estimated(answers: Callable[..., Any]) -> None:
    (answer,) = answers(5)
    assert rows(answer, "cost", "calls") == [
        ("reported", "CNY", "3.6238", 16),
        ("estimated", "CNY", "0.25", 1),
        ("reported", "USD", "3", 1),
        ("reported", None, None, 1),
    ]


def test_6_by_price_list_and_rate(answers: Callable[..., Any]) -> None:
    (answer,) = answers(6)
    assert rows(answer, "cost")[:3] == [
        ("CNY", "deepseek/deepseek-chat#1", "corroborated", "CNY", "3.87"),
        ("CNY", "deepseek/cached@1", "official", "CNY", "0.0038"),
        ("USD", "openai/gpt-4o#1", "corroborated", "USD", "3"),
    ]


def test_7_the_month(answers: Callable[..., Any], folder: Path) -> None:
    assert answers(7) == []
    sums, charges = (
        list(csv.DictReader((folder / name).read_text("utf-8").splitlines()))
        for name in ("2026-11.csv", "2026-11-focus.csv")
    )
    expected = {"CNY": Decimal("2.8738"), "USD": Decimal(3)}
    for currency, amount in expected.items():
        assert sum(Decimal(row["cost"]) for row in sums if row["currency"] == currency) == amount
        assert sum(Decimal(row["BilledCost"]) for row in charges if row["BillingCurrency"] == currency) == amount


def test_8_a_call_typically_and_at_worst(answers: Callable[..., Any]) -> None:
    (answer,) = answers(8)
    stats = {row["group"]["model"]: row["stats"] for row in answer["rows"] if row["currency"] == "CNY"}
    assert stats["deepseek-chat"] == {"cost_p50": "0.01", "cost_p95": "2", "cost_max": "2", "duration_p95": 1.0}


def test_9_why_spend_rose(answers: Callable[..., Any]) -> None:
    (answer,) = answers(9)
    assert rows(answer, "change")[:2] == [("deepseek-chat", "CNY", "1.87"), ("cached", "CNY", "0.0038")]
    causes, _ = answer["comparison"]["causes"]
    parts = [Decimal(causes[name]) for name in ("volume", "price", "cache", "mix")]
    assert sum(parts) == Decimal(causes["change"]) == Decimal("1.8738")


def test_10_what_is_unpriced_and_what_mends_it(answers: Callable[..., Any]) -> None:
    (answer,) = answers(10)
    assert rows(answer, "calls") == [("ads", "deepseek-chat", "set TOKENMETER_MODELS", None, 1)]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]*)", PAGES[page]):
        assert ((DOCS / page).parent / target).exists(), target
