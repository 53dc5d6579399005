"""Which window an instant belongs to, where clocks are changed, months end and midnights are missing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.budgets.windows import CALENDAR, CalendarWindows, EndlessWindow, RollingWindows


def ms(text: str) -> int:
    """An instant in UTC, such as "2026-11-30T15:59:59.999"."""
    at = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


SHANGHAI, NEW_YORK = "Asia/Shanghai", "America/New_York"


@pytest.mark.parametrize(
    ("per", "zone", "at", "label", "start", "hours"),
    [
        # Midnight in Shanghai is 16:00 in UTC.
        ("day", SHANGHAI, "2026-11-30T15:59:59.999", "2026-11-30", "2026-11-29T16:00", 24),
        ("day", SHANGHAI, "2026-11-30T16:00", "2026-12-01", "2026-11-30T16:00", 24),
        ("month", SHANGHAI, "2026-11-30T15:59:59.999", "2026-11", "2026-10-31T16:00", 30 * 24),
        ("month", SHANGHAI, "2026-11-30T16:00", "2026-12", "2026-11-30T16:00", 31 * 24),
        ("month", "UTC", "2026-12-31T23:59:59.999", "2026-12", "2026-12-01T00:00", 31 * 24),
        # February of leap years and others.
        ("day", "UTC", "2028-02-29T12:00", "2028-02-29", "2028-02-29T00:00", 24),
        ("month", "UTC", "2028-02-29T12:00", "2028-02", "2028-02-01T00:00", 29 * 24),
        ("month", "UTC", "2026-02-28T23:59", "2026-02", "2026-02-01T00:00", 28 * 24),
        ("month", "UTC", "2100-02-28T23:59", "2100-02", "2100-02-01T00:00", 28 * 24),
        # New York's clock is set back on 1 November 2026, forward on 8 March.
        ("day", NEW_YORK, "2026-11-01T04:00", "2026-11-01", "2026-11-01T04:00", 25),
        ("day", NEW_YORK, "2026-11-02T04:59:59.999", "2026-11-01", "2026-11-01T04:00", 25),
        ("day", NEW_YORK, "2026-03-08T12:00", "2026-03-08", "2026-03-08T05:00", 23),
        ("week", NEW_YORK, "2026-11-01T12:00", "2026-W44", "2026-10-26T04:00", 7 * 24 + 1),
        ("month", NEW_YORK, "2026-03-15T12:00", "2026-03", "2026-03-01T05:00", 31 * 24 - 1),
        ("hour", NEW_YORK, "2026-11-01T05:30", "2026-11-01T01-0400", "2026-11-01T05:00", 1),
        ("hour", NEW_YORK, "2026-11-01T06:30", "2026-11-01T01-0500", "2026-11-01T06:00", 1),
        ("hour", "Asia/Kolkata", "2026-11-01T06:45", "2026-11-01T12+0530", "2026-11-01T06:30", 1),
        # A week begins on Monday, and its year is the ISO year.
        ("week", "UTC", "2027-01-03T23:59", "2026-W53", "2026-12-28T00:00", 7 * 24),
        ("week", "UTC", "2027-01-04T00:00", "2027-W01", "2027-01-04T00:00", 7 * 24),
        # A midnight that does not exist (São Paulo, 2018), and one that comes twice (Havana, 2026; St. John's, 2006).
        ("day", "America/Sao_Paulo", "2018-11-04T12:00", "2018-11-04", "2018-11-04T03:00", 23),
        ("day", "America/Sao_Paulo", "2018-11-04T02:59", "2018-11-03", "2018-11-03T03:00", 24),
        ("day", "America/Havana", "2026-11-01T05:30", "2026-11-01", "2026-11-01T04:00", 25),
        ("day", "America/St_Johns", "2006-10-29T02:30:30", "2006-10-29", "2006-10-29T02:30", 25),
        ("day", "America/St_Johns", "2006-10-29T03:00", "2006-10-29", "2006-10-29T02:30", 25),
        # Samoa had no 30 December 2011.
        ("day", "Pacific/Apia", "2011-12-30T09:59", "2011-12-29", "2011-12-29T10:00", 24),
        ("day", "Pacific/Apia", "2011-12-30T10:00", "2011-12-31", "2011-12-30T10:00", 24),
    ],
)
def test_a_calendar_window(per: str, zone: str, at: str, label: str, start: str, hours: int) -> None:
    window = CalendarWindows(per, ZoneInfo(zone)).at(ms(at))
    assert (window.label, window.start) == (label, ms(start))
    assert window.end - window.start == hours * 3_600_000
    assert (window.span, window.until, window.bucket) == (1, window.end, window.start)


@given(
    st.sampled_from(CALENDAR),
    st.sampled_from([SHANGHAI, NEW_YORK, "America/St_Johns", "Australia/Lord_Howe", "Pacific/Apia", "America/Havana"]),
    st.integers(ms("1990-01-01"), ms("2037-12-31")),
    st.integers(-5_000_000, 5_000_000),
)
def test_an_instant_lies_in_its_window_and_a_later_one_in_none_before(per: str, zone: str, at: int, more: int) -> None:
    windows = CalendarWindows(per, ZoneInfo(zone))
    first = windows.at(at)
    assert first.start <= at < first.end
    assert CalendarWindows(per, ZoneInfo(zone)).at(at) == first
    later = windows.at(first.end)
    assert later.end > first.end
    assert later.label != first.label
    assert windows.at(at) == first  # whatever was asked between
    other = windows.at(at + more)
    assert (other.start >= first.start) is (more >= 0 or other == first)


def test_a_rolling_day_looks_back_a_day_and_at_most_one_bucket_more() -> None:
    windows = RollingWindows(timedelta(days=1))
    bucket = 86_400_000 // 60
    spent_at = ms("2026-11-30T10:00:00.001")
    there = windows.at(spent_at)
    for later, counts in [(0, True), (86_400_000 - 2, True), (86_400_000 + bucket, False)]:
        window = windows.at(spent_at + later)
        assert (window.bucket - window.span < there.bucket <= window.bucket) is counts
    assert windows.resets(windows.at(spent_at), there.bucket) == there.until
    assert there.until - spent_at <= 86_400_000 + bucket
    assert windows.resets(there, None) == (there.bucket + 61) * bucket


def test_a_window_is_computed_once_until_it_is_over() -> None:
    windows = CalendarWindows("day", ZoneInfo(SHANGHAI))
    first = windows.at(ms("2026-11-30T10:00"))
    assert windows.at(ms("2026-11-30T15:59")) is first
    assert windows.at(ms("2026-11-30T16:00")) is not first


def test_an_endless_window() -> None:
    windows = EndlessWindow("total")
    assert windows.at(0) == windows.at(1 << 50)
    assert windows.resets(windows.at(0), 0) is None
