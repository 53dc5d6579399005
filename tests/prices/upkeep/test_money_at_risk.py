"""What a change of prices comes to, for typical use and for calls: each priced by both books."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tokenmeter.prices.book import Book
from tokenmeter.prices.upkeep.money_at_risk import by_calls, by_typical_use, totals
from tokenmeter.usage import Usage


def book(**prices: tuple[int, int]) -> Book:
    rates = [
        {"model": model, "effective": "2026-01-01", "input": given, "output": out}
        for model, (given, out) in prices.items()
    ]
    return Book.of({"provider": "acme", "currency": "CNY", "timezone": "UTC", "rate": rates})


@dataclass(frozen=True)
class Asked:
    model: str
    usage: Usage
    provider: str = "acme"
    response_model: str | None = None
    params: dict[str, Any] = field(default_factory=dict)
    at: str = "2026-06-01T00:00:00+00:00"


OLD = book(up=(1, 2), down=(4, 4), gone=(1, 1), same=(3, 3))
NEW = book(up=(2, 2), down=(1, 1), new=(1, 1), same=(3, 3))
MILLION = Usage(input_tokens=10**6, output_tokens=10**6)


def test_a_call_costs_so_much_more_or_less() -> None:
    calls = [Asked("up", MILLION), Asked("up", MILLION), Asked("down", MILLION), Asked("same", MILLION)]
    found = {one.model: one for one in by_calls(calls, (OLD, None), (NEW, None))}
    up, down, same = (found[name] for name in ("up", "down", "same"))
    assert (up.calls, up.before, up.after, up.difference, up.at_risk) == (2, 6, 8, 2, 2)
    assert (down.difference, down.at_risk) == (-6, 6)
    assert (same.difference, same.differs) == (0, False)
    (total,) = totals(found.values())
    assert (total.before, total.after, total.difference, total.at_risk) == (20, 16, -4, 8)
    assert next(iter(found)) == "down", "what moves most comes first"


def test_what_one_book_does_not_price_is_counted_apart() -> None:
    calls = [Asked("gone", MILLION), Asked("new", MILLION)]
    found = {one.model: one for one in by_calls(calls, (OLD, None), (NEW, None))}
    assert (found["gone"].before, found["gone"].after, found["gone"].unpriced_after) == (2, None, 1)
    assert (found["new"].before, found["new"].after, found["new"].unpriced_before) == (None, 2, 1)
    assert all(one.differs and one.difference is None and one.currency == "CNY" for one in found.values())


def test_calls_are_priced_at_their_own_instant_or_at_the_one_given() -> None:
    before = Asked("up", MILLION, at="2025-06-01T00:00:00+00:00")  # no price is known so early
    (own,) = by_calls([before], (OLD, None), (NEW, None))
    (now,) = by_calls([before], (OLD, "2026-02-01"), (NEW, "2026-02-01"))
    assert (own.before, own.after) == (None, None)
    assert (now.before, now.after) == (3, 4)


def test_typical_use_is_a_million_tokens() -> None:
    (one,) = by_typical_use([("acme", "up", "CNY")], (OLD, "2026-02-01"), (NEW, "2026-02-01"))
    assert (one.before, one.after) == (Decimal("1.2"), Decimal("2"))
