"""The periods of a page: of the page's clock, without gaps, and few enough to be drawn."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from tests.ledger.page.conftest import figures
from tests.rigs.made_records import NOON, record
from tokenmeter.ledger.page.over_time import _labels
from tokenmeter.ledger.page.series import PagePeriods


def drawn(path: str, tz: str = "UTC") -> PagePeriods:
    by_model = figures(path, tz).by_model
    assert by_model is not None
    return by_model.timeline


@pytest.mark.parametrize(
    ("days", "period", "count"),
    [(0, "hour", 1), (2, "hour", 49), (30, "day", 31), (99, "day", 100), (200, "week", 29), (1500, "month", 51)],
)
def test_the_period_suits_the_time_between_the_calls(
    days: int, period: str, count: int, ledger_of: Callable[..., str]
) -> None:
    line = drawn(ledger_of(record(), record(ended=NOON - timedelta(days=days))))
    assert (line.period, len(line.buckets)) == (period, count)
    assert list(line.buckets) == sorted(set(line.buckets))


def test_days_are_those_of_the_clock_also_when_it_changes(ledger_of: Callable[..., str]) -> None:
    first = datetime(2026, 10, 20, 22, 30, tzinfo=UTC)
    path = ledger_of(record(ended=first), record(ended=first + timedelta(days=10)))
    assert drawn(path, "Europe/Berlin").buckets[0] == "2026-10-21"
    assert len(drawn(path, "Europe/Berlin").buckets) == 10
    assert len(drawn(path, "Pacific/Kiritimati").buckets) == 11


def test_an_hour_that_comes_twice_is_two_hours(ledger_of: Callable[..., str]) -> None:
    first = datetime(2026, 10, 24, 23, 30, tzinfo=UTC)
    line = drawn(ledger_of(record(ended=first), record(ended=first + timedelta(hours=3))), "Europe/Berlin")
    assert line.buckets == (
        "2026-10-25T01:00+02:00", "2026-10-25T02:00+02:00", "2026-10-25T02:00+01:00", "2026-10-25T03:00+01:00",
    )  # fmt: skip


def test_a_clock_that_jumped_decades_draws_only_months_with_calls(ledger_of: Callable[..., str]) -> None:
    line = drawn(ledger_of(record(), record(ended=datetime(1970, 1, 2, tzinfo=UTC)), record(ended=NOON)))
    assert line.buckets == ("1970-01", "2026-11")


@pytest.mark.parametrize(
    ("period", "buckets", "labels"),
    [
        ("day", [f"2026-11-{day:02d}" for day in range(1, 4)], ["11-01", "11-02", "11-03"]),
        ("day", [f"2026-11-{day:02d}" for day in range(1, 25)], [f"11-{d:02d}" if d % 2 else "" for d in range(1, 25)]),
        ("week", ["2026-W01", "2026-W02"], ["2026-W01", "2026-W02"]),
        ("hour", ["2026-11-01T09:00+08:00", "2026-11-01T10:00+08:00"], ["09:00", "10:00"]),
        ("hour", ["2026-11-01T18:00Z", "2026-11-01T19:00Z", "2026-11-02T00:00Z"], ["18:00", "", "11-02"]),
    ],
)
def test_labels_below_a_plot(period: str, buckets: list[str], labels: list[str]) -> None:
    assert _labels(buckets, period) == labels
