"""Lay everything else over the cards of input and output text.

Caches, batch, service tiers, regions and media have stories of their own, told by fewer sources and often later. A price
that is only seen later than the card it belongs to is taken to have held since the card began, unless a date says
otherwise; a price that changes opens a new card.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from itertools import zip_longest
from typing import Any

from facts import Fact, Slot
from names import Model
from timeline import MAIN, TODAY, Card, Story, day

@dataclass(slots=True)
class Rate:
    """One entry of the book: everything one model costs on one list, from an instant on."""

    start: str | None
    dated: bool
    prices: dict[Slot, Decimal]
    givers: dict[Slot, Fact]
    agreeing: list[Fact] = field(default_factory=list)
    families: set[str] = field(default_factory=set)
    until: str | None = None
    promotion: bool = False
    multipliers: list[tuple[tuple[tuple[str, str], ...], Any]] = field(default_factory=list)


def is_main(slot: Slot) -> bool:
    """Input or output text without conditions but thinking."""
    return slot.component in MAIN and all(name == "thinking" for name, _ in slot.when)


def rates_of(model: Model) -> list[Rate]:
    """The complete entries of one model."""
    for fact in model.facts:
        if fact.price == 0 and not fact.vouched:
            fact.left_out = "a zero nobody calls free: a catalog's placeholder"
    model.facts = [fact for fact in model.facts if fact.left_out is None]
    _date_pages(model)
    _doubt_dates(model)
    cards = Story(model.facts, is_main).cards
    extras = [Story(model.facts, wanted, patient).cards for wanted, patient in _groups(model)]
    if not cards:
        cards = [Card(start, False, {}, {}) for start in _starts(extras)]
    rates: list[Rate] = []
    for card, after in zip_longest(cards, cards[1:]):
        rates += _fill(card, after, extras)
    rates = _merge([r for r in rates if r.prices])
    for rate in rates:
        for fact in rate.agreeing:
            fact.used, fact.left_out = True, None
    told = {(slot, price) for rate in rates for slot, price in rate.prices.items()}
    for fact in model.facts:
        if not fact.used and fact.left_out is None:
            fact.used = any((slot, fact.price) in told for slot in fact.slots)
            fact.left_out = None if fact.used else "its own source gave another price for the same days"
    return rates


def _date_pages(model: Model) -> None:
    """A vendor's page without a date speaks from the day its price was first seen."""
    for page in model.facts:
        if page.primary and page.start is None and page.until is None:
            seen = [
                f.first
                for f in model.facts
                if f.first and f.price == page.price and {(s.component, s.when) for s in f.slots} & {(s.component, s.when) for s in page.slots}
            ]
            page.first, page.page = min(seen, default=TODAY), True


def _doubt_dates(model: Model) -> None:
    """A catalog that keeps only today's price dates it from the model's release.

    Its date is believed where nobody vouched for was seen with another price since; else the price counts from the
    day the catalog was read.
    """
    for fact in model.facts:
        read = fact.raw["source_date"]
        if fact.primary or not fact.effective or fact.until or not read or fact.forced or fact.effective > read:
            continue
        rivals = [
            f
            for f in model.facts
            if f.family != fact.family and f.price != fact.price and set(f.slots) & set(fact.slots)
            and (f.primary or f.agree) and not f.question
            and (fact.effective[:10] < (f.first or "") < read or _outlived(fact.effective, f.raw.get("observed_to"), read))
        ]  # fmt: skip
        if rivals:
            fact.effective, fact.first = None, read


def _outlived(date: str, end: str | None, read: str) -> bool:
    """Whether a rival price was still shown long after the date: more than a catalog's usual delay."""
    return end is not None and end < read and not _within(date, end, timedelta(days=60))


def _groups(model: Model) -> list[tuple[Callable[[Slot], bool], bool]]:
    """What is told together (all that one condition changes, patiently; each plain component of its own)."""
    slots = {s for f in model.facts for s in f.slots if not is_main(s)}
    conditions = sorted({s.when for s in slots if s.when})
    plain = sorted({s.component for s in slots if not s.when})
    return [
        *((lambda s, w=when: s.when == w and not is_main(s), True) for when in conditions),  # type: ignore[misc]
        *((lambda s, n=name: s.component == n and not s.when, False) for name in plain),  # type: ignore[misc]
    ]


def _starts(extras: list[list[Card]]) -> list[str | None]:
    first: list[str | None] = [c.start for cards in extras for c in cards[:1]]
    return sorted(first, key=lambda s: s or "")[:1]


def _fill(card: Card, after: Card | None, extras: list[list[Card]]) -> list[Rate]:
    begin = card.start or ""
    end = (after.start or "") if after else "9999"
    base: list[Card] = []
    later: list[tuple[str, Card]] = []
    for told in extras:
        held = [c for c in told if (c.start or "") <= begin or day(c.start or "") == day(begin)]
        inner = [c for c in told if c not in held and (c.start or "") < end]
        now = held[-1] if held and _lasts(held[-1], begin) else None
        if inner and not _official(inner[0]) and _belongs(begin, now, inner[0]):
            now = inner.pop(0)
        if now is not None:
            base.append(now)
        later += [(c.start or "", c) for c in inner]
    rates = [_rate(card, card.start, card.dated, base)]
    current = base
    for at in sorted({at for at, _ in later}):
        fresh = [c for when, c in later if when == at]
        told_again = {id(c) for cards in extras if any(c in cards for c in fresh) for c in cards}
        current = [c for c in current if id(c) not in told_again] + fresh
        rates.append(_rate(card, at, any(c.dated for c in fresh), current))
    return rates


