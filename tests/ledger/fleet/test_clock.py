"""How far clocks are off UTC; what answers come of it is compared with a file's in test_reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tokenmeter.ledger.fleet.clock import offsets
from tokenmeter.ledger.report.periods import Zone


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Shanghai", "UTC"])
def test_the_offsets_of_a_clock_are_those_of_each_instant(name: str) -> None:
    zone = Zone.named(name)
    first, last = datetime(2025, 1, 1, 5, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)
    changes = list(offsets(zone, first, last))
    at = first
    while at < last:
        known = [offset for since, offset in changes if since <= at][-1]
        assert known == zone.local(at).utcoffset()
        at += timedelta(minutes=15)
