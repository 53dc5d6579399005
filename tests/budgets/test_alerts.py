"""Alerts over real HTTP: once per window and threshold, in the user's language, never in the way of a call."""

from __future__ import annotations

import json
import time
from decimal import Decimal
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from tests.rigs.http_receiver import http_receiver
from tokenmeter import Budget, BudgetEvent, BudgetExceeded, Tokenmeter, Usage
from tokenmeter.budgets.alerts import message_of
from tokenmeter.cli import main
from tokenmeter.errors import ConfigurationError

pytest.importorskip("apprise")


def spend(meter: Tokenmeter, times: int) -> None:
    for _ in range(times):
        with meter.call("deepseek", "deepseek-chat") as call:
            call.observe_usage(Usage(input_tokens=100, output_tokens=0))


def test_thresholds_and_the_first_refusal_are_sent_once() -> None:
    events: list[BudgetEvent] = []
    taken: Queue[bytes] = Queue()
    with http_receiver(taken.put) as address:
        meter = Tokenmeter(
            budgets=[Budget("1000 tokens", name="tokens of all", per="total", at=["0.5", "1"])],
            alerts=[f"{address}/hook".replace("http", "json")],
            alert_language="zh",
            on_threshold=events.append,
            spans="none",
        )
        spend(meter, 10)
        for _ in range(3):
            with pytest.raises(BudgetExceeded):
                spend(meter, 1)
        bodies = [taken.get(timeout=20) for _ in range(3)]
    assert [(event.kind, event.share, event.spent) for event in events] == [
        ("threshold", Decimal("0.5"), 500),
        ("threshold", 1, 1000),
        ("refused", None, 1000),
    ]
    titles = [json.loads(body)["title"] for body in bodies]
    assert titles == ["预算 tokens of all:已用 50%", "预算 tokens of all:已用 100%", "预算 tokens of all:调用被拒绝"]


def test_an_address_that_does_not_answer_holds_up_no_call() -> None:
    meter = Tokenmeter(budgets=[Budget("100 tokens", per="total")], alerts=["json://127.0.0.1:9/nobody"], spans="none")
    started = time.thread_time()
    spend(meter, 1)
    assert time.thread_time() - started < 5


@pytest.mark.parametrize("address", ["nonsense", "unknown://token", 5])
def test_a_bad_address_is_named_without_its_key(address: Any) -> None:
    with pytest.raises(ConfigurationError, match="alerts") as caught:
        Tokenmeter(alerts=[address])
    assert "token" not in str(caught.value).replace("tokenmeter", "")


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ("Budget search: 80% spent", "40 of 50 CNY spent in 2026-11-30.")),
        ("zh", ("预算 search:已用 80%", "2026-11-30:已用 40 CNY,上限 50 CNY。")),
    ],
)
def test_messages_name_budget_window_and_amounts(language: str, expected: tuple[str, str]) -> None:
    event = BudgetEvent(
        "threshold", "search", "search", "2026-11-30", "CNY", Decimal("50.000"), Decimal("40"), Decimal("0.8")
    )
    assert message_of(event, language) == expected


def test_a_new_process_begins_with_what_the_ledger_says(tmp_path: Path) -> None:
    ledger = str(tmp_path / "spend.db")
    budgets = [Budget("1000 tokens", name="day", per="day", each="user"), Budget("20 calls", name="calls", per="month")]
    first = Tokenmeter(ledger=ledger, budgets=budgets, spans="none")
    with first.tags(user="u1"):
        spend(first, 9)
    first.shutdown()
    again = Tokenmeter(budgets=budgets, budget_seed=ledger, spans="none")
    with again.tags(user="u1"):
        spend(again, 1)
        with pytest.raises(BudgetExceeded) as caught:
            spend(again, 1)
    assert (caught.value.series, caught.value.spent) == ("day u1", 1000)
    with again.tags(user="u2"):
        spend(again, 10)
        with pytest.raises(BudgetExceeded, match="day u2"):
            spend(again, 1)
    without = Tokenmeter(budgets=budgets, budget_seed=str(tmp_path / "none.db"), spans="none")
    spend(without, 1)


def test_the_digest_of_a_day_is_printed_and_sent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = str(tmp_path / "spend.db")
    meter = Tokenmeter(ledger=ledger, spans="none")
    with meter.tags(team="search"):
        spend(meter, 2)
    with meter.call("nobody", "unknown-model") as call:
        call.observe_usage(Usage(input_tokens=1, output_tokens=1))
    meter.shutdown()
    today = time.strftime("%Y-%m-%d", time.gmtime())
    flags = ["budget", "digest", "--ledger", ledger, "--by", "team", "--day", today]
    assert main(flags) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"Spend of {today}\n2 calls, ")
    assert "search: 2 calls" in text
    assert "1 calls without a price" in text
    taken: Queue[bytes] = Queue()
    with http_receiver(taken.put) as address:
        assert main([*flags, "--lang", "zh", "--to", address.replace("http", "json")]) == 0
        assert json.loads(taken.get(timeout=20))["title"] == f"{today} 支出"
