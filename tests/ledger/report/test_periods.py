"""Periods of a report: instants as people write them, and the zone in which days begin."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.rigs.asker import UTC_ZONE
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.report.periods import Zone, parse_instant

NOW = datetime(2026, 11, 22, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "tz", "expected"),
    [
        pytest.param("7d", "UTC", "2026-11-15T08:30:00+00:00", id="days ago"),
        pytest.param("36h", "UTC", "2026-11-20T20:30:00+00:00", id="hours ago"),
        pytest.param("2w", "UTC", "2026-11-08T08:30:00+00:00", id="weeks ago"),
        pytest.param("2026-11-01", "Asia/Shanghai", "2026-10-31T16:00:00+00:00", id="a day in Shanghai"),
        pytest.param("2026-11", "America/New_York", "2026-11-01T04:00:00+00:00", id="a month in New York"),
        pytest.param("2026-11-01T08:00:00+08:00", "UTC", "2026-11-01T00:00:00+00:00", id="offset"),
        pytest.param("2026-11-01T08:00Z", "Asia/Tokyo", "2026-11-01T08:00:00+00:00", id="Z"),
    ],
)
def test_instants(text: str, tz: str, expected: str) -> None:
    found = parse_instant(text, Zone.named(tz), NOW, flag="--since")
    assert found.astimezone(UTC).isoformat() == expected


@pytest.mark.parametrize(
    "text", ["yesterday", "2026-13-01", "2026-02-30", "7", "2026-11-01T08:00:00", "", "9" * 6 + "w"]
)
def test_instants_that_are_none_name_the_flag_and_the_forms(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--since: .*(7d|offset)"):
        parse_instant(text, UTC_ZONE, NOW, flag="--since")


def test_an_unknown_zone_is_said() -> None:
    with pytest.raises(ConfigurationError, match="Asia/Shanghai"):
        Zone.named("Shanghai/Asia")


@pytest.mark.parametrize(
    ("environment", "name"),
    [("Asia/Shanghai", "Asia/Shanghai"), ("UTC0", "UTC+00:00"), (":Europe/Berlin", "Europe/Berlin")],
)
def test_the_machines_own_zone_is_named(monkeypatch: pytest.MonkeyPatch, environment: str, name: str) -> None:
    import time

    monkeypatch.setenv("TZ", environment)
    time.tzset()
    try:
        assert Zone.named(None).name == name
    finally:
        monkeypatch.undo()
        time.tzset()