def _belongs(begin: str, now: Card | None, later: Card) -> bool:
    """Whether a price seen only later held since the card began."""
    if later.dated and not _near(begin, later):
        return False
    if now is None or not begin:
        return True
    # Sources change their cache prices some days after the prices they belong to.
    return (now.start or "") < begin and _near(begin, later)


def _official(card: Card) -> bool:
    return card.dated and card.rank >= 100


def _lasts(card: Card, begin: str) -> bool:
    """Whether some source still carried it shortly after `begin`."""
    if (card.start or "") >= begin:
        return True
    for fact in card.agreeing:
        ended = fact.until or fact.raw.get("observed_to")
        if ended is None or (not _within(begin, ended, timedelta(days=3)) and day(ended) > day(begin)):
            return True
    return False


def _near(begin: str, card: Card) -> bool:
    return bool(begin) and _within(begin, card.start or "", timedelta(days=45))


def _within(one: str, two: str, span: timedelta) -> bool:
    return date.fromisoformat(day(two)) - date.fromisoformat(day(one)) <= span


def _rate(card: Card, start: str | None, dated: bool, extras: list[Card]) -> Rate:
    rate = Rate(start, dated, dict(card.prices), dict(card.givers), list(card.agreeing), set(card.families), card.until, card.promotion)
    for extra in extras:
        rate.prices.update(extra.prices)
        rate.givers.update(extra.givers)
        rate.agreeing += [f for f in extra.agreeing if f not in rate.agreeing]
        if not card.prices:
            rate.families |= extra.families
            rate.dated = rate.dated or extra.dated
    return rate


def _merge(rates: list[Rate]) -> list[Rate]:
    """Join neighbours of equal prices, and drop zeros nobody vouches for."""
    answer: list[Rate] = []
    outputs = {price for rate in rates for slot, price in rate.prices.items() if slot.component == "output"}
    for rate in rates:
        _vouch(rate)
        _plain_thoughts(rate, outputs)
        _true_discounts(rate)
        if not rate.prices:
            continue
        before = answer[-1] if answer else None
        if before and before.prices == rate.prices and not before.until:
            before.agreeing += [f for f in rate.agreeing if f not in before.agreeing]
            before.families |= rate.families
        else:
            answer.append(rate)
    return answer


_CHEAPER = {("batch", "true"), ("service_tier", "flex")}
_DEARER = {("service_tier", "priority"), ("speed", "fast")}


def _true_discounts(rate: Rate) -> None:
    """A batch or flex price above the plain one, or a priority price below it, belongs to other days."""
    for slot in [s for s in rate.prices if s.component in MAIN]:
        base = [p for s, p in rate.prices.items() if s.component == slot.component and not s.when]
        if not base or slot not in rate.prices:
            continue
        price, when = rate.prices[slot], set(slot.when)
        if (when & _CHEAPER and price > max(base)) or (when & _DEARER and price <= min(base)):
            for other in [s for s in rate.prices if s.when == slot.when]:
                gone = rate.givers.pop(other)
                del rate.prices[other]
                rate.agreeing = [f for f in rate.agreeing if f is not gone]
                gone.left_out = gone.left_out or "a discount above the plain price, or a surcharge not above it: of other days"


def _plain_thoughts(rate: Rate, outputs: set[Decimal]) -> None:
    """Reasoning that costs what output costs, or once did, needs no price of its own."""
    for slot in [s for s in rate.prices if s.component == "reasoning_output"]:
        if rate.prices[slot] in outputs or not any(s.component == "output" for s in rate.prices):
            del rate.prices[slot], rate.givers[slot]


def _vouch(rate: Rate) -> None:
    mains = [s for s in rate.prices if is_main(s)]
    zeros = [s for s, p in rate.prices.items() if p == 0]
    if not zeros:
        return
    free = mains and all(rate.prices[s] == 0 for s in mains)
    told = free and any(f.price == 0 and f.vouched for f in rate.agreeing)
    gone = [s for s, p in rate.prices.items() if p] if told else (list(rate.prices) if free else zeros)
    why = "a price beside a free model's" if told else "a zero nobody calls free: a catalog's placeholder" if free else "a zero beside prices: a catalog's placeholder"
    for slot in gone:
        fact = rate.givers.pop(slot)
        del rate.prices[slot]
        for other in rate.agreeing:
            if slot in other.slots and (other.price == 0 or free) and other.left_out is None:
                other.left_out = why
        fact.left_out = fact.left_out or why
    rate.agreeing = [f for f in rate.agreeing if f.left_out != why]
