"""What a budget may say; each mistake is an error that names the budget."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from tokenmeter import Budget
from tokenmeter.budgets.budget import Use
from tokenmeter.budgets.windows import CalendarWindows, EndlessWindow, RollingWindows
from tokenmeter.errors import ConfigurationError


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"per": "year"}, "none of hour, day, week, month, total, scope"),
        ({"per": 7}, "none of hour"),
        ({"per": timedelta(seconds=59)}, "from 1 minute to 400 days"),
        ({"per": timedelta(days=401)}, "from 1 minute to 400 days"),
        ({"per": "0 minutes"}, "from 1 minute"),
        ({"timezone": "Asia/Peking"}, "no time zone"),
        ({"timezone": "../etc/passwd"}, "no time zone"),
        ({"timezone": None}, "no time zone"),
        ({"where": {"team": 1}}, "mapping of tags"),
        ({"where": ["team"]}, "mapping of tags"),
        ({"where": {"": "x"}}, "mapping of tags"),
        ({"each": ""}, "name of a tag"),
        ({"each": ["user"]}, "name of a tag"),
        ({"each": "user", "per": "scope"}, "every run of a scope has a counter already"),
        ({"on_exceed": "stop"}, "raise, warn or a function"),
        ({"at": [0]}, "shares of the limit"),
        ({"at": [1.5]}, "shares of the limit"),
        ({"at": 0.5}, "shares of the limit"),
        ({"at": ["half"]}, "shares of the limit"),
        ({"at": [float("nan")]}, "shares of the limit"),
        ({"wait": -1}, "seconds from 0 to 3600"),
        ({"wait": float("nan")}, "seconds from 0 to 3600"),
        ({"wait": True}, "seconds from 0 to 3600"),
        ({"unlimited": 0}, "none of p99, model, block"),
        ({"unlimited": "p50"}, "none of p99, model, block"),
        ({"unpriced": "free"}, "no limit"),
        ({"unpriced": "10 USD"}, "not in the budget's currency, CNY"),
        ({"unconvertible": "guess"}, "block, ignore"),
        ({"cut_streams": 1}, "True or False"),
        ({"on_lost": "all"}, "input, bound, nothing"),
    ],
)
def test_a_mistake_names_the_budget(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        Budget("50 CNY", name="search", **given)
    assert str(caught.value).startswith("budget 'search': ")


@pytest.mark.parametrize("limit", ["0 CNY", "-5 CNY", "NaN CNY", "5", "10000000000 CNY"])
def test_a_limit_that_is_none_names_the_budget(limit: str) -> None:
    with pytest.raises(ConfigurationError, match="budget 'search'"):
        Budget(limit, name="search")


@pytest.mark.parametrize("name", ["a" * 65, "a\x1fb", " ", "\n", 'a"b'])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(ConfigurationError, match="a name is"):
        Budget("1 CNY", name=name)


def test_a_budget_without_a_name_is_named_by_what_it_says() -> None:
    budget = Budget("50 CNY", where={"team": "search"}, each="user")
    assert str(budget) == "50 CNY per day team=search each user"
    assert Budget("5 calls", per=timedelta(hours=36)).name == "5 calls per 1 day 12:00:00"


def test_the_windows_of_a_budget() -> None:
    assert isinstance(Budget("1 CNY", per="week").windows(), CalendarWindows)
    assert isinstance(Budget("1 CNY", per="90 minutes").windows(), RollingWindows)
    assert isinstance(Budget("1 CNY", per="total").windows(), EndlessWindow)
    assert Budget("1 CNY", per="90 minutes").per == timedelta(minutes=90)


def test_shares_are_sorted_and_each_once() -> None:
    assert Budget("1 CNY", at=[1.0, "0.5", 0.5]).at == (Decimal("0.5"), Decimal("1.0"))


def test_what_is_used_instead_is_a_value() -> None:
    use = Use("deepseek-chat", max_tokens=100)
    assert (use.model, dict(use.params)) == ("deepseek-chat", {"max_tokens": 100})
    with pytest.raises(AttributeError):
        use.model = "other"  # type: ignore[misc]
