"""A report in one more currency: at the rate of the day of each call."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rigs.asker import UTC_ZONE, Asker
from tests.rigs.made_records import NOON, priced, record, unpriced
from tokenmeter import ExchangeRates
from tokenmeter.ledger.report.conversion import Conversion
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.writer import Ledger
from tokenmeter.money import plain
from tokenmeter.otel.dialects import in_dollars


def test_sums_stand_in_dollars_beside_themselves_at_the_rate_of_each_calls_day(held: Callable[..., Asker]) -> None:
    before, first, later = NOON - timedelta(days=1), NOON, NOON + timedelta(days=7)
    asked = held(
        record(priced("5"), ended=before),  # no rate reaches so far back
        record(priced("10"), ended=first),
        record(priced("10"), ended=later),
        record(priced("3", "USD", model="gpt-4o"), ended=before),  # needs none
        record(unpriced(), ended=later),
    )
    rates = ExchangeRates.of("CNY=0.14USD@2026-11-01,CNY=0.15USD@2026-11-08", "a bank")
    conversion = Conversion("USD", rates)
    report = asked("currency", conversion=conversion)
    found = {row.currency: (row.cost, row.converted, row.unconverted) for row in report.rows}
    assert found == {
        "CNY": (Decimal(25), Decimal("2.9"), 1),
        "USD": (Decimal(3), Decimal(3), 0),
        None: (None, None, 0),
    }
    assert [(rate.day.isoformat(), plain(rate.rate)) for rate in conversion.applied] == [
        ("2026-11-01", "0.14"),
        ("2026-11-08", "0.15"),
    ]
    assert [row.converted for row in asked("currency").rows] == [None, None, None], "never unasked"


def test_free_is_nothing_in_every_currency(held: Callable[..., Asker]) -> None:
    asked = held(record(priced("0"), ended=NOON - timedelta(days=400)))
    conversion = Conversion("USD", ExchangeRates.of("CNY=0.14USD@2026-11-01"))
    (row,) = asked("model", conversion=conversion).rows
    assert (row.cost, row.converted, row.unconverted) == (0, 0, 0)
    assert conversion.applied == [], "no rate was applied"


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls=st.lists(
        st.tuples(st.integers(1, 10**6), st.integers(-3, 12), st.sampled_from(["CNY", "USD", "EUR"])),
        min_size=1,
        max_size=12,
    )
)
def test_a_report_converts_as_the_spans_do(calls: list[tuple[int, int, str]], tmp_path_factory: Any) -> None:
    rates = ExchangeRates.of("CNY=0.14USD@2026-11-01,USD=7CNY@2026-11-04,CNY=0.151USD@2026-11-07")
    records = [
        record(priced(f"0.{amount}", currency), ended=NOON + timedelta(days=day)) for amount, day, currency in calls
    ]
    path = tmp_path_factory.mktemp("spend") / "spend.db"
    ledger = Ledger(path)
    for one in records:
        ledger.write(one)
    ledger.close(30)
    report = ask(str(path), Question(by=(), zone=UTC_ZONE, conversion=Conversion("USD", rates)))
    expected, missing = Decimal(0), 0
    for one in records:
        total = one.cost.total
        assert total is not None
        spoken = in_dollars(one, rates)
        if spoken is not None:
            expected += spoken.amount.amount
        elif total.currency == "USD":
            expected += total.amount
        else:
            missing += 1
    assert sum(row.unconverted for row in report.totals) == missing
    converted = sum((row.converted or Decimal(0) for row in report.totals), Decimal(0))
    assert abs(converted - expected) < Decimal("1e-20"), "a rate to divide by rounds once per call or once per sum"


def test_a_day_begins_at_midnight_of_utc(held: Callable[..., Asker]) -> None:
    midnight = NOON.replace(hour=0)
    asked = held(record(priced("1"), ended=midnight - timedelta(microseconds=1)), record(priced("10"), ended=midnight))
    rates = ExchangeRates.of(f"CNY=0.1USD@{midnight - timedelta(days=1):%Y-%m-%d},CNY=0.2USD@{midnight:%Y-%m-%d}")
    (row,) = asked("model", conversion=Conversion("USD", rates)).rows
    assert row.converted == Decimal("2.1")


def test_what_is_free_stays_known_beside_what_no_rate_reaches(held: Callable[..., Asker]) -> None:
    asked = held(record(priced("0")), record(priced("5")), record(priced("2"), tags={"team": "ads"}))
    conversion = Conversion("USD", ExchangeRates.of("CNY=0.14USD@2030-01-01"))
    report = asked("model", "team", conversion=conversion)
    assert {(row.group[1], row.converted, row.unconverted) for row in report.rows} == {(None, 0, 1), ("ads", None, 1)}
