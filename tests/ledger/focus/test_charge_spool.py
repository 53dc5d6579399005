"""Rows of an export: their order, what is in memory, and reading them twice."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tokenmeter.ledger.focus.charge_spool import ChargeSpool
from tokenmeter.ledger.focus.row import ChargeKey
from tokenmeter.ledger.report.periods import Zone

ZONES = ("Asia/Shanghai", "UTC", "America/Los_Angeles", "Asia/Kathmandu")
OCTOBER = int(datetime(2026, 10, 25, tzinfo=UTC).timestamp())
"""Before clocks go back in Los Angeles, on 1 November."""


def key_of(start: int, zone: str, number: int) -> ChargeKey:
    price = Decimal(number)
    return ChargeKey(
        start, zone, "m", "input", "Tokens", "Tokens", price, None, "rate", "USD", None, None, None, "reported", None,
        None, None, None, None, None, "{}",
    )  # fmt: skip


def start_of(zone: str, period: str, instant: int) -> int:
    local = Zone.named(zone).local(datetime.fromtimestamp(instant, UTC))
    if period == "hour":
        return instant - instant % 60 - local.minute * 60
    return int(Zone.named(zone).midnight(local.year, local.month, local.day).timestamp())


@pytest.mark.parametrize("period", ["day", "hour"])
def test_rows_of_calls_in_order_come_once_and_in_order(period: str) -> None:
    some, spool = random.Random(5), ChargeSpool(period)
    expected: dict[ChargeKey, int] = {}
    most = 0
    for instant in sorted(OCTOBER + some.randrange(20 * 86_400) for _ in range(8_000)):
        zone = some.choice(ZONES)
        key = key_of(start_of(zone, period, instant), zone, some.randrange(3))
        spool.reach(instant)
        spool.sums(key).add(Decimal(1), Decimal(2), Decimal(3), Decimal(4), (Decimal(5), Decimal(6)))
        expected[key] = expected.get(key, 0) + 1
        most = max(most, len(spool._open))
    spool.close()
    rows = list(spool)
    assert {key: sums.calls for key, sums in rows} == expected
    assert len(rows) == len(expected)
    assert [key.start for key, _ in rows] == sorted(key.start for key in expected)
    assert all(sums.listed == 4 * sums.calls and sums.high == 6 * sums.calls for _, sums in rows)
    assert most < len(expected) / 4


def test_two_readers_at_once_do_not_disturb_each_other() -> None:
    spool = ChargeSpool("day")
    for number in range(1_200):
        spool.sums(key_of(0, "UTC", number)).add(Decimal(number), Decimal(0), Decimal(0), Decimal(0), (Decimal(0),) * 2)
    spool.close()
    pairs = list(zip(spool, spool, strict=True))
    assert [int(one.consumed) for (_, one), _ in pairs] == list(range(1_200))
    assert all(one == other for one, other in pairs)
