"""Which budgets a call falls under, and what it asks of each."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from tests.rigs.budget_calls import bound_of, enforcer, facts
from tokenmeter import Budget, BudgetExceeded
from tokenmeter.budgets import lines as budget_lines
from tokenmeter.budgets.bound_values import Bound
from tokenmeter.budgets.lines import BudgetCounter, BudgetLine, CallFacts


def line(budget: Budget, bound: Bound, call: CallFacts | None = None, **more: Any) -> BudgetLine:
    made = enforcer(budget, bound=bound, **more)
    asked = call or facts()
    (only,) = made.lines.lines(made.lines.matching(asked), asked, made.store.now(), exact=True)
    return only


@pytest.mark.parametrize(
    ("budget", "tags", "series"),
    [
        ({}, {}, "b"),
        ({"where": {"team": "search"}}, {"team": "search", "user": "u"}, "b"),
        ({"where": {"team": "search"}}, {"team": "ads"}, None),
        ({"where": {"team": "search"}}, {}, None),
        ({"where": {"team": "search", "env": "prod"}}, {"team": "search"}, None),
        ({"where": {"provider": "deepseek"}}, {}, "b"),
        ({"where": {"provider": "openai"}}, {}, None),
        ({"where": {"model": "deepseek-chat"}}, {}, "b"),
        ({"where": {"model": "deepseek-chat"}}, {"model": "mine"}, None),  # a tag of the user's own comes first
        ({"each": "user"}, {"user": "u1"}, "b\x1fu1"),
        ({"each": "user"}, {}, None),
        ({"each": "model"}, {}, "b\x1fdeepseek-chat"),
        ({"each": "user", "where": {"team": "search"}}, {"team": "search", "user": "u2"}, "b\x1fu2"),
    ],
)
def test_the_series_of_a_call(budget: dict[str, Any], tags: dict[str, str], series: str | None) -> None:
    assert BudgetCounter(Budget("1 CNY", name="b", **budget)).series(facts(tags)) == series


def test_values_without_end_share_a_counter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget_lines, "_VALUES_MOST", 3)
    counter = BudgetCounter(Budget("1 CNY", name="b", each="user"))
    series = [counter.series(facts({"user": f"u{number}"})) for number in range(5)]
    assert series == ["b\x1fu0", "b\x1fu1", "b\x1fu2", "b\x1f*other*", "b\x1f*other*"]
    assert counter.series(facts({"user": "u1"})) == "b\x1fu1"


def test_each_run_of_a_scope_has_a_series() -> None:
    scope = Budget("1 calls", name="nightly", per="scope")
    made = enforcer(Budget("1 CNY", name="b"))
    found = made.lines.matching(facts(scopes=((scope, "run1"),)))
    assert [series for _, series in found] == ["b", "nightly\x1frun1"]


@pytest.mark.parametrize(
    ("limit", "bound", "amount"),
    [
        ("5 calls", bound_of("1", "1"), 1),
        ("900 tokens", bound_of("1", "1", tokens=10, limit=7), 17),
        ("900 tokens", bound_of(None, tokens=10, limit=7), 17),
        ("5 CNY", bound_of("0.25", "0.5", limit=3), 1_750_000_000),
        ("5 CNY", bound_of("0.0000000001"), 1),  # rounded up: a hold is never below
    ],
)
def test_what_a_call_asks_in_the_unit_of_the_limit(limit: str, bound: Bound, amount: int) -> None:
    asked = line(Budget(limit, name="b"), bound)
    assert asked.amount == amount
    assert asked.ask().amount == amount


@pytest.mark.parametrize(("on_lost", "lost"), [("input", 250_000_000), ("bound", 1_750_000_000), ("nothing", 0)])
def test_what_is_charged_if_the_call_vanishes(on_lost: str, lost: int) -> None:
    assert line(Budget("5 CNY", name="b", on_lost=on_lost), bound_of("0.25", "0.5", limit=3)).ask().lost == lost


def test_a_request_without_a_limit() -> None:
    bound = bound_of("0", "0.001", limit=None)
    assert line(Budget("5 CNY", name="b"), bound).output == 1_000
    assert line(Budget("5 CNY", name="b", unlimited=300), bound).output == 300
    with pytest.raises(BudgetExceeded, match="sets no limit on its output") as caught:
        line(Budget("5 CNY", name="b", unlimited="block"), bound)
    assert caught.value.kind == "unlimited"


def test_a_request_without_a_limit_holds_the_99th_percentile_of_its_models_answers() -> None:
    made = enforcer(Budget("500000 tokens", name="b"), bound=bound_of("0", limit=None, tokens=0))
    for length in range(1, 3_001, 3):
        made.outputs.add("deepseek", "deepseek-chat", length)
    asked = facts()
    (held,) = made.lines.lines(made.lines.matching(asked), asked, made.store.now(), exact=True)
    assert held.output == 2_971
    streamed = facts(stream=True)
    (held,) = made.lines.lines(made.lines.matching(streamed), streamed, made.store.now(), exact=True)
    assert held.output == 2_851  # the 95th, since it grows


def test_a_call_without_a_price() -> None:
    bound = bound_of(None, tokens=1_000_000, limit=500_000)
    assert line(Budget("5 CNY", name="b"), bound).amount == 0
    assert line(Budget("50 CNY", name="b", unpriced="10 CNY"), bound).amount == 15 * 10**9
    with pytest.raises(BudgetExceeded, match="no rate for this model") as caught:
        line(Budget("5 CNY", name="b", unpriced="block"), bound)
    assert caught.value.kind == "unpriced"


def test_a_call_in_another_currency() -> None:
    bound = bound_of("1", "0.5", currency="USD")
    assert line(Budget("50 CNY", name="b", unconvertible="ignore"), bound).amount == 0
    with pytest.raises(BudgetExceeded, match="billed in USD") as caught:
        line(Budget("50 CNY", name="b"), bound)
    assert caught.value.kind == "unconvertible"

    def convert(amount: Decimal, base: str, to: str) -> Decimal | None:
        return amount * Decimal("7.1") if (base, to) == ("USD", "CNY") else None

    assert line(Budget("50 CNY", name="b"), bound, convert=convert).amount == 10_650_000_000


def test_a_call_by_hand_without_a_request_asks_nothing() -> None:
    assert line(Budget("5 CNY", name="b"), bound_of("1"), facts(body=None)).amount == 0


@pytest.mark.parametrize(
    ("unlimited", "most", "held"),
    [
        ("model", 16_384, 16_384),
        ("model", None, 1_000),  # as p99, where the model's is not known
        ("p99", 16_384, 1_000),
        ("p99", 512, 512),
        (20_000, 16_384, 16_384),
        (300, 16_384, 300),
    ],
)
def test_no_more_is_held_than_the_model_can_answer(unlimited: str | int, most: int | None, held: int) -> None:
    bound = replace(bound_of("1", limit=None), max_output=most)
    assert line(Budget("5 CNY", name="b", unlimited=unlimited), bound).output == held
