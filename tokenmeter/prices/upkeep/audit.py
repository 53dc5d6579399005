"""Reports what is sound in a price file but improbable: overlaps, gaps, jumps, unit slips, reviews that are due.

`check` refuses what cannot be used; this reports what is improbable. A `problem` is almost surely a
mistake in the file, a `notice` may well be what the vendor did: 20 to 0.5 CNY was.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from tokenmeter.prices.model_names import ModelNames
from tokenmeter.prices.price_file import EVER, PriceFile, Rate
from tokenmeter.prices.upkeep.card_rules import RULES, broken_rules, excepted
from tokenmeter.prices.upkeep.price_history import component_prices
from tokenmeter.prices.upkeep.sibling_rules import SIBLING_RULES, broken_between

__all__ = ["Finding", "audit"]

_JUMP: Final = 10
_SLIP: Final = 1000
_DEAREST: Final = Decimal(10_000)  # per million tokens: no vendor has asked more in any currency of the book
_PER_MILLION: Final = ("input", "output", "cache_read", "cache_write", "reasoning_output")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to look at. `severity` is `problem` or `notice`."""

    severity: str
    kind: str
    place: str
    message: str


def audit(file: PriceFile, today: date, below: Sequence[PriceFile] = ()) -> Iterator[Finding]:
    """Everything improbable in one price file; `below` are the files it is laid over, whose models it may name."""
    for model in file.entries:
        for name in file.lists(model):
            timeline = file.timeline(model, name)
            if timeline is None:
                continue
            for rate in timeline.rates:
                yield from _alone(rate, today)
            for before, after in zip(timeline.rates, timeline.rates[1:], strict=False):
                yield from _together(before, after)
    for rate, rule, figures in broken_between(file):
        if not excepted(file, rate, rule):
            yield Finding("problem", rule, rate.id, f"{SIBLING_RULES[rule]}: {figures}")
    own = {entry["model"] for entry in file.data.get("alias", ())}
    for name, target in ModelNames([file, *reversed(below)]).dead_ends():
        if name not in own:
            continue
        yield Finding("problem", "alias", f"{file.provider}/{name}", f"{target!r} is no model of this book")


def _alone(rate: Rate, today: date) -> Iterator[Finding]:
    review = rate.review_by()
    if review is not None and review < today:
        yield Finding("notice", "review", rate.id, f"was to be read again by {review}")
    prices = rate.prices()
    for name in _PER_MILLION:
        price = prices.base.get(name)
        if price is not None and price > _DEAREST:
            yield Finding("problem", "unit", rate.id, f"{name} = {price} per million tokens: a slip of the unit?")
    for rule, figures in broken_rules(rate):
        if not excepted(rate.file, rate, rule):
            yield Finding("problem", rule, rate.id, f"{RULES[rule]}: {figures}")
    yield from _tier_gaps(rate)


def _tier_gaps(rate: Rate) -> Iterator[Finding]:
    """A tier that ends without another going on: above it the base price would apply again."""
    prices = rate.prices()
    plain_tiers = [
        case.ranges[0]
        for case in prices.cases
        if len(case.ranges) == 1 and not (case.names or case.switches or case.windows) and case.sets
    ]
    for quantity in {tier.quantity for tier in plain_tiers}:
        tiers = [tier for tier in plain_tiers if tier.quantity == quantity]
        edges = sorted({edge for tier in tiers for edge in (tier.low, tier.high) if edge is not None})
        covered = [any(tier.contains(edge) for tier in tiers) for edge in edges]
        for index in range(1, len(edges)):
            if covered[index - 1] and not covered[index]:
                message = f"no tier from {edges[index]} {quantity} on: the base price applies there"
                yield Finding("notice" if index == len(edges) - 1 else "problem", "tier-gap", rate.id, message)


def _together(before: Rate, after: Rate) -> Iterator[Finding]:
    if before.start == after.start:
        yield Finding("problem", "overlap", after.id, "two entries begin at the same instant")
        return
    if before.dating == after.dating == "observed" and before.last_known > after.start + 86_400:
        yield Finding("notice", "overlap", after.id, f"{before.id} was still observed when this one was first")
    if before.until < EVER and before.until < after.start:
        yield Finding("notice", "gap", after.id, f"nothing is known between the end of {before.id} and this one")
    was, now = component_prices(before), component_prices(after)
    for name in was.keys() & now.keys():
        try:
            old, new = Decimal(was[name]), Decimal(now[name])
        except ArithmeticError:
            continue
        if not old or not new:
            continue
        ratio = max(old / new, new / old)
        if ratio >= _SLIP:
            yield Finding("problem", "unit", after.id, f"{name} goes from {old} to {new}: a slip of the unit?")
        elif ratio >= _JUMP:
            yield Finding("notice", "jump", after.id, f"{name} goes from {old} to {new}")
