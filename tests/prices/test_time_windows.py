"""Peak hours: weekdays, holidays, make-up working days, edges in the vendor's zone and in zones with summer time."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.prices.time_windows import INSIDE, UNKNOWN, Window, load_calendar, read_days, read_hours

PEAK = Window.read(
    "peak",
    {"days": "mon-fri", "hours": ["09:00-12:00", "14:00-18:00"], "calendar": "cn", "holidays": "out", "makeup": "out"},
    "Asia/Shanghai",
)
WORKING = Window.read("w", {"days": "mon-fri", "calendar": "cn", "holidays": "out", "makeup": "in"}, "Asia/Shanghai")
NIGHT = Window.read("n", {"hours": ["22:00-08:00"]}, "Asia/Shanghai")
NEW_YORK = Window.read("ny", {"hours": ["01:30-03:00"]}, "America/New_York")


def at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


@pytest.mark.parametrize(
    ("window", "instant", "inside"),
    [
        pytest.param(PEAK, "2026-11-20T08:59:59+08:00", False, id="a second before"),
        pytest.param(PEAK, "2026-11-20T09:00:00+08:00", True, id="at nine"),
        pytest.param(PEAK, "2026-11-20T11:59:59+08:00", True, id="before noon"),
        pytest.param(PEAK, "2026-11-20T12:00:00+08:00", False, id="noon"),
        pytest.param(PEAK, "2026-11-21T09:00:00+08:00", False, id="Saturday"),
        pytest.param(PEAK, "2026-10-01T09:00:00+08:00", False, id="National Day, a Thursday"),
        pytest.param(PEAK, "2026-10-08T09:00:00+08:00", True, id="the first working day after"),
        pytest.param(PEAK, "2026-10-10T09:00:00+08:00", False, id="a make-up Saturday that stays off-peak"),
        pytest.param(WORKING, "2026-10-10T09:00:00+08:00", True, id="a make-up Saturday where it counts"),
        pytest.param(WORKING, "2026-10-10T23:59:59+08:00", True, id="its last second"),
        pytest.param(WORKING, "2026-10-11T00:00:00+08:00", False, id="the Sunday after"),
        pytest.param(NIGHT, "2026-11-20T21:59:59+08:00", False, id="before ten"),
        pytest.param(NIGHT, "2026-11-20T23:59:59+08:00", True, id="before midnight"),
        pytest.param(NIGHT, "2026-11-21T00:00:00+08:00", True, id="midnight"),
        pytest.param(NIGHT, "2026-11-21T08:00:00+08:00", False, id="eight"),
        pytest.param(NEW_YORK, "2026-11-01T01:30:00-04:00", True, id="the hour that comes twice, first"),
        pytest.param(NEW_YORK, "2026-11-01T01:29:59-05:00", False, id="the hour that comes twice, second"),
        pytest.param(NEW_YORK, "2026-03-08T03:00:00-04:00", False, id="the hour that is skipped"),
    ],
)
def test_inside(window: Window, instant: str, inside: bool) -> None:
    assert window.state(at(instant)) == (INSIDE if inside else 0)


@given(st.integers(1_672_617_600, 1_798_588_800).map(lambda second: datetime.fromtimestamp(second, UTC)))
def test_a_window_is_what_the_clock_on_the_wall_says(moment: datetime) -> None:
    for window, zone in ((PEAK, "Asia/Shanghai"), (NIGHT, "Asia/Shanghai"), (NEW_YORK, "America/New_York")):
        wall = moment.astimezone(ZoneInfo(zone))
        minute = wall.hour * 60 + wall.minute
        slow = any(first <= minute < last for first, last in window.hours) and wall.weekday() in window.days
        if window.calendar is not None:
            slow = slow and wall.date() not in window.calendar.holidays | window.calendar.makeup
        assert bool(window.state(moment.timestamp()) & INSIDE) == slow


def test_beyond_the_calendar_the_answer_says_so() -> None:
    assert PEAK.state(at("2026-12-31T23:59:59+08:00")) == 0
    assert PEAK.state(at("2027-01-01T00:00:00+08:00")) == UNKNOWN


def test_the_calendar_is_what_the_notices_say() -> None:
    calendar = load_calendar("cn")

    assert (calendar.first, calendar.last) == (date(2023, 1, 1), date(2026, 12, 31))
    # Days off by the notices, weekends among them; the first of 2023 and 2024 began in the year before.
    assert {year: sum(day.year == year for day in calendar.holidays) for year in range(2023, 2027)} == {
        2023: 28, 2024: 30, 2025: 28, 2026: 33,
    }  # fmt: skip
    assert all(day.weekday() >= 5 for day in calendar.makeup)
    assert not calendar.makeup & calendar.holidays


@pytest.mark.parametrize("text", ["mon-fry", "", "workday", "mon-tue-wed"])
def test_days_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="span of days"):
        read_days(text)


@pytest.mark.parametrize("text", ["9-12", "09:00", "09:00-25:00", "09:00:30-10:00"])
def test_hours_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="span of hours"):
        read_hours([text])


def test_days_may_wrap_round_the_week() -> None:
    assert read_days("fri-mon") == {4, 5, 6, 0}
