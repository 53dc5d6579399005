"""One model of a comparison: its sums, what drives the difference, and the cache rate at which it breaks even."""

from __future__ import annotations

import decimal
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final

from tokenmeter.money import EXACT, plain

__all__ = ["Candidate", "Sums"]

_RATIO: Final = decimal.Context(prec=40, rounding=decimal.ROUND_HALF_EVEN)
_PLACES: Final = Decimal("0.0001")
_ZERO: Final = Decimal(0)
Sums = dict[str, Decimal]


@dataclass(slots=True)
class Candidate:
    """One model and what the calls would cost as its calls. Money is exact, in `currency`.

    The steps from the ledger's spend to `likely`: `as_they_were` has the model's prices on the same tokens, the cache
    as it was; `same_tokens` what the cache is assumed to read; `with_tools` the model's own rendering of tools;
    `likely` its own tokens. `rests_on` is the ledger's spend on the calls that are in it.
    """

    provider: str
    model: str
    currency: str | None = None
    sums: Sums = field(default_factory=lambda: defaultdict(Decimal))
    rests_on: Sums = field(default_factory=lambda: defaultdict(Decimal))
    calls: int = 0
    recounted: int = 0
    """Calls that were counted anew from their requests."""
    unknown: Counter[str] = field(default_factory=Counter)
    cache_as_input: int = 0
    """Calls whose cached tokens are priced as plain input, because the model has no price for them."""
    cache_rate: Fraction | None = None
    """The measured share of input that the model's own calls read from the cache, where that is used."""
    unpriced: int = 0
    """Calls in it whose cost the ledger does not know."""

    @property
    def name(self) -> tuple[str, str]:
        """Provider and model."""
        return self.provider, self.model

    def add(self, name: str, amount: Decimal) -> None:
        """Add to a sum: low, likely, high, a step, uncached, all_cached."""
        self.sums[name] = EXACT.add(self.sums[name], amount)

    def _spend(self) -> Decimal | None:
        """The ledger's spend on the same calls, in this currency; None where some of it is in another or not known."""
        if self.unpriced or len(self.rests_on) != 1:
            return None
        return self.rests_on.get(self.currency or "")

    def break_even_cache_rate(self) -> Decimal | None:
        """The share of input read from the cache at which `likely` equals the ledger's spend on the same calls.

        None in another currency, and where no share between 0 and 1 does.
        """
        spend = self._spend()
        if spend is None or not self.sums["uncached"]:
            return None
        none, whole = self.sums["uncached"], self.sums["all_cached"]
        if none <= whole or not whole <= spend <= none:
            return None
        rate = _RATIO.divide(EXACT.subtract(none, spend), EXACT.subtract(none, whole))
        return rate.quantize(_PLACES, context=_RATIO)

    def drivers(self) -> dict[str, Decimal | None]:
        """What leads from the ledger's spend to `likely`; they add up to the difference, exactly.

        `prices` is None where the spend is in another currency, or not known for all calls.
        """
        sums, spend = self.sums, self._spend()
        steps = ("as_they_were", "same_tokens", "with_tools", "likely")
        moved = [EXACT.subtract(sums[after], sums[before]) for before, after in pairwise(steps)]
        prices = None if spend is None else EXACT.subtract(sums["as_they_were"], spend)
        return {"prices": prices, "cache": moved[0], "tools": moved[1], "tokenizer": moved[2]}

    def to_dict(self, spend: Mapping[str, Decimal]) -> dict[str, Any]:
        """The JSON form: exact numbers as plain strings; null where no call could be priced."""
        rate, share = self.break_even_cache_rate(), self.cache_rate
        return {
            "provider": self.provider,
            "model": self.model,
            "currency": self.currency,
            **{
                name: plain(self.sums[name]) if self.calls else None
                for name in ("low", "likely", "high", "same_tokens")
            },
            "drivers": {name: _plain(amount) for name, amount in self.drivers().items()} if self.calls else None,
            "calls": self.calls,
            "recounted": self.recounted,
            "unpriced": self.unpriced,
            "rests_on": [
                {"currency": currency, "amount": plain(self.rests_on.get(currency, _ZERO)), "share": plain(part)}
                for currency, part in _shares(self.rests_on, spend)
            ],
            "break_even_cache_rate": _plain(rate),
            "cache_rate": None
            if share is None
            else plain(
                _RATIO.divide(Decimal(share.numerator), Decimal(share.denominator)).quantize(_PLACES, context=_RATIO)
            ),
            "cache_as_input": self.cache_as_input,
            "unknown": dict(self.unknown.most_common()),
        }


def _plain(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def _shares(part: Mapping[str, Decimal], whole: Mapping[str, Decimal]) -> Iterable[tuple[str, Decimal]]:
    for currency, sum_ in sorted(whole.items()):
        if sum_:
            share = _RATIO.divide(part.get(currency, _ZERO), sum_)
            yield currency, share.quantize(_PLACES, rounding=decimal.ROUND_DOWN, context=_RATIO)
