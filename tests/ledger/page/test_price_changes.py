"""A change of price is one that calls met: another rate from an instant on, at other usual unit prices."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.ledger.page.conftest import figures
from tests.rigs.made_records import record
from tokenmeter.cost import Cost
from tokenmeter.ledger.page.price_changes import PriceStep
from tokenmeter.offers import Offer, Price
from tokenmeter.record import Record

CHANGE = datetime(2026, 8, 17, tzinfo=UTC)
HOUR = timedelta(hours=1)


def call(ended: datetime, since: datetime, currency: str = "CNY", **rates: str) -> Record:
    offer = Offer(provider="p", model="m", rate_id=f"p/m@{since:%F}", effective_from=since, list=currency, book="b")
    lines = tuple((Price(name, Decimal(rate), 1_000_000), 10, Decimal(rate) / 100_000) for name, rate in rates.items())
    cost = Cost(offer, "priced", sum((line[2] for line in lines), Decimal(0)), lines, ended)
    return record(cost, ended=ended, provider="p", request_model="m")


def changes(path: str, **asked: Any) -> list[tuple[Any, ...]]:
    return [(change.at, change.currency, change.steps) for change in figures(path, "UTC", **asked).changes]


def test_another_price_after_an_instant(ledger_of: Callable[..., str]) -> None:
    before = [call(CHANGE - HOUR * n, datetime(2025, 1, 1, tzinfo=UTC), output="4", input="1") for n in (1, 50)]
    after = [call(CHANGE + HOUR * n, CHANGE, output="4", input="2" if n % 2 else "3") for n in range(4)]
    step = PriceStep("input", (Decimal(1), Decimal(1)), (Decimal(2), Decimal(3)), 1_000_000)
    path = ledger_of(*before, *after)
    assert changes(path) == [(CHANGE, "CNY", (step,))]
    assert changes(path, since=CHANGE) == []  # nothing before it was asked for


def test_a_rate_stated_again_at_the_same_price_is_no_change(ledger_of: Callable[..., str]) -> None:
    old = call(CHANGE - HOUR, datetime(2025, 1, 1, tzinfo=UTC), input="1")
    assert changes(ledger_of(old, call(CHANGE + HOUR, CHANGE, input="1"))) == []


def test_a_rare_dearer_tier_is_no_change(ledger_of: Callable[..., str]) -> None:
    old = [call(CHANGE - HOUR * n, datetime(2025, 1, 1, tzinfo=UTC), input="3") for n in range(1, 13)]
    new = [call(CHANGE + HOUR * n, CHANGE, input="3") for n in range(12)]
    assert changes(ledger_of(*old, *new, call(CHANGE + HOUR, CHANGE, input="6"))) == []


def test_calls_of_another_list_are_not_compared(ledger_of: Callable[..., str]) -> None:
    old = call(CHANGE - HOUR, datetime(2025, 1, 1, tzinfo=UTC), "USD", input="1")
    assert changes(ledger_of(old, call(CHANGE + HOUR, CHANGE, input="7"))) == []
