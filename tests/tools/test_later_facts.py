"""A later fact never changes what an earlier instant cost, unless it speaks of that instant.

A fact speaks of the instants from its own first day on: the vendor's day, else the day on which its source first had
the price. Four kinds of facts speak of earlier ones too, and `speaks_from` names them; `tools/price_book/README.md`
gives the reasons. What had no price may get one: a batch price that is seen later completes the card it was read with.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter.prices.price_file import PriceFile
from tokenmeter.prices.provider_prices import ProviderPrices
from tokenmeter.usage import Usage
from tools.price_book.build_book import compile_book
from tools.price_book.decisions import decide, load
from tools.price_book.fact_files import read_rows
from tools.price_book.facts import read_facts

Row = dict[str, Any]
Prices = tuple[ProviderPrices, Mapping[str, Any]]

#: Source, kind of source: of several families and ranks.
SOURCES = [
    ("litellm==9.0", "catalog"),
    ("anomalyco/models.dev@1", "catalog"),
    ("npm model-bank==9.0", "catalog"),
    ("genai-prices==9.0", "catalog"),
    ("somebody's notes", "third_party"),
    ("the vendor's page", "vendor_doc"),
]
CALLS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"input_tokens": 1_000, "output_tokens": 1_000}, {}),
    ({"input_tokens": 1_000, "output_tokens": 0}, {}),
    ({"input_tokens": 150_000, "output_tokens": 1_000}, {}),
    ({"input_tokens": 300_000, "output_tokens": 1_000}, {}),
    ({"input_tokens": 1_000, "output_tokens": 1_000, "cache_read_input_tokens": 500}, {}),
    ({"input_tokens": 1_000, "output_tokens": 1_000, "cache_write_input_tokens": 500}, {}),
    ({"input_tokens": 1_000, "output_tokens": 1_000, "reasoning_output_tokens": 500}, {}),
    ({"input_tokens": 1_000, "output_tokens": 1_000, "audio_input_tokens": 500}, {}),
    ({"input_tokens": 1_000, "output_tokens": 1_000}, {"batch": True}),
    ({"input_tokens": 1_000, "output_tokens": 1_000, "cache_read_input_tokens": 500}, {"batch": True}),
    ({"input_tokens": 1_000, "output_tokens": 1_000}, {"thinking": True}),
    ({"input_tokens": 1_000, "output_tokens": 1_000}, {"service_tier": "priority"}),
    ({"input_tokens": 1_000, "output_tokens": 1_000}, {"region": "us"}),
    ({"quantities": {"images": 1}}, {}),
]
USAGES = [(Usage.from_dict(usage), params) for usage, params in CALLS]
#: The vendor's own date says of a price that sources showed in the weeks before that it was not yet in force.
DATED_BY_VENDOR = timedelta(days=45)


def prices_from(
    provider: str, rows: Sequence[Row], *, decided: bool
) -> tuple[ProviderPrices, Mapping[str, Any]] | None:
    facts = read_facts(rows)
    if decided:
        decide(facts, {provider: load().get(provider, [])})
    text = compile_book(facts).get(provider)
    if text is None:
        return None
    table = tomllib.loads(text, parse_float=Decimal)
    return ProviderPrices([PriceFile(table)], book="test"), table


def costs(prices: ProviderPrices, model: str, at: datetime) -> list[tuple[Decimal, str] | None]:
    found = []
    for usage, params in USAGES:
        total = prices.quote(model, None, params, at.timestamp()).price(usage, at, at.timestamp()).total
        found.append(None if total is None else (total.amount, total.currency))
    return found


def noon(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 12, tzinfo=UTC)


def beginnings(table: Mapping[str, Any], names: set[str]) -> list[date]:
    """The days on which an entry of these models begins."""
    days = []
    for rate in table["rate"]:
        start = rate.get("effective") or rate.get("observed", [None])[0]
        if rate["model"] in names and start is not None:
            days.append(start.date() if isinstance(start, datetime) else start)
    return days


def speaks_from(fact: Row, others: Sequence[Row]) -> date:
    """The first day of which a fact speaks."""
    first = date.fromisoformat((fact["effective_from"] or fact["observed_from"])[:10])
    if fact["source_kind"] == "vendor_doc" and fact["effective_from"]:
        return first - DATED_BY_VENDOR
    announced = [
        date.fromisoformat(row["effective_from"][:10])
        for row in others
        if row["effective_from"]
        and row["price"] == fact["price"]
        and row["effective_from"] > (row["source_date"] or "9")
    ]
    return min([first, *announced])  # a reading that confirms an announced price speaks since the announced day


def assert_nothing_before_changes(
    provider: str, before: Sequence[Row], later: Row, *, decided: bool, old: Prices | None = None
) -> None:
    old = old or prices_from(provider, before, decided=decided)
    new = prices_from(provider, [*before, later], decided=decided)
    if old is None:
        return
    assert new is not None, "a later fact took the whole book away"
    since = speaks_from(later, before)
    stem = later["model"].lower()[:10]
    names = {name for name in old[0].names.all() if name.lower().startswith(stem)} | {later["model"]}
    days = {since, *beginnings(old[1], names)}
    instants = [day + timedelta(days=more) for day in days for more in (-1, 0, 2, 44) if day + timedelta(more) < since]
    for name in sorted(names)[:12]:
        for day in sorted(set(instants)):
            was, now = costs(old[0], name, noon(day)), costs(new[0], name, noon(day))
            changed = [(call, a, b) for call, a, b in zip(CALLS, was, now, strict=True) if a is not None and a != b]
            assert not changed, f"{name} on {day}, by {later}"


@functools.cache
def rows_of(provider: str) -> tuple[Row, ...]:
    return tuple(dict(row) for row in read_rows() if row["vendor"] == provider)


@functools.cache
def prices_of(provider: str) -> Prices | None:
    return prices_from(provider, rows_of(provider), decided=True)


TODAY = date(2026, 12, 1)  # later than every reading of the fact base


@st.composite
def later_readings(draw: st.DrawFn, rows: Sequence[Row]) -> Row:
    """A reading of a price like one of these, made after all of them."""
    fact = dict(draw(st.sampled_from(rows)))
    day = str(TODAY + timedelta(days=draw(st.integers(0, 60))))
    for key in ("agree", "disagree", "observed_to", "effective_from_utc", "effective_to_utc"):
        fact.pop(key, None)
    fact["source"], fact["source_kind"] = draw(st.sampled_from(SOURCES))
    fact |= {"source_date": day, "observed_from": day, "effective_to": None}
    fact["effective_from"] = draw(st.sampled_from([None, None, day]))
    fact["price"] = str(Decimal(fact["price"]) * draw(st.sampled_from([Decimal(n) for n in ("1", "0.5", "1.1", "2")])))
    fact["kind"] = draw(st.sampled_from([fact["kind"]] * 3 + ["input", "output", "cache_read", "reasoning_output"]))
    fact["condition"] = draw(st.sampled_from([fact["condition"]] * 3 + ["mode=batch", "thinking=true", None]))
    fact["tier"] = draw(st.sampled_from([fact["tier"]] * 3 + [{"input_tokens_gt": 128_000}, None]))
    if draw(st.booleans()):  # a name that another model has
        fact["aliases"] = [draw(st.sampled_from([row for row in rows if row["currency"] == fact["currency"]]))["model"]]
    return fact


@pytest.mark.parametrize("provider", ["deepseek", "zhipu", "mistral", "groq", "google-vertex", "stepfun", "minimax"])
@settings(max_examples=6, deadline=None)
@given(data=st.data())
def test_a_later_reading_changes_no_earlier_cost_of_the_book(provider: str, data: st.DataObject) -> None:
    rows = rows_of(provider)
    later = data.draw(later_readings(rows))
    assert_nothing_before_changes(provider, rows, later, decided=True, old=prices_of(provider))


DAYS = st.integers(0, 600).map(lambda n: date(2025, 1, 1) + timedelta(days=n))


@st.composite
def few_facts(draw: st.DrawFn) -> list[Row]:
    """A base of some facts about two models, and one that is read after them, of a later day or of an earlier."""
    count = draw(st.integers(1, 9))
    days = sorted(draw(st.lists(DAYS, min_size=count + 1, max_size=count + 1, unique=True)))
    rows = [made(draw, day) for day in days]
    rows.append(rows.pop(draw(st.sampled_from([-1, -1, draw(st.integers(0, count))]))))
    rows[-1]["source_date"] = str(max(days[-1], date.fromisoformat(rows[-1]["observed_from"])) + timedelta(days=1))
    return rows


def made(draw: st.DrawFn, day: date) -> Row:
    source, kind_of_source = draw(st.sampled_from(SOURCES))
    stated = draw(st.booleans())
    return {
        "vendor": "example",
        "model": draw(st.sampled_from(["m", "m", "m-2025-01-01"])),
        **({"aliases": ["m-2025-01-01"]} if draw(st.booleans()) else {}),
        "currency": draw(st.sampled_from(["USD", "USD", "CNY"])),
        "unit": "per_1m_tokens",
        "kind": draw(st.sampled_from(["input", "input", "output", "output", "cache_read", "reasoning_output"])),
        "price": draw(st.sampled_from(["1", "2", "3", "10"])),
        "tier": draw(st.sampled_from([None, None, {"input_tokens_gt": 128_000}, {"input_tokens_le": 128_000}])),
        "condition": draw(st.sampled_from([None, None, None, "mode=batch", "thinking=true", "service_tier=priority"])),
        "effective_from": str(day) if stated else None,
        "effective_to": None,
        "observed_from": str(day),
        "source": source,
        "source_date": str(day),
        "source_kind": kind_of_source,
        "license": "facts",
    }


@settings(max_examples=80, deadline=None)
@given(few_facts())
def test_a_fact_of_a_later_day_changes_no_earlier_cost(rows: list[Row]) -> None:
    *before, later = rows
    assert_nothing_before_changes("example", before, later, decided=False)
