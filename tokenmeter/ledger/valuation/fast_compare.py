"""Prices calls as calls of another model in whole numbers: the fast way of `what_if`, which gives the same sums.

A call goes this way if it used nothing but text, caches and reasoning, if its tokens can be scaled, and if the other
model prices all of them at multiples of 10⁻¹⁸. Every other call is left to the general way.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from tokenmeter.ledger.valuation.candidate import Candidate
from tokenmeter.ledger.valuation.linear_prices import FormPrices, LinearPrices, amount_of, linear_tokens
from tokenmeter.ledger.valuation.stored_calls import CallRow, Form, params_of
from tokenmeter.ledger.valuation.token_ratios import TokenRatio
from tokenmeter.money import EXACT
from tokenmeter.prices.book import Book

__all__ = ["KEPT", "TOOLS", "FastCandidate"]

KEPT: Final = ("batch", "thinking")
"""Parameters that another vendor's request can have too."""
TOOLS: Final = frozenset({"tool_calls", "tool_use", "function_call", "TOOL_USE"})
"""Reasons to stop that tell that tools were offered."""
_MOST: Final = 20_000
_ENDS: Final = ("low", "likely", "high")
Parts = tuple[int, int, int, int, int]
"""Input, output, cache read, cache write, reasoning."""
RatioOf = Callable[[str | None, str], "TokenRatio | None"]
"""The range between a model (provider, name) and the candidate."""


class _Way(NamedTuple):
    """How calls of one form become calls of the candidate: its prices, and the scaling of each end."""

    prices: FormPrices
    scales: tuple[tuple[int, int, int], ...]
    """Numerator, denominator and what is added before totals are divided: low, likely, high. Empty: not scaled."""


