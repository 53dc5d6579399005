"""FOCUS rows of a ledger: sums to the digit, periods of the provider's clock, and what has no row."""

from __future__ import annotations

import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rigs.asker import UTC_ZONE
from tests.rigs.made_records import NOON, priced, record, unpriced
from tests.rigs.priced_usage import records
from tokenmeter.cost import Cost
from tokenmeter.ledger.focus.charges import FocusExport, export
from tokenmeter.ledger.focus.columns import VERSIONS, columns
from tokenmeter.ledger.focus.row import FocusRow
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.writer import Ledger
from tokenmeter.money import EXACT
from tokenmeter.offers import Offer, Price
from tokenmeter.record import Record
from tokenmeter.usage import Source, Usage

ALL = Question(by=(), zone=UTC_ZONE)


@pytest.fixture
def exported(tmp_path: Path) -> Callable[..., FocusExport]:
    def of(*held: Record, question: Question = ALL, **asked: Any) -> FocusExport:
        return export(written(tmp_path, held), question, **asked)

    return of


def written(folder: Path, held: Sequence[Record]) -> str:
    ledger = Ledger(folder / "spend.db")
    for one in held:
        ledger.write(one)
    ledger.close(30)
    return ledger.path


def billed(*lines: tuple[str, str, int, int], **more: Any) -> Cost:
    """A cost of charges, each a component, a rate, what it is for, and a quantity."""
    charges = tuple(
        (Price(name, Decimal(rate), per), used, Decimal(rate) * used / per) for name, rate, per, used in lines
    )
    amount = sum((part for _, _, part in charges), Decimal(0))
    offer = Offer(
        provider="deepseek", model="deepseek-chat", rate_id="deepseek/deepseek-chat@2026-01-01", dating="official",
        confidence="corroborated", list="CNY", book="test-book",
    )  # fmt: skip
    return Cost(offer, "priced" if amount else "free", amount, charges, NOON, **more)


def sums(rows: Sequence[FocusRow], name: str) -> dict[str, Decimal]:
    found: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        found[str(row["BillingCurrency"])] = EXACT.add(found[str(row["BillingCurrency"])], number(row, name))
    return dict(found)


def number(row: FocusRow, name: str) -> Decimal:
    value = row[name]
    assert isinstance(value, Decimal)
    return value


@given(
    st.lists(records(), min_size=1, max_size=12),
    st.sampled_from(("day", "hour")),
    st.sampled_from((None, (), ("team",))),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_sums_per_currency_are_the_ledgers(held: list[Record], period: str, tags: tuple[str, ...] | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), held)
        answer = export(path, ALL, period=period, tags=tags)
        totals = {row.currency: row for row in ask(path, ALL).totals}
    costs: dict[str, Decimal] = {}
    listed: dict[str, Decimal] = defaultdict(Decimal)
    for one in held:
        if one.end != "delegated" and one.cost.amount is not None:
            currency = str(one.cost.currency)
            total = one.cost.list_total
            listed[currency] = EXACT.add(listed[currency], one.cost.amount if total is None else total.amount)
    costs = {currency: row.cost for currency, row in totals.items() if currency and row.cost is not None}
    for name in ("BilledCost", "EffectiveCost", "ContractedCost"):
        assert sums(answer.rows, name) == costs
    assert sums(answer.rows, "ListCost") == listed
    assert answer.left_out == (totals[None].calls if None in totals else 0)
    for row in answer.rows:
        assert number(row, "ContractedUnitPrice") * number(row, "PricingQuantity") == row["ContractedCost"]
        if row["ListUnitPrice"] is not None:
            assert number(row, "ListUnitPrice") * number(row, "PricingQuantity") == row["ListCost"]


