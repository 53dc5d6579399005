"""What holds for every usage, instant and parameter."""

from __future__ import annotations

import decimal
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter._support.data_files import read_toml, to_json
from tokenmeter.cost import Cost
from tokenmeter.prices.book import Book
from tokenmeter.usage import Usage

FOLDER = Path(__file__).parents[1] / "data" / "prices"
BOOK = Book.of(FOLDER)
MODELS = [
    ("alibaba", "qwen-plus"),
    ("zhipu", "glm-4.7"),
    ("zhipu", "GLM-4-Flash"),
    ("anthropic", "claude-sonnet-4-5"),
    ("openai", "gpt-5.4"),
    ("openai", "gpt-audio"),
    ("deepseek", "deepseek-chat"),
    ("deepseek", "deepseek-v4-flash"),
]
models = st.sampled_from(MODELS)
moments = st.integers(1_672_531_200, 1_811_808_000).map(lambda second: datetime.fromtimestamp(second, UTC))
params = st.fixed_dictionaries(
    {},
    optional={
        "thinking": st.booleans(),
        "batch": st.booleans(),
        "service_tier": st.sampled_from(["default", "flex", "priority"]),
        "cache_ttl": st.sampled_from(["5m", "1h"]),
    },
)
lengths = st.one_of(st.integers(0, 300_000), st.sampled_from([200, 201, 32_000, 32_001, 128_000, 128_001, 272_001]))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """A usage that contradicts nothing."""
    tokens_in, tokens_out = draw(lengths), draw(lengths)
    read = draw(st.integers(0, tokens_in))
    written = draw(st.integers(0, tokens_in - read))
    audio = draw(st.one_of(st.none(), st.integers(0, tokens_in - read - written)))
    thought = draw(st.integers(0, tokens_out))
    return Usage(
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        cache_read_input_tokens=draw(st.sampled_from([None, read])),
        cache_write_input_tokens=draw(st.sampled_from([None, written])),
        audio_input_tokens=audio,
        reasoning_output_tokens=draw(st.sampled_from([None, thought])),
    )


def price(usage: Usage, model: tuple[str, str], at: datetime, given_params: dict[str, Any] | None = None) -> Cost:
    return BOOK.price(usage, provider=model[0], model=model[1], at=at, params=given_params)


@given(usages(), models, moments, params)
def test_charges_are_disjoint_and_sum_to_the_total(
    usage: Usage, model: tuple[str, str], at: datetime, chosen: dict[str, Any]
) -> None:
    cost = price(usage, model, at, chosen)

    if cost.amount is None:
        assert cost.reason
        return
    assert sum((charge.amount for charge in cost.charges), Decimal(0)) == cost.amount
    assert len({charge.component for charge in cost.charges}) == len(cost.charges)
    tokens = sum(int(charge.quantity) for charge in cost.charges if charge.rate or cost.status != "free")
    assert usage.input_tokens is not None
    assert usage.output_tokens is not None
    if cost.status == "priced" and model[1] != "GLM-4-Flash":
        assert tokens == usage.input_tokens + usage.output_tokens


@given(usages(), models, moments, params)
def test_the_short_way_gives_what_the_general_way_gives(
    usage: Usage, model: tuple[str, str], at: datetime, chosen: dict[str, Any]
) -> None:
    prices = BOOK.provider_prices(model[0])
    assert not isinstance(prices, str)
    quote = prices.quote(model[1], None, chosen, at.timestamp())
    short = quote.price(usage, at, at.timestamp())
    if short.amount is None or not quote._resolved:
        return
    (resolved,) = quote._resolved.values() if len(quote._resolved) == 1 else (None,)
    if resolved is None or isinstance(resolved, str) or isinstance(table := resolved[0].table(usage), str):
        return
    amount, lines, _, _ = table._bill_any(usage)
    assert amount == short.amount
    assert {(line[0].component, line[1]) for line in lines} == {
        (charge.component, charge.quantity) for charge in short.charges
    }


@settings(max_examples=40)
@given(usages(), models, moments)
def test_a_later_rate_never_changes_an_earlier_price(usage: Usage, model: tuple[str, str], at: datetime) -> None:
    later = (at + timedelta(seconds=1)).replace(microsecond=0)
    entry = {"model": model[1], "effective": later, "input": 999, "output": 999, "cache_read": 999}
    book = BOOK.with_overlay({"provider": model[0], "rate": [entry]})

    before = price(usage, model, at)
    after = book.price(usage, provider=model[0], model=model[1], at=at)
    assert (after.amount, after.rate_id) == (before.amount, before.rate_id)


@given(usages(), models, moments, st.integers(0, 5_000))
def test_more_never_costs_less_within_a_tier(usage: Usage, model: tuple[str, str], at: datetime, more: int) -> None:
    assert usage.input_tokens is not None
    assert usage.output_tokens is not None
    grown = Usage(
        **{
            name: getattr(usage, name)
            for name in (
                "cache_read_input_tokens", "cache_write_input_tokens", "audio_input_tokens", "reasoning_output_tokens",
            )
        },
        input_tokens=usage.input_tokens + more,
        output_tokens=usage.output_tokens,
    )  # fmt: skip
    small, large = price(usage, model, at), price(grown, model, at)
    if small.amount is not None and large.amount is not None:
        # Every declared edge of these files raises prices, so here it holds across edges, too.
        assert small.amount <= large.amount


@given(usages(), models, moments, st.integers(1, 28), st.sampled_from([decimal.ROUND_DOWN, decimal.ROUND_UP]))
def test_the_hosts_decimal_context_changes_nothing(
    usage: Usage, model: tuple[str, str], at: datetime, precision: int, rounding: str
) -> None:
    usage = Usage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        quantities={"audio_seconds": Decimal("1234.5678901234567")},
    )
    normal = price(usage, model, at).to_dict()
    with decimal.localcontext(decimal.Context(prec=precision, rounding=rounding, traps=[])):
        strange = BOOK.with_lists({}).price(usage, provider=model[0], model=model[1], at=at).to_dict()
    assert strange == normal


@given(usages(), models, moments)
def test_compiled_files_price_as_toml_does(usage: Usage, model: tuple[str, str], at: datetime) -> None:
    assert COMPILED.price(usage, provider=model[0], model=model[1], at=at).amount == price(usage, model, at).amount


COMPILED = Book.of(
    *(json.loads(to_json(read_toml(file)), parse_float=Decimal) for file in sorted(FOLDER.glob("*.toml")))
)


@pytest.mark.parametrize("provider", ["alibaba", "deepseek"])
def test_unhashable_parameters_are_priced_by_what_can_be_read(provider: str) -> None:
    usage = Usage(input_tokens=10, output_tokens=10)
    model = {"alibaba": "qwen-plus", "deepseek": "deepseek-chat"}[provider]

    cost = BOOK.price(
        usage, provider=provider, model=model, at="2026-11-20", params={"thinking": False, "extra": {"a": [1]}}
    )
    assert cost.status == "priced"