class FastCandidate:
    """One candidate, while the calls are read."""

    def __init__(self, candidate: Candidate, book: Book, *, cache: str, at: datetime | None, ratio_of: RatioOf) -> None:
        self.candidate, self._book, self._ratio_of = candidate, book, ratio_of
        self.instant = None if at is None else at.timestamp()
        rate = Fraction(0) if cache == "none" else candidate.cache_rate
        self._rate = None if rate is None else (rate.numerator, rate.denominator)
        self._never = cache == "measured" and rate is None
        self._keep = cache == "keep"
        self._ways: dict[Form, _Way | None] = {}
        self._tools: dict[str, bool] = {}
        self._prices: dict[tuple[Any, ...], FormPrices] = {}
        self._sums: dict[str, int] = defaultdict(int)

    def add(self, row: CallRow, spent: Decimal | None) -> bool:
        """Add a call to the candidate's sums; False leaves it to the general way."""
        usual = row.usual()
        if usual is None or linear_tokens(*usual) is None:
            return False
        way = self.way(row.form)
        if way is None or self.used_tools(row.finish_reasons):
            return False
        instant = row.instant() if self.instant is None else self.instant
        found = self._price(way, instant, usual, row.currency)
        if found is None:
            return False
        amounts, currency = found
        sums, candidate = self._sums, self.candidate
        for name, amount in amounts:
            sums[name] += amount
        candidate.currency = currency
        candidate.calls += 1
        if spent is None:
            candidate.unpriced += 1
        else:
            listed = row.currency or ""
            candidate.rests_on[listed] = EXACT.add(candidate.rests_on[listed], spent)
        return True

    def close(self) -> None:
        """Put the sums of whole numbers to the candidate's."""
        for name, total in self._sums.items():
            self.candidate.add(name, amount_of(total))
        self._sums.clear()

    @property
    def assumed_rate(self) -> tuple[int, int] | None:
        """The share of input that is assumed to be read from the cache, as a fraction; None keeps it as it was."""
        return None if self._keep else self._rate

    def take(self, sums: Mapping[str, int], currency: str, calls: int) -> None:
        """Add the sums of many calls, by step."""
        for name, amount in sums.items():
            self._sums[name] += amount
        self.candidate.currency = currency
        self.candidate.calls += calls

    def way(self, form: Form) -> _Way | None:
        """How calls of a form become calls of the candidate; None for the general way."""
        if self._never:
            return None
        return self._ways[form] if form in self._ways else self._open(form)

    def _open(self, form: Form) -> _Way | None:
        if len(self._ways) >= _MOST:
            self._ways.clear()
        way = self._ways[form] = self._way(form)
        return way

    def _way(self, form: Form) -> _Way | None:
        provider, model, response_model = form[:3]
        named = response_model or model
        ratio = None if provider is None or not named else self._ratio_of(provider, named)
        if ratio is None:
            return None
        params = params_of(form)
        kept: dict[str, Any] = {name: params[name] for name in KEPT if name in params}
        key = tuple(kept.items())
        try:
            prices = self._prices.get(key)
        except TypeError:  # no condition of a price is a list
            return None
        if prices is None:
            candidate = self.candidate
            prices = self._prices[key] = FormPrices(self._book, candidate.provider, candidate.model, None, kept)
        if ratio.low == ratio.high == 1:
            return _Way(prices, ())
        low, likely, high = ratio
        return _Way(
            prices,
            (
                (low.numerator, low.denominator, 0),
                (likely.numerator, likely.denominator, likely.denominator // 2),
                (high.numerator, high.denominator, high.denominator - 1),
            ),
        )

    def used_tools(self, reasons: str | None) -> bool:
        """Whether the reasons to stop (JSON) tell that tools were offered."""
        if reasons is None:
            return False
        found = self._tools.get(reasons)
        if found is None:
            found = bool(TOOLS & set(json.loads(reasons)))
            if len(self._tools) < _MOST:
                self._tools[reasons] = found
        return found

    def _price(
        self, way: _Way, instant: float, usual: Parts, currency: str | None
    ) -> tuple[list[tuple[str, int]], str] | None:
        """The amount of every step, and the currency; None where one of them has no price."""
        was = self._amount(way.prices, instant, usual)
        if was is None:
            return None
        amount, linear = was
        assumed = usual if self._keep else self._cached(usual)
        same = was if assumed is usual else self._amount(way.prices, instant, assumed)
        if same is None:
            return None
        amounts = [("as_they_were", amount), ("same_tokens", same[0]), ("with_tools", same[0])]
        likely = assumed
        if way.scales:
            for name, (times, per, above) in zip(_ENDS, way.scales, strict=True):
                parts = _scaled(usual, times, per, above)
                parts = parts if self._keep else self._cached(parts)
                end = self._amount(way.prices, instant, parts)
                if end is None:
                    return None
                amounts.append((name, end[0]))
                if name == "likely":
                    likely, linear = parts, end[1]
        else:
            amounts += [(name, same[0]) for name in _ENDS]
            linear = same[1]
        if linear.currency == currency:  # what breaks even is only known in one currency
            whole_in, whole_out, _, _, thought = likely
            for name, read in (("uncached", 0), ("all_cached", whole_in)):
                found = self._amount(way.prices, instant, (whole_in, whole_out, read, 0, thought))
                if found is None:
                    return None
                amounts.append((name, found[0]))
        return amounts, linear.currency

    def _cached(self, parts: Parts) -> Parts:
        assert self._rate is not None  # `add` leaves all calls then
        whole_in, whole_out, _, _, thought = parts
        times, per = self._rate
        return whole_in, whole_out, whole_in * times // per, 0, thought

    @staticmethod
    def _amount(prices: FormPrices, instant: float, parts: Parts) -> tuple[int, LinearPrices] | None:
        whole_in, whole_out, read, written, thought = parts
        tokens = (whole_in - read - written, read, written, whole_out - thought, thought)
        found = prices.at(instant, whole_in, whole_out, tokens)
        if found is None:
            return None
        amount = found.amount(tokens)
        return None if amount is None else (amount, found)


def _scaled(parts: Parts, times: int, per: int, above: int) -> Parts:
    """Totals with what is added before the division, parts rounded down: as `token_ratios.scaled`."""
    whole_in, whole_out, read, written, thought = parts
    return (
        (whole_in * times + above) // per, (whole_out * times + above) // per, read * times // per,
        written * times // per, thought * times // per,
    )  # fmt: skip
