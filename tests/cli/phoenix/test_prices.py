"""`tokenmeter phoenix`: which prices Phoenix's table can hold, and what is said where there is no Phoenix.

That the rows work in a real Phoenix is in tests/backends, which `make test-backends` runs.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tokenmeter.cli.phoenix import _compare
from tokenmeter.cli.phoenix.client import ModelRow, TokenPrice
from tokenmeter.cli.phoenix.prices import NAMED, SyncPlan, plan
from tokenmeter.exchange import ExchangeRates
from tokenmeter.otel.dialects import OPENINFERENCE_PROVIDERS
from tokenmeter.prices.book import Book, load_book

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
RATES = ExchangeRates.of("CNY=0.1400USD@2026-11-01")


def sold(provider: str, *rates: dict[str, Any], currency: str = "USD", **head: Any) -> dict[str, Any]:
    """A price file, every rate since the first of January."""
    entries = [{"effective": datetime(2026, 1, 1, tzinfo=UTC), "source": "a test", **rate} for rate in rates]
    return {"provider": provider, "currency": currency, "timezone": "UTC", "rate": entries, **head}


def held(book: Book, **how: Any) -> SyncPlan:
    return plan(book, book.providers, NOON, **how)


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        pytest.param({"input": 2, "output": 8}, {("input", True): 2, ("output", False): 8}, id="input and output"),
        pytest.param(
            {"input": 2, "cache_read": 0.5, "cache_write_5m": 2.5, "cache_write_1h": 4, "output": 8},
            {("input", True): 2, ("cache_read", True): 0.5, ("cache_write", True): 2.5, ("output", False): 8},
            id="writes by lifetime: the one that nobody has to ask for",
        ),
        pytest.param(
            {"input": 2, "cache_read": 0.5, "cache_write": 2.5, "output": 8},
            {("input", True): 2, ("cache_read", True): 0.5, ("cache_write", True): 2.5, ("output", False): 8},
            id="cache",
        ),
        pytest.param(
            {"input": 2, "audio_input": 10, "output": 8, "audio_output": 20},
            {("input", True): 2, ("audio", True): 10, ("output", False): 8, ("audio", False): 20},
            id="audio on both sides",
        ),
        pytest.param(
            {"input": 2, "output": 8, "reasoning_output": 16},
            {("input", True): 2, ("output", False): 8, ("reasoning", False): 16},
            id="thoughts at another price",
        ),
        pytest.param({"free": True}, {("input", True): 0, ("output", False): 0}, id="free is known to be zero"),
    ],
)
def test_a_row_has_a_price_for_each_type_that_bills_apart(rate: dict[str, Any], expected: dict[Any, float]) -> None:
    (one,) = held(Book.of(sold("groq", {"model": "m", **numbers(rate)}))).written
    assert {price[:2]: price.per_million for price in one.row.prices} == expected
    assert (one.row.name, one.row.provider, one.row.pattern) == ("m (groq by tokenmeter)", "groq", "^m$")
    assert one.row.start == datetime(2026, 1, 1, tzinfo=UTC)


def numbers(rate: dict[str, Any]) -> dict[str, Any]:
    from decimal import Decimal

    return {key: Decimal(str(value)) if isinstance(value, float) else value for key, value in rate.items()}


TIER = {"when": {"input_tokens": "> 200000"}, "input": 4, "output": 12}
WINDOWS = {"windows": {"peak": {"hours": ["09:00-12:00"]}}}


@pytest.mark.parametrize(
    ("rate", "head", "why"),
    [
        pytest.param({"input": 2}, {}, "no price per token of output", id="embeddings"),
        pytest.param({"images": 2}, {}, "no price per token of input", id="images"),
        pytest.param(
            {"input": 2, "output": 8, "case": [TIER]}, {}, "its price depends on input_tokens", id="by the length"
        ),
        pytest.param(
            {"input": 2, "output": 8, "case": [{"when": {"thinking": True}, "output": 16}]},
            {},
            "its price depends on thinking",
            id="by what the model does",
        ),
        pytest.param(
            {"input": 2, "output": 8, "case": [{"when": {"window": "peak"}, "output": 16}]},
            WINDOWS,
            "its price depends on the time of day",
            id="by the clock",
        ),
        pytest.param({"input": 2, "output": 8, "step": {"input": 1000}}, {}, "billed in steps", id="by the thousand"),
        pytest.param(
            {"input": 2, "output": 8, "currency": "CNY"}, {}, "billed in CNY, and Phoenix shows dollars", id="in yuan"
        ),
    ],
)
def test_what_is_no_one_price_in_dollars_is_left_out_with_the_reason(
    rate: dict[str, Any], head: dict[str, Any], why: str
) -> None:
    found = held(Book.of(sold("groq", {"model": "m", **rate}, **head)))
    assert not found.written
    assert [(left.model, left.why) for left in found.left_out] == [("m", why)]


def test_base_prices_are_written_when_asked_for_and_say_so() -> None:
    book = Book.of(sold("groq", {"model": "m", "input": 2, "output": 8, "case": [TIER]}))
    (one,) = held(book, base_prices=True).written
    assert one.unlike == ("by input_tokens",)
    assert TokenPrice("input", True, 2.0) in one.row.prices


def test_an_option_that_a_call_sends_leaves_the_plain_price_and_is_named() -> None:
    batch = {"when": {"batch": True}, "input": 1, "output": 4}
    (one,) = held(
        Book.of(sold("groq", {"model": "m", "input": 2, "output": 8, "web_search": 10, "case": [batch]}))
    ).written
    assert one.unlike == ("with batch", "fees of web_search")


def test_yuan_become_dollars_at_the_users_rate_from_its_day_on_and_the_row_names_it() -> None:
    book = Book.of(sold("deepseek", {"model": "m", "input": 2, "output": 3}, currency="CNY"))
    (one,) = held(book, exchange=RATES).written
    assert {price.per_million for price in one.row.prices} == {0.28, 0.42}
    assert one.row.name == "m (deepseek by tokenmeter, CNY/USD 0.14 of 2026-11-01)"
    assert one.row.start == datetime(2026, 11, 1, tzinfo=UTC)
    later = ExchangeRates.of("CNY=0.1400USD@2026-11-21")
    assert not held(book, exchange=later).written, "a rate says nothing of the days before its own"


def test_free_needs_no_rate() -> None:
    (one,) = held(Book.of(sold("zhipu", {"model": "m", "free": True}, currency="CNY"))).written
    assert one.row.name == "m (zhipu by tokenmeter)"


def test_every_name_of_a_model_is_in_its_pattern_and_no_other() -> None:
    import re

    book = Book.of(
        sold("groq", {"model": "m.1", "input": 2, "output": 8}, alias=[{"model": "m-1-latest", "of": "m.1"}])
    )
    (one,) = held(book).written
    pattern = re.compile(one.row.pattern)
    assert [bool(pattern.search(name)) for name in ("m.1", "m-1-latest", "mx1", "m.10", "my-m.1")] == [
        True, True, False, False, False,
    ]  # fmt: skip


def test_names_of_the_users_own_mean_the_models_they_stand_for() -> None:
    book = Book.of(sold("groq", {"model": "m", "input": 2, "output": 8}))
    (one,) = held(book, own_names={"ep-2026": "m", "ep-other": "nobody's"}).written
    assert one.row.pattern == r"^(?:ep\-2026|m)$"


def test_a_name_is_written_for_everybody_who_sells_it_or_for_nobody() -> None:
    """Phoenix takes the only row that matches, whoever the span says bills."""
    dollars = sold(
        "moonshot-intl", {"model": "kimi", "input": 2, "output": 8}, {"model": "own", "input": 1, "output": 1}
    )
    yuan = sold("moonshot", {"model": "kimi", "input": 4, "output": 16}, currency="CNY")
    book = Book.of(dollars, yuan)
    without = held(book)
    assert [one.model for one in without.written] == ["own"]
    (left,) = [left for left in without.left_out if left.provider == "moonshot-intl"]
    assert left.also_sold_by == ("moonshot",)
    both = held(book, exchange=RATES).written
    assert {(one.model, one.row.provider) for one in both} == {
        ("kimi", "moonshot"), ("kimi", "moonshot-intl"), ("own", "moonshot-intl"),
    }  # fmt: skip
    assert [one.model for one in plan(book, ["moonshot-intl"], NOON).written] == ["kimi", "own"]


def test_the_real_book_makes_rows_that_phoenix_would_take() -> None:
    book = load_book()
    found = plan(book, book.providers, NOON, exchange=RATES, provider_names=OPENINFERENCE_PROVIDERS)
    assert len(found.written) > 500
    rows = [one.row for one in found.written]
    assert len({row.name for row in rows}) == len({(row.pattern, row.provider) for row in rows}) == len(rows)
    for one in found.written:
        kinds = {price.token_type for price in one.row.prices}
        assert {"input", "output"} <= kinds
        known = NAMED.fullmatch(one.row.name)
        assert known is not None
        assert (known["model"], known["provider"]) == (one.model, one.provider)


# What a sync does -----------------------------------------------------------------------------------------------


def row(name: str, rate: float = 2.0, **changes: Any) -> ModelRow:
    made = ModelRow(name, "groq", f"^{name.split()[0]}$", None, frozenset({TokenPrice("input", True, rate)}))
    return made._replace(**changes)


def test_a_sync_touches_its_own_rows_and_names_a_users() -> None:
    book = Book.of(
        sold("groq", *({"model": name, "input": 2, "output": 8} for name in ("new", "same", "moved", "taken")))
    )
    wanted = {one.model: one for one in held(book).written}
    there = [
        wanted["same"].row._replace(id="1"),
        wanted["moved"].row._replace(id="2", prices=frozenset({TokenPrice("input", True, 9.0)})),
        row("gone (groq by tokenmeter)", id="3"),
        row("other (openai by tokenmeter)", id="4"),
        row("my taken", id="5", pattern="^taken$"),
        row("my new", id="6", pattern="new"),
        row("new", id="7", built_in=True),
    ]
    steps = _compare(list(wanted.values()), there, ["groq"])
    assert [one.name for one in steps.create] == ["new (groq by tokenmeter)"], "Phoenix refuses a second ^taken$"
    assert [(one.id, one.prices) for one in steps.update] == [("2", wanted["moved"].row.prices)]
    assert [one.id for one in steps.delete] == ["3"], "rows of providers that were not asked for stay"
    assert [one.id for one in steps.right] == ["1"]
    assert [(one.id, names) for one, names in steps.yours] == [("5", ("taken",)), ("6", ("new",))]


def test_a_price_that_came_back_as_a_price_per_token_is_the_same() -> None:
    one = row("m", 0.025)
    assert one.same(row("m", 0.025 / 1e6 * 1e6))
    assert not one.same(row("m", 0.026))
    assert not one.same(row("m", 0.025, start=NOON))


# Where there is no Phoenix --------------------------------------------------------------------------------------
