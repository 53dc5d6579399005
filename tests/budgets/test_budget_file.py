"""Budgets from a TOML file and from lists; each mistake names the file and the budget."""

from __future__ import annotations

from pathlib import Path

import pytest

from tokenmeter import Budget
from tokenmeter.budgets.budget_file import KEYS, read_budgets
from tokenmeter.errors import ConfigurationError

WHOLE = """
[search]
limit = "50 CNY"
per = "day"
timezone = "Asia/Shanghai"
where = { team = "search" }
at = [0.5, 1]
[users]
limit = "2000000 tokens"
per = "90 minutes"
each = "user"
on_exceed = "warn"
"""


def test_a_file(tmp_path: Path) -> None:
    path = tmp_path / "budgets.toml"
    path.write_text(WHOLE, "utf-8")
    search, users = read_budgets(str(path), "TOKENMETER_BUDGETS")
    assert search == Budget(
        "50 CNY", name="search", timezone="Asia/Shanghai", where={"team": "search"}, at=["0.5", "1"]
    )
    assert (users.name, users.each, users.on_exceed) == ("users", "user", "warn")
    assert read_budgets(path, "budgets") == (search, users)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no budget; write a table"),
        ('limit = "5 CNY"', "is no table"),
        ("[search]", "has no limit"),
        ('[search]\nlimit = "5 CNY"\nlimits = 3', "did you mean limit"),
        ('[search]\nlimit = "5 CNY"\nper = "fortnight"', "budget 'search': per='fortnight'"),
        ("[search]\nlimit = 5", "budget 'search': 5 is no limit"),
        ('[search]\nlimit = "5 CNY', "budgets.toml"),
        ('[search]\nlimit = "5 CNY"\n[search]', "budgets.toml"),
    ],
)
def test_a_mistake_names_the_file(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "budgets.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=says) as caught:
        read_budgets(path, "budgets")
    assert "budgets.toml" in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_budgets(tmp_path / "none.toml", "TOKENMETER_BUDGETS")


def test_lists_of_budgets_texts_and_tables() -> None:
    read = read_budgets([Budget("1 CNY", name="a"), "5 calls", {"limit": "2 CNY", "name": "c"}], "budgets")
    assert [one.name for one in read] == ["a", "5 calls per day", "c"]
    assert read_budgets("50 CNY", "budgets")[0].limit.unit == "CNY"


def test_two_budgets_of_one_name() -> None:
    with pytest.raises(ConfigurationError, match="two budgets are named 'a'"):
        read_budgets([Budget("1 CNY", name="a"), Budget("2 CNY", name="a")], "budgets")


def test_what_is_no_list() -> None:
    with pytest.raises(ConfigurationError, match="give a list"):
        read_budgets(5, "budgets")


def test_every_argument_of_a_budget_is_a_key() -> None:
    assert set(KEYS) >= {"limit", "per", "where", "each", "wait", "on_lost", "cut_streams"}
    assert "name" not in KEYS
