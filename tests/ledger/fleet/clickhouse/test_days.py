"""The sums by day: they answer only while they are those of the rows, and are made anew."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from tests.ledger.fleet.clickhouse.test_schema import name_of
from tests.rigs.clickhouse_server import ClickHouseServer
from tests.rigs.fleet import ship, some_calls, written, wrong_days
from tests.rigs.made_records import NOON, priced, record
from tokenmeter.ledger.fleet.clickhouse import days
from tokenmeter.ledger.fleet.clickhouse.days import DaySums
from tokenmeter.ledger.fleet.clickhouse.schema import connect_for_shipping
from tokenmeter.ledger.fleet.engine import RefusedError


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Days are summed again without waiting."""
    monkeypatch.setattr(days, "_EVERY", 0.0)
    monkeypatch.setattr(days, "_CHANGED", days._CHANGED.replace("now() - 300", "now() + 10"))
    monkeypatch.setenv("TZ", "UTC")


def settled(url: str, clickhouse: ClickHouseServer) -> set[date]:
    return {day for (day,) in clickhouse.execute("SELECT day FROM settled_days", name_of(url))}


DAY = date(2026, 11, 1)


def test_a_day_is_summed_when_there_is_nothing_to_ship(
    click_url: str, path: Path, clickhouse: ClickHouseServer
) -> None:
    ship(written(path, some_calls(200)), click_url, 30)
    assert settled(click_url, clickhouse) == {DAY + timedelta(days=number) for number in range(3)}
    assert wrong_days(click_url) == 0
    groups = "SELECT length(groups.calls), arraySum(groups.calls) FROM day_sums FINAL ORDER BY day"
    sums = clickhouse.execute(groups, name_of(click_url))
    assert sum(calls for _, calls in sums) == 200
    assert all(groups < calls for groups, calls in sums)


def test_a_call_that_comes_later_is_counted_before_and_after_its_day_is_summed_again(
    click_url: str, path: Path, clickhouse: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(written(path, some_calls(200)), click_url)
    written(path, [record(priced("5"), ended=NOON + timedelta(minutes=1), id="late")])
    with monkeypatch.context() as patch:
        patch.setattr(DaySums, "renew", lambda self: None)
        ship(path, click_url)
    assert settled(click_url, clickhouse) == {DAY + timedelta(days=1), DAY + timedelta(days=2)}
    assert wrong_days(click_url) == 0
    ship(path, click_url)
    assert len(settled(click_url, clickhouse)) == 3
    assert wrong_days(click_url) == 0
    assert clickhouse.execute("SELECT sum(calls) FROM days", name_of(click_url)) == [(201,)]


def test_a_day_is_not_settled_while_an_insertion_goes_on(
    click_url: str, path: Path, clickhouse: ClickHouseServer
) -> None:
    ship(written(path, some_calls(10)), click_url)
    client = connect_for_shipping(click_url, "UTC")
    sums, other = DaySums(client), DaySums(client)
    number = (DAY - date(1970, 1, 1)).days
    with sums.marked({number}):
        assert settled(click_url, clickhouse) == set()
        other.renew()  # would sum what is not there yet
        assert settled(click_url, clickhouse) == set()
        with other.marked({number}):
            pass
        other.renew()
        assert settled(click_url, clickhouse) == set()
    other.renew()
    assert settled(click_url, clickhouse) == {DAY}
    client.close()


def test_an_insertion_that_was_lost_keeps_its_day_from_being_summed_for_an_hour(
    click_url: str, path: Path, clickhouse: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(written(path, some_calls(10)), click_url)
    client = connect_for_shipping(click_url, "UTC")
    number = (DAY - date(1970, 1, 1)).days
    with pytest.raises(KeyboardInterrupt), DaySums(client).marked({number}):
        raise KeyboardInterrupt
    with pytest.raises(RefusedError), DaySums(client).marked({number}):
        raise RefusedError
    DaySums(client).renew()
    assert settled(click_url, clickhouse) == set()
    monkeypatch.setattr(days, "_CHANGED", days._CHANGED.replace("now() - 3600", "now() + 10"))
    DaySums(client).renew()
    assert settled(click_url, clickhouse) == {DAY}
    assert wrong_days(click_url) == 0
    client.close()


def test_a_mark_that_is_counted_twice_never_settles_a_day(
    click_url: str, path: Path, clickhouse: ClickHouseServer
) -> None:
    ship(written(path, some_calls(10)), click_url)
    client = connect_for_shipping(click_url, "UTC")
    sums = DaySums(client)
    number = (DAY - date(1970, 1, 1)).days
    sums._mark("begun", [number], 2**64 - 5)
    sums._mark("ended", [number], 2**64 - 5)
    sums._mark("ended", [number], 2**64 - 5)
    with sums.marked({number}):
        sums.renew()
    sums.renew()
    assert settled(click_url, clickhouse) == set()
    client.close()


def test_days_far_apart_are_summed(click_url: str, path: Path, clickhouse: ClickHouseServer) -> None:
    first = datetime(2024, 2, 29, tzinfo=UTC)
    written(
        path, [record(priced("1"), ended=first + timedelta(days=5 * number), id=f"{number}") for number in range(70)]
    )
    ship(path, click_url)
    assert len(settled(click_url, clickhouse)) == 70
    assert wrong_days(click_url) == 0