@given(st.lists(records(), min_size=1, max_size=12), st.sampled_from(("day", "hour")))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_row_fits_the_columns_of_each_version(held: list[Record], period: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        answer = export(written(Path(folder), held), ALL, period=period)
    types: dict[str, type] = {"Decimal": Decimal, "DateTime": datetime, "String": str, "JSON": str}
    known = {column.name for version in VERSIONS for column in columns(version)}
    for row in answer.rows:
        assert row.keys() <= known
        for column in (column for version in VERSIONS for column in columns(version)):
            value = row.get(column.name)
            assert column.null if value is None else isinstance(value, types[column.type]), column
        begin, end = row["ChargePeriodStart"], row["ChargePeriodEnd"]
        month, month_end = row["BillingPeriodStart"], row["BillingPeriodEnd"]
        assert isinstance(begin, datetime)
        assert month <= begin < end <= month_end  # type: ignore[operator]
    once = [json.dumps(row, default=str, sort_keys=True) for row in answer.rows]
    assert len(set(once)) == len(once)


def test_tokens_are_priced_by_the_million_and_other_units_by_what_the_price_is_for(
    exported: Callable[..., FocusExport],
) -> None:
    cost = billed(
        ("input", "2", 1_000_000, 1500),
        ("output", "0.008", 1000, 250),
        ("images", "0.2", 1, 3),
        ("web_search", "10", 1000, 4),
    )
    names = ("ConsumedQuantity", "ConsumedUnit", "PricingQuantity", "PricingUnit", "ListUnitPrice", "BilledCost")
    shown = {row["SkuMeter"]: tuple(str(row[name]) for name in names) for row in exported(record(cost)).rows}
    assert shown == {
        "input": ("1500", "Tokens", "0.0015", "1000000 Tokens", "2", "0.003"),
        "output": ("250", "Tokens", "0.00025", "1000000 Tokens", "8", "0.002"),
        "images": ("3", "Images", "3", "Images", "0.2", "0.6"),
        "web_search": ("4", "Calls", "0.004", "1000 Calls", "1E+1", "0.04"),
    }


def test_the_rows_identify_sku_price_and_provider(exported: Callable[..., FocusExport]) -> None:
    (row,) = exported(record(billed(("input", "2", 1_000_000, 1500)), region="cn-beijing", tags={"team": "搜索"})).rows
    expected = {
        "SkuId": "deepseek/deepseek-chat/input", "SkuPriceId": "deepseek/deepseek-chat@2026-01-01#input",
        "ServiceCategory": "AI and Machine Learning", "ServiceSubcategory": "Generative AI", "BillingCurrency": "CNY",
        "RegionId": "cn-beijing", "Tags": '{"team":"搜索"}', "ChargeCategory": "Usage", "HostProviderName": "DeepSeek",
        "PublisherName": "DeepSeek", "x_PriceConfidence": "corroborated", "x_Calls": Decimal(1),
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert row.get("InvoiceId") is None


@pytest.mark.parametrize(
    ("ended", "day", "month"),
    [
        ("2026-10-31T15:59:59", "2026-10-31", "2026-10-01"),  # 23:59:59 in Shanghai
        ("2026-10-31T16:00:00", "2026-11-01", "2026-11-01"),
    ],
)
def test_days_and_months_are_those_of_the_providers_clock(
    ended: str, day: str, month: str, exported: Callable[..., FocusExport]
) -> None:
    (row,) = exported(record(ended=datetime.fromisoformat(ended).replace(tzinfo=UTC))).rows
    shanghai = ZoneInfo("Asia/Shanghai")
    assert row["ChargePeriodStart"] == datetime.fromisoformat(day).replace(tzinfo=shanghai)
    assert row["BillingPeriodStart"] == datetime.fromisoformat(month).replace(tzinfo=shanghai)


def test_a_day_of_25_hours_is_one_charge_period(exported: Callable[..., FocusExport]) -> None:
    ended = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)  # Los Angeles sets its clocks back at 2:00
    one = record(priced("1", "USD", provider="openai", model="gpt-4o"), ended=ended, provider="openai")
    (row,) = exported(one).rows
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == (
        datetime(2026, 11, 1, 7, tzinfo=UTC), datetime(2026, 11, 2, 8, tzinfo=UTC),
    )  # fmt: skip
    (row,) = exported(period="hour").rows
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == (
        datetime(2026, 11, 1, 9, tzinfo=UTC), datetime(2026, 11, 1, 10, tzinfo=UTC),
    )  # fmt: skip


def test_calls_of_one_price_and_tag_set_are_one_row(exported: Callable[..., FocusExport]) -> None:
    held = [
        record(billed(("input", rate, 1_000_000, 1000)), tags={"team": team, "user": str(number)})
        for number, (rate, team) in enumerate((("2", "a"), ("2", "a"), ("2", "b"), ("3", "a")))
    ]
    assert len(exported(*held).rows) == 4
    by_team = exported(tags=("team",)).rows
    assert sorted((row["Tags"], str(row["ListUnitPrice"]), str(row["x_Calls"])) for row in by_team) == [
        ('{"team":"a"}', "2", "2"), ('{"team":"a"}', "3", "1"), ('{"team":"b"}', "2", "1"),
    ]  # fmt: skip


def test_what_the_account_does_not_pay_for_is_listed_and_billed_at_nothing(
    exported: Callable[..., FocusExport],
) -> None:
    free = billed(("input", "0", 1_000_000, 500_000), list_amount=Decimal("1.5"))
    (row,) = exported(record(free)).rows
    assert (row["ListCost"], row["ListUnitPrice"], row["BilledCost"]) == (Decimal("1.5"), 3, 0)


def test_the_vendors_own_figure_is_one_row_without_a_rate(exported: Callable[..., FocusExport]) -> None:
    offer = Offer(provider="openrouter", model="qwen/qwen3-max", list="USD", book="test-book")
    held = [
        record(Cost(offer, "priced", Decimal(amount), (), NOON, source="vendor"), provider="openrouter")
        for amount in ("0.0012", "0.0034")
    ]
    (row,) = exported(*held).rows
    names = ("SkuMeter", "ConsumedQuantity", "ConsumedUnit", "PricingUnit", "BilledCost", "x_CostSource")
    assert [str(row[name]) for name in names] == ["call", "2", "Calls", "USD", "0.0046", "vendor"]


def test_what_was_counted_brings_its_range(exported: Callable[..., FocusExport]) -> None:
    usage = Usage(
        input_tokens=1000, cache_read_input_tokens=400, output_tokens=100, source=Source.REPORTED,
        sources={"input_tokens": Source.COUNTED}, ranges={"input_tokens": (950, 1100)},
    )  # fmt: skip
    cost = billed(
        ("input", "2", 1_000_000, 600), ("cache_read", "0.2", 1_000_000, 400), ("output", "8", 1_000_000, 100)
    )
    rows = {row["SkuMeter"]: row for row in exported(record(cost, usage=usage)).rows}
    shown = {
        name: (row["x_UsageSource"], row["x_ConsumedQuantityLow"], row["x_ConsumedQuantityHigh"])
        for name, row in rows.items()
    }
    assert shown == {
        "input": ("counted", 550, 700),
        "cache_read": (
            "counted",
            400,
            400,
        ),  # the ledger keeps the worst source of a call, and what differs from the base
        "output": ("counted", 100, 100),
    }


def test_calls_without_a_known_cost_are_counted_by_reason(exported: Callable[..., FocusExport]) -> None:
    answer = exported(record(unpriced("no rate")), record(unpriced("no rate")), record(priced("1")))
    assert (answer.unpriced, answer.left_out, len(answer.rows)) == ((("no rate", 2),), 2, 1)


def test_it_takes_the_conditions_of_a_report(exported: Callable[..., FocusExport]) -> None:
    late = NOON + timedelta(days=2)
    held = (record(priced("1")), record(priced("2"), ended=late))
    question = Question(by=(), zone=UTC_ZONE, since=NOON + timedelta(days=1))
    assert [str(row["BilledCost"]) for row in exported(*held, question=question).rows] == ["2"]


def test_the_process_zone_changes_nothing(
    exported: Callable[..., FocusExport], monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    here = exported(record(priced("1"))).rows
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert exported().rows == here
    finally:
        monkeypatch.delenv("TZ")
        os.environ.pop("TZ", None)
        time.tzset()
