"""What made the spend of a currency change between two periods: volume, price, cache and mix.

The causes add up to the change exactly: each of volume, price and cache is rounded to twelve decimals, and mix is
what remains.

- volume: as many more or fewer tokens at the average price of the period before (of calls, where none has tokens).
- price: what was used now of each provider, model and component of both periods, by how much its unit price moved.
- cache: the input of each model of both periods, by how its split between fresh and cached moved, at old unit prices.
- mix: other models and components, models that came or went, and costs that are the vendor's own figure.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from typing import Any, Final

from tokenmeter.components import component_of
from tokenmeter.money import EXACT, plain

__all__ = ["Causes", "Comparison", "Spent", "decompose"]

_ROUND: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_STEP: Final = Decimal("1E-12")


@dataclass(frozen=True)
class Causes:
    """Why the spend of a currency changed; the four parts add up to `change`."""

    currency: str
    change: Decimal
    volume: Decimal
    price: Decimal
    cache: Decimal
    mix: Decimal

    def to_dict(self) -> dict[str, str]:
        """JSON form; amounts are exact."""
        parts = {name: plain(getattr(self, name)) for name in ("change", "volume", "price", "cache", "mix")}
        return {"currency": self.currency, **parts}


@dataclass(frozen=True)
class Comparison:
    """The earlier period of a report, and what each currency's change comes from."""

    since: datetime
    until: datetime
    causes: tuple[Causes, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        period = {"since": self.since.isoformat(), "until": self.until.isoformat()}
        return {**period, "causes": [one.to_dict() for one in self.causes]}


@dataclass
class Spent:
    """What one currency's calls cost, and by SKU (provider, model, component) how much was used and paid."""

    total: Decimal = Decimal(0)
    calls: int = 0
    skus: dict[tuple[str, str, str], tuple[Fraction, Fraction]] = field(default_factory=dict)


def decompose(old: Mapping[str, Spent], new: Mapping[str, Spent]) -> Iterator[Causes]:
    """The causes of each currency's change, by currency."""
    for currency in sorted({*old, *new}):
        before, after = old.get(currency, Spent()), new.get(currency, Spent())
        change = EXACT.subtract(after.total, before.total)
        volume, price, cache = (_rounded(part) for part in (_volume(before, after), *_price_and_cache(before, after)))
        mix = EXACT.subtract(change, EXACT.add(EXACT.add(volume, price), cache))
        yield Causes(currency, change, volume, price, cache, mix)


def _rounded(part: Fraction) -> Decimal:
    return _ROUND.quantize(_ROUND.divide(Decimal(part.numerator), Decimal(part.denominator)), _STEP)


def _tokens(spent: Spent) -> Fraction:
    skus = spent.skus
    return sum((used for (_, _, component), (used, _) in skus.items() if _is_token(component)), Fraction(0))


def _is_token(component: str) -> bool:
    found = component_of(component)
    return found is not None and found.unit == "{token}"


def _volume(before: Spent, after: Spent) -> Fraction:
    old, new = _tokens(before), _tokens(after)
    if not old or not new:
        old, new = Fraction(before.calls), Fraction(after.calls)
    return Fraction(before.total) * (new / old - 1) if old else Fraction(0)


def _price_and_cache(before: Spent, after: Spent) -> tuple[Fraction, Fraction]:
    old, new = before.skus, after.skus
    price = Fraction(0)
    inputs: dict[tuple[str, str], list[tuple[Fraction, Fraction, Fraction]]] = defaultdict(list)
    for sku, (used, paid) in new.items():
        used_before, paid_before = old.get(sku, (Fraction(0), Fraction(0)))
        if used and used_before:
            price += paid - used * paid_before / used_before
        if _is_input(sku[2]) and (used_before or not used):
            inputs[sku[:2]].append((used_before, used, paid_before / used_before if used_before else Fraction(0)))
    for sku, (used_before, paid_before) in old.items():
        if sku not in new and _is_input(sku[2]) and used_before:
            inputs[sku[:2]].append((used_before, Fraction(0), paid_before / used_before))
    return price, sum((_shifted(parts) for parts in inputs.values()), Fraction(0))


def _is_input(component: str) -> bool:
    return component in ("input", "cache_read") or component.startswith("cache_write")


def _shifted(parts: list[tuple[Fraction, Fraction, Fraction]]) -> Fraction:
    """What the new split of one model's input costs more than the old split, at old prices and the new amount."""
    old, new = sum(part[0] for part in parts), sum(part[1] for part in parts)
    if not old or not new:
        return Fraction(0)
    return sum(((used - new * before / old) * unit for before, used, unit in parts), Fraction(0))
