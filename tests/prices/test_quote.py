"""An answer says when its price was last seen, of the oldest price charged, and is flagged when that is long ago."""

from __future__ import annotations

import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.prices.book import Book
from tokenmeter.prices.upkeep.check import check_data
from tokenmeter.usage import Usage

CARD = """provider = "acme"
currency = "CNY"
timezone = "Asia/Shanghai"
[[rate]]
model = "m"
effective = 2026-01-01
seen = 2026-10-01
seen_by = { cache_read = 2026-02-01 }
input = 2
cache_read = 1
output = 4
[[rate.case]]
when = { batch = true }
input = 1
output = 2
seen = 2026-03-01
[[rate.case]]
when = { thinking = true }
cache_read = 0.5
[[rate]]
model = "observed"
observed = [2026-01-01, 2026-04-01]
input = 2
output = 4
[[rate]]
model = "undated"
effective = 2024-01-01
input = 2
output = 4
"""


def book(tmp_path: Path, text: str = CARD) -> Book:
    (tmp_path / "acme.toml").write_text(text, encoding="utf-8")
    return Book.of(tmp_path / "acme.toml")


PLAIN = Usage(input_tokens=100, output_tokens=10)
CACHED = Usage(input_tokens=100, cache_read_input_tokens=50, output_tokens=10)


@pytest.mark.parametrize(
    ("model", "usage", "params", "at", "seen", "stale"),
    [
        pytest.param("m", PLAIN, {}, "2026-11-30", "2026-10-01", False, id="the rate's own day"),
        pytest.param("m", CACHED, {}, "2026-06-01", "2026-02-01", False, id="the oldest price charged"),
        pytest.param("m", CACHED, {}, "2026-11-30", "2026-02-01", True, id="which is stale alone"),
        pytest.param("m", PLAIN, {"batch": True}, "2026-11-30", "2026-03-01", True, id="a case's own day"),
        pytest.param(
            "m", CACHED, {"thinking": True}, "2026-11-30", "2026-10-01", False, id="a case seen with the rate"
        ),
        pytest.param("observed", PLAIN, {}, "2026-09-28T23:59:59+08:00", "2026-04-01", False, id="180 days later"),
        pytest.param("observed", PLAIN, {}, "2026-09-29", "2026-04-01", True, id="the next day"),
        pytest.param("undated", PLAIN, {}, "2026-11-30", None, False, id="no day is known"),
    ],
)
def test_an_answer_says_when_its_price_was_last_seen(
    tmp_path: Path, model: str, usage: Usage, params: dict[str, Any], at: str, seen: str | None, stale: bool
) -> None:
    prices = book(tmp_path)
    for _ in range(2):  # the second answer comes from the quote kept
        cost = prices.price(usage, provider="acme", model=model, at=at, params=params)
        assert cost.last_seen == (None if seen is None else date.fromisoformat(seen))
        assert ("stale" in cost.flags) is stale
        assert cost.to_dict()["last_seen"] == seen
        assert json.loads(f"{{{cost.to_json()}}}") == cost.to_dict()


@pytest.mark.parametrize(("days", "stale"), [(400, False), (30, True)])
def test_a_provider_says_after_how_many_days_its_prices_are_stale(tmp_path: Path, days: int, stale: bool) -> None:
    prices = book(tmp_path).with_overlay({"provider": "acme", "stale_after": days})
    usual = prices.price(PLAIN, provider="acme", model="m", at="2026-11-30")
    older = prices.price(CACHED, provider="acme", model="m", at="2026-11-30")
    assert ("stale" in usual.flags, "stale" in older.flags) == (stale, stale)


def test_costs_are_equal_whatever_day_their_price_was_seen(tmp_path: Path) -> None:
    prices = book(tmp_path)
    cost = prices.price(PLAIN, provider="acme", model="m", at="2026-11-30")
    offer = cost.offer.seen_on(date(2020, 1, 1))
    assert offer == cost.offer
    assert hash(offer) == hash(cost.offer)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("stale_after = 0", "stale_after: 0 must be a number of days"),
        (
            "read = 2026-01-01\n[[rate]]\nmodel = 'm'\neffective = 2026-01-01\ninput = 1\nseen = 'x'",
            "seen: 'x' is not a day",
        ),
        ('sources = { litellm = "soon" }', "sources.litellm: 'soon' is not a day"),
    ],
)
def test_a_head_with_no_day_is_refused(line: str, message: str) -> None:
    data = tomllib.loads(f'provider = "acme"\ncurrency = "CNY"\ntimezone = "UTC"\n{line}\n')
    assert any(message in problem for problem in check_data(data, "acme.toml"))
