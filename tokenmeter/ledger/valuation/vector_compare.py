"""Prices groups of calls as calls of another model, column by column: the vectorised way of `what_if`.

Where pyarrow is installed, sums over columns stand for sums over calls: tokens are scaled as arrays of integers, split
at the edges of tiers and where prices change, and each part is multiplied once. The sums are those of the other ways,
to the digit. A group that one of the candidates cannot price this way is left to them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from math import ceil
from typing import TYPE_CHECKING, Any, NamedTuple

from tokenmeter.ledger.valuation.columns import USUAL, CallGroup
from tokenmeter.ledger.valuation.fast_compare import FastCandidate
from tokenmeter.ledger.valuation.linear_prices import QUARTER, FormPrices, LinearPrices, RateOf

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["GroupSums", "sums_of"]

Columns = tuple[Any, ...]
"""Arrays of input, output, cache read, cache write and reasoning."""


class GroupSums(NamedTuple):
    """The amount of each step for the calls of a group, and the currency."""

    amounts: dict[str, int]
    currency: str


def sums_of(group: CallGroup, quick: FastCandidate) -> GroupSums | None:
    """What the calls of a group cost as calls of a candidate; None leaves them to another way."""
    way = quick.way(group.form)
    if way is None or quick.used_tools(group.finish_reasons):
        return None
    try:
        return _sums(group, way.prices, way.scales, quick)
    except ValueError:  # Arrow's, for a product beyond 64 bits
        return None


def _sums(
    group: CallGroup, prices: FormPrices, scales: Sequence[tuple[int, int, int]], quick: FastCandidate
) -> GroupSums | None:
    pieces = _pieces(prices, group, quick.instant)
    if pieces is None:
        return None
    amounts: dict[str, int] = defaultdict(int)
    currencies: set[str] = set()
    for rate, rows in pieces:
        tokens = group.tokens if rows is None else tuple(one.filter(rows) for one in group.tokens)
        for name, columns in _steps(tokens, scales, quick.assumed_rate):
            priced = _amount(prices, rate, columns)
            if priced is None:
                return None
            amounts[name] += priced[0]
            currencies.add(priced[1])
    if len(currencies) != 1:
        return None
    (currency,) = currencies
    if currency != group.form[-1]:  # what breaks even is only known in one currency
        del amounts["uncached"], amounts["all_cached"]
    return GroupSums(amounts, currency)


def _pieces(prices: FormPrices, group: CallGroup, instant: float | None) -> list[tuple[RateOf, pa.Array | None]] | None:
    """The rates in force for the calls of a group, each with a mask of its calls (None: all)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if instant is not None:
        rate = prices.rate_at(instant)
        return None if rate is None else [(rate, None)]
    quarters = pc.divide(group.instants, QUARTER * 1_000_000)
    coded = pc.dictionary_encode(quarters)
    rates: dict[int, tuple[int, RateOf]] = {}
    numbered = []
    for quarter in coded.dictionary.to_pylist():
        rate = prices.rate_in(quarter)
        if rate is None:
            return None
        numbered.append(rates.setdefault(id(rate.rate), (len(rates), rate))[0])
    if len(rates) == 1:
        return [(rate, None) for _, rate in rates.values()]
    number = pc.take(pa.array(numbered, pa.int64()), coded.indices)
    return [(rate, pc.equal(number, place)) for place, rate in rates.values()]


def _steps(
    tokens: Columns, scales: Sequence[tuple[int, int, int]], rate: tuple[int, int] | None
) -> list[tuple[str, Columns]]:
    """The tokens of every step: those of `FastCandidate`, as arrays. `rate` None keeps the cache as it was."""
    same = _cached(tokens, rate)
    ends = dict.fromkeys(("low", "likely", "high"), same)
    if scales:
        for name, scale in zip(ends, scales, strict=True):
            ends[name] = _cached(_scaled(tokens, *scale), rate)
    whole_in, whole_out, _, _, thought = ends["likely"]
    nothing = _zeros(whole_in)
    return [
        ("as_they_were", tokens), ("same_tokens", same), ("with_tools", same), *ends.items(),
        ("uncached", (whole_in, whole_out, nothing, nothing, thought)),
        ("all_cached", (whole_in, whole_out, whole_in, nothing, thought)),
    ]  # fmt: skip


def _zeros(like: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.multiply(like, 0)


def _cached(tokens: Columns, rate: tuple[int, int] | None) -> Columns:
    import pyarrow.compute as pc

    if rate is None:
        return tokens
    whole_in, whole_out, _, _, thought = tokens
    read = pc.divide(pc.multiply_checked(whole_in, rate[0]), rate[1])
    return whole_in, whole_out, read, _zeros(whole_in), thought


def _scaled(tokens: Columns, times: int, per: int, above: int) -> Columns:
    import pyarrow.compute as pc

    whole_in, whole_out, *parts = (pc.multiply_checked(one, times) for one in tokens)
    totals = (pc.divide(pc.add_checked(one, above), per) for one in (whole_in, whole_out))
    return (*totals, *(pc.divide(one, per) for one in parts))


def _amount(prices: FormPrices, rate: RateOf, columns: Columns) -> tuple[int, str] | None:
    """What tokens cost in all by a rate with tiers, and the currency; None where one of them has no price."""
    import pyarrow.compute as pc

    by_name = dict(zip(USUAL, columns, strict=True))
    cells = None
    for name, edges in rate.rate.tiers:
        column = by_name.get(name)
        if column is None:  # a quantity that these calls do not have
            continue
        for edge in edges:
            above = pc.cast(pc.greater_equal(column, ceil(Decimal(edge))), "int64")
            cells = above if cells is None else pc.add(cells, above)
        cells = None if cells is None else pc.multiply(cells, 64)
    total, currency = 0, None
    codes = [None] if cells is None else pc.unique(cells).to_pylist()
    for code in codes:
        some = columns if code is None else tuple(one.filter(pc.equal(cells, code)) for one in columns)
        found = _cell(prices, rate, some)
        if found is None:
            return None
        whole_in, whole_out, read, written, thought = (int(pc.sum(one).as_py() or 0) for one in some)
        amount = found.amount((whole_in - read - written, read, written, whole_out - thought, thought))
        if amount is None:
            return None
        total, currency = total + amount, found.currency
    return None if currency is None else (total, currency)


def _cell(prices: FormPrices, rate: RateOf, some: Columns) -> LinearPrices | None:
    """The prices for calls that all meet the same conditions: those of the first."""
    first: Sequence[int] = [one[0].as_py() for one in some] if len(some[0]) else [0] * 5
    return prices.of_rate(rate, *first)
