"""Spend by window of a budget, in the unit of its limit where that is known."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.ledger.page.conftest import figures, text
from tests.rigs.made_records import priced, record, unpriced
from tests.rigs.page_tables import Page
from tokenmeter.budgets.limits import BudgetLimit


@pytest.fixture
def path(ledger_of: Callable[..., str]) -> str:
    one, two = {"day": "2026-11-01"}, {"day": "2026-11-02", "other": "2026-11"}
    return ledger_of(
        record(priced("1"), budget_window=one), record(priced("2.5"), budget_window=two),
        record(priced("4", "USD"), budget_window=two), record(unpriced(), budget_window=two), record(priced("9")),
    )  # fmt: skip


def test_windows_in_the_currency_of_the_limit(path: str) -> None:
    day, other_cny, other_usd = figures(path, limits={"day": BudgetLimit.read("2 CNY", "x")}).budgets
    assert (day.name, day.unit, day.limit) == ("day", "CNY", 2)
    assert [(one.window, one.spent, one.calls, one.unpriced) for one in day.windows] == [
        ("2026-11-01", 1, 1, 0), ("2026-11-02", Decimal("2.5"), 3, 1),
    ]  # fmt: skip
    assert [(one.unit, one.limit, one.windows[0].spent) for one in (other_cny, other_usd)] == [
        ("CNY", None, Decimal("2.5")), ("USD", None, 4),
    ]  # fmt: skip


def test_a_limit_of_calls_counts_calls(path: str) -> None:
    day, *_ = figures(path, limits={"day": BudgetLimit.read("500 calls", "x")}).budgets
    assert (day.unit, [one.spent for one in day.windows]) == ("calls", [1, 3])


def test_a_limit_of_tokens_is_not_held_against_money(path: str) -> None:
    found = figures(path, limits={"day": BudgetLimit.read("500 tokens", "x")}).budgets
    assert [(one.name, one.unit, one.limit) for one in found[:2]] == [("day", "CNY", None), ("day", "USD", None)]


def test_the_page_says_what_is_over_its_limit(path: str) -> None:
    page = Page(text(path, limits={"day": BudgetLimit.read("2 CNY", "x")}))
    said = " ".join(page.texts)
    assert "125.0% · Limit 2 CNY" in said
    assert "Limit: not known: --budgets FILE" in said
    assert [found.get("class") for _, found in page.elements].count("over") == 1
