"""Random costs of the product's own classes: charges of several components, list prices, vendor's figures, unpriced."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import strategies as st

from tests.rigs.made_records import NOON, record
from tokenmeter.cost import Cost
from tokenmeter.money import EXACT
from tokenmeter.offers import Line, Offer, Price
from tokenmeter.record import End, Record
from tokenmeter.usage import Source, Usage

_COMPONENTS = ("input", "output", "cache_read", "cache_write_5m", "images", "output_audio_seconds", "web_search")
_RATES = st.decimals("0", "900", places=4)
_PER = st.sampled_from((1, 1000, 1_000_000))


@st.composite
def costs(draw: st.DrawFn) -> Cost:
    """A cost that the book or a vendor could give."""
    provider = draw(st.sampled_from(("deepseek", "openai", "alibaba", "ours")))
    offer = Offer(
        provider=provider, model=draw(st.sampled_from(("one", "two"))), rate_id=draw(st.sampled_from(("r@1", "r@2"))),
        dating="official", confidence="official", list=draw(st.sampled_from(("CNY", "USD"))), book="test-book",
    )  # fmt: skip
    kind = draw(st.sampled_from(("charges", "charges", "charges", "vendor", "unpriced")))
    if kind == "unpriced":
        return Cost(offer, "unpriced", None, (), NOON, reason="no rate")
    if kind == "vendor":
        return Cost(offer, "priced", draw(st.decimals("0.000001", "5", places=9)), (), NOON, source="vendor")
    names = draw(st.lists(st.sampled_from(_COMPONENTS), min_size=1, max_size=4, unique=True))
    lines = tuple(_line(name, draw(_RATES), draw(_PER), draw(st.integers(0, 3_000_000))) for name in names)
    amount = Decimal(0)
    for _, _, part in lines:
        amount = EXACT.add(amount, part)
    listed = draw(st.none() | st.decimals("0", "5000", places=6) | st.just(EXACT.multiply(amount, Decimal("1.25"))))
    return Cost(offer, "priced" if amount else "free", amount, lines, NOON, list_amount=listed)


def _line(name: str, rate: Decimal, per: int, quantity: int) -> Line:
    price = Price(name, rate, per)
    return price, quantity, EXACT.multiply(price.unit, Decimal(quantity))


@st.composite
def records(draw: st.DrawFn) -> Record:
    """A settled call of such a cost, at some instant of two months, with tags."""
    cost = draw(costs())
    ended = datetime(2026, 10, 20, tzinfo=UTC) + timedelta(seconds=draw(st.integers(0, 40 * 86_400)))
    ranges = draw(st.sampled_from(({}, {"input_tokens": (900, 1200)})))
    usage = Usage(
        input_tokens=1000, output_tokens=draw(st.none() | st.integers(0, 10**6)),
        source=Source.ESTIMATED if ranges else Source.REPORTED, ranges=ranges,
    )  # fmt: skip
    return record(
        cost, ended=ended, provider=cost.provider, usage=usage,
        tags=draw(st.dictionaries(st.sampled_from(("team", "user")), st.sampled_from(("a", "b", "搜索")))),
        end=draw(st.sampled_from((End.COMPLETE, End.ERROR, End.DELEGATED))),
    )  # fmt: skip
