"""A report beside an earlier period."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tests.rigs.asker import Asker
from tests.rigs.made_records import priced, record, unpriced
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.compare import compare, earlier
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def at(text: str, zone: str = "UTC") -> datetime:
    named = Zone.named(zone)
    return named.midnight(*map(int, text.split("-")))


@pytest.mark.parametrize(
    ("text", "since", "until", "expected"),
    [
        ("previous", "2026-11-01", "2026-12-01", ("2026-10-01", "2026-11-01")),  # a month, though October is longer
        ("previous", "2026-01-01", "2026-04-01", ("2025-10-01", "2026-01-01")),
        ("previous", "2026-11-08", "2026-11-15", ("2026-11-01", "2026-11-08")),
        ("2026-02", "2026-11-01", None, ("2026-02-01", "2026-03-01")),
        ("2025-12", "2026-11-01", None, ("2025-12-01", "2026-01-01")),
        ("2026-09-01..2026-09-15", None, None, ("2026-09-01", "2026-09-15")),
    ],
)
@pytest.mark.parametrize("zone", ["UTC", "Asia/Shanghai", "America/New_York"])
def test_the_earlier_period(
    text: str, since: str | None, until: str | None, expected: tuple[str, str], zone: str
) -> None:
    question = Question(
        by=(), zone=Zone.named(zone), since=None if since is None else at(since, zone),
        until=None if until is None else at(until, zone),
    )  # fmt: skip
    assert earlier(text, question, NOW) == tuple(at(day, zone) for day in expected)


def test_an_open_period_is_as_long_as_it_is_now() -> None:
    question = Question(by=(), zone=Zone.named("UTC"), since=at("2026-11-28"))
    assert earlier("previous", question, NOW) == (datetime(2026, 11, 25, 12, tzinfo=UTC), at("2026-11-28"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("previous", "say with --since"),
        ("last week", "is not previous, a month"),
        ("2026-09-15..2026-09-01", "2026-09-01 is not after 2026-09-15"),
        ("2026-13", "is not a time"),
    ],
)
def test_other_periods_are_refused(text: str, problem: str) -> None:
    with pytest.raises(ConfigurationError, match=f"--compare.*{problem}"):
        earlier(text, Question(by=(), zone=Zone.named("UTC")), NOW)


def test_each_group_has_its_change_and_the_causes_their_sum(held: Callable[..., Asker]) -> None:
    october, november = datetime(2026, 10, 5, tzinfo=UTC), datetime(2026, 11, 5, tzinfo=UTC)
    asked = held(
        record(priced("1"), ended=october, tags={"team": "a"}),
        record(priced("5"), ended=october, tags={"team": "gone"}),
        record(unpriced(), ended=october, tags={"team": "a"}),
        record(priced("3"), ended=november, tags={"team": "a"}),
        record(priced("2"), ended=november, tags={"team": "new"}),
    )
    report = compare(asked("team", since=at("2026-11-01"), until=at("2026-12-01")), at("2026-10-01"), at("2026-11-01"))
    shown = {
        (*row.group, row.currency): (row.cost, None if row.previous is None else row.previous.cost, row.change)
        for row in report.rows
    }
    assert shown == {
        ("a", "CNY"): (3, 1, 2),
        ("new", "CNY"): (2, None, 2),
        ("gone", "CNY"): (0, 5, -5),
        ("a", None): (None, None, None),
    }
    assert [(row.currency, row.change) for row in report.totals] == [("CNY", -1), (None, None)]
    assert report.comparison is not None
    (causes,) = report.comparison.causes
    assert causes.change == Decimal(-1) == causes.volume + causes.price + causes.cache + causes.mix


def test_periods_have_no_earlier_period(held: Callable[..., Asker]) -> None:
    report = held(record())("day")
    with pytest.raises(ConfigurationError, match="leave it out of --by"):
        compare(report, at("2026-10-01"), at("2026-11-01"))
