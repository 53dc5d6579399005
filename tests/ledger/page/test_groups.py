"""Which values are told apart, also where a key has one for each call."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from tests.ledger.page.conftest import figures, text
from tests.rigs.made_records import NOON, priced, record, unpriced
from tests.rigs.page_tables import Page
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.page.groups import MOST_SHOWN, MOST_VALUES
from tokenmeter.ledger.page.series import OTHERS
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.selection import snapshot
from tokenmeter.ledger.report.where import parse

MANY = MOST_VALUES + 100


def many(number: int, currency: str = "CNY") -> list[object]:
    """Calls of so many users, each dearer than the one before."""
    return [
        record(priced(f"0.{1000 + one}", currency, model=f"m{one}"), tags={"user": f"u{one}", "team": "a\"b'c"})
        for one in range(number)
    ]


@pytest.mark.parametrize("tz", [Zone.named(None).name, "Asia/Shanghai"])  # that of the file's own days, and another
def test_a_value_for_each_call_keeps_the_dearest_and_one_sum_of_all_others(
    tz: str, ledger_of: Callable[..., str]
) -> None:
    few = [record(priced("7", "USD"), tags={"user": "u0"}), record(unpriced(), tags={"user": "none"}), record()]
    days = [record(ended=NOON - timedelta(days=4))]
    path = ledger_of(*many(MANY), *few, *days)
    found = figures(path, tz, keys=("user",))
    (users,) = found.over_time
    assert users.groups > MOST_VALUES
    assert users.shown("CNY") == [(f"u{one}",) for one in range(MANY - 1, MANY - 1 - MOST_SHOWN, -1)]
    assert users.shown("USD") == [("u0",)]
    whole = sum(Decimal(f"0.{1000 + one}") for one in range(MANY)) + 2 * Decimal("0.0012")
    rest = users.others("CNY")
    assert rest is not None
    assert rest.cost == whole - sum(Decimal(f"0.{1000 + one}") for one in range(MANY - MOST_SHOWN, MANY))
    assert users.total("CNY").cost == whole
    assert len(users.rows) < 20
    assert found.by_model is not None
    assert found.by_model.shown("CNY")[0] == ("deepseek", f"m{MANY - 1}")
    assert len(found.statistics) < 20
    assert f"{MANY + 1 - MOST_SHOWN} others" in " ".join(Page(text(path)).texts)


def test_few_values_are_read_in_one_question(ledger_of: Callable[..., str]) -> None:
    found = figures(ledger_of(*many(MOST_SHOWN + 3), record()), keys=("user",))
    (users,) = found.over_time
    assert OTHERS not in {group for _, group in users.sums}
    assert users.groups == MOST_SHOWN + 4
    assert (None,) in {group for _, group in users.sums}  # calls without the tag are a group


def test_narrowing_adds_to_the_condition_that_was_asked(ledger_of: Callable[..., str]) -> None:
    path = ledger_of(*many(MANY), record(priced("50"), tags={"user": "rich", "team": "else"}))
    found = figures(path, keys=("user",), where=parse("cost < 0.15 and user != nobody"))
    (users,) = found.over_time
    assert users.total("CNY").cost == sum(Decimal(f"0.{1000 + one}") for one in range(500))
    assert users.total("CNY").cost == found.totals.totals[0].cost


def test_the_tags_on_most_calls_are_chosen(ledger_of: Callable[..., str]) -> None:
    calls = [record(tags={"env": "prod", "team": f"t{n % 3}", "user": f"u{n}", "rare": f"r{n % 2}"}) for n in range(60)]
    calls += [record(tags={"env": "prod", "team": "t1"}) for _ in range(5)]
    found = figures(ledger_of(*calls))
    assert [series.keys for series in found.over_time] == [("tag:team",)]
    assert [series.keys for series in found.most_of] == [("tag:rare",)]
    assert found.tags[0] == ("env", 65, 1)


@pytest.mark.parametrize("key", ["day", "hour", "currency"])
def test_a_key_without_a_place_on_the_page(key: str, month: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--by {key}: a page has its own periods"):
        figures(month, keys=(key,))


def test_an_unknown_key(month: str) -> None:
    with pytest.raises(ConfigurationError, match="--by taem: no call has this tag; did you mean 'team'"):
        figures(month, keys=("taem",))


def test_what_is_sorted_goes_to_disk(month: str) -> None:
    with snapshot(month) as held:
        (store,) = held.connection.execute("PRAGMA temp_store").fetchone()
    assert store != 2, "a question about millions of calls would be sorted in memory"
