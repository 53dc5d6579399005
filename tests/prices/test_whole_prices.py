"""Prices as whole numbers: the same amounts, savings, floats and texts as the bill of the same table."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.money import plain
from tokenmeter.offers import Price
from tokenmeter.prices.charges import Table
from tokenmeter.prices.whole_prices import WholePrices
from tokenmeter.usage import Usage

NAMES = ("input", "cache_read", "cache_write", "output", "reasoning_output")
RATES = st.decimals("0", "900", places=6, allow_nan=False, allow_infinity=False)
TOKENS = st.one_of(st.none(), st.integers(0, 50), st.integers(0, 2_000_000))


def table(rates: dict[str, Decimal], per: int = 1_000_000) -> Table:
    prices = {name: Price(name, rate, per) for name, rate in rates.items()}
    stand_ins = {"cache_write": "input", "reasoning_output": "output"}

    def serves(name: str) -> Price | None:
        return prices.get(name) or prices.get(stand_ins.get(name, ""))

    return Table(prices, serves, quantities={})


@given(
    st.dictionaries(st.sampled_from(NAMES), RATES),
    st.sampled_from([1, 1_000, 1_000_000]),
    st.builds(
        Usage,
        input_tokens=TOKENS,
        output_tokens=TOKENS,
        cache_read_input_tokens=TOKENS,
        cache_write_input_tokens=TOKENS,
        reasoning_output_tokens=TOKENS,
    ),
)
def test_an_amount_in_parts_is_that_of_the_bill(rates: dict[str, Decimal], per: int, usage: Usage) -> None:
    made = table(rates, per)
    whole = made.whole
    assert whole is not None
    billed = whole.bill(usage)
    amount, _, flags, _ = made.bill(usage)
    if billed is None:
        return
    parts, saved = billed
    assert amount is not None
    assert not flags
    assert (whole.exact(parts), whole.number(parts), whole.plain(parts)) == (amount, float(amount), plain(amount))
    exact = made.cache_savings(usage)
    assert (saved is None) == (exact is None)
    if saved is not None and exact is not None:
        assert (whole.exact(saved), whole.plain(saved)) == (exact, plain(exact))


@pytest.mark.parametrize(
    ("usage", "parts"),
    [
        (Usage(input_tokens=1_200, output_tokens=90, cache_read_input_tokens=800), 400 * 250 + 800 * 125 + 90 * 1000),
        (Usage(input_tokens=0, output_tokens=0), None),
        (Usage(input_tokens=10, output_tokens=1, cache_read_input_tokens=11), None),
        (Usage(input_tokens=10), None),
        (Usage(input_tokens=10, output_tokens=1, cache_write_input_tokens=4), None),
    ],
    ids=["plain", "free", "more cached than sent", "no output", "no price for a write"],
)
def test_what_it_takes(usage: Usage, parts: int | None) -> None:
    rates = {"input": Decimal("2.50"), "cache_read": Decimal("1.25"), "output": Decimal("10.00")}
    prices = {name: Price(name, rate, 1_000_000) for name, rate in rates.items()}
    whole = WholePrices(prices["input"], prices["cache_read"], None, prices["output"], prices["output"])
    assert whole.places == 8
    billed = whole.bill(usage)
    assert (None if billed is None else billed[0]) == parts


def test_steps_are_left_to_the_bill() -> None:
    stepped = Price("input", Decimal(1), 1, step=Decimal(10))
    with pytest.raises(ValueError, match="0"):
        WholePrices(stepped, None, None, None, None)
    assert Table({"input": stepped}, {"input": stepped}.get, quantities={}).whole is None
