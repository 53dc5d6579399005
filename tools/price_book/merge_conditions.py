"""Merges caches, batch, service tiers, regions and media into the rate cards of input and output text.

Their prices have histories of their own, from fewer sources and often of later days. A price first seen after the card
it belongs to is taken to hold since the card began, unless a date says otherwise; a price that changes opens a new
entry.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta
from decimal import Decimal
from itertools import zip_longest

from tools.price_book.announcements import leave_forecasts, mark
from tools.price_book.date_evidence import date_pages, distrust_release_dates
from tools.price_book.entries import Entry, is_main, merge
from tools.price_book.facts import Slot
from tools.price_book.model_groups import Model
from tools.price_book.rate_cards import RateCard, day, within
from tools.price_book.source_history import ReconciledHistory


def entries_of(model: Model) -> list[Entry]:
    """The complete entries of one model."""
    for fact in model.facts:
        if fact.price == 0 and not fact.vouched:
            fact.left_out = "a zero nobody calls free: a catalog's placeholder"
    open_days = leave_forecasts([fact for fact in model.facts if fact.left_out is None])
    model.facts = [fact for fact in model.facts if fact.left_out is None]
    date_pages(model)
    distrust_release_dates(model)
    cards = ReconciledHistory(model.facts, is_main).cards
    extras = [ReconciledHistory(model.facts, wanted, patient).cards for wanted, patient in _groups(model)]
    if not cards:
        cards = [RateCard(start, False, {}, {}) for start in _starts(extras)]
    rates: list[Entry] = []
    bases: dict[str, set[tuple[Slot, Decimal]]] = defaultdict(set)
    for fact in model.facts:
        bases[fact.family] |= {(slot, fact.price) for slot in fact.slots if is_main(slot)}
    for card, after in zip_longest(cards, cards[1:]):
        own = [[extra for extra in history if _read_with(card, extra, bases)] for history in extras]
        rates += _fill(card, after, own)
    rates = merge([r for r in rates if r.prices])
    mark(rates, open_days)
    for rate in rates:
        for fact in rate.agreeing:
            fact.used, fact.left_out = True, None
    written = {(slot, price) for rate in rates for slot, price in rate.prices.items()}
    for fact in model.facts:
        if not fact.used and fact.left_out is None:
            fact.used = any((slot, fact.price) in written for slot in fact.slots)
            fact.left_out = None if fact.used else "its own source gave another price for the same days"
    return rates


def _groups(model: Model) -> list[tuple[Callable[[Slot], bool], bool]]:
    """The slots reconciled together: all that one condition changes (`patient`), and each plain component by itself."""
    slots = {s for f in model.facts for s in f.slots if not is_main(s)}
    conditions = sorted({s.when for s in slots if s.when})
    plain = sorted({s.component for s in slots if not s.when})
    return [
        *((lambda s, w=when: s.when == w and not is_main(s), True) for when in conditions),
        *((lambda s, n=name: s.component == n and not s.when, False) for name in plain),
    ]


def _read_with(card: RateCard, extra: RateCard, bases: Mapping[str, set[tuple[Slot, Decimal]]]) -> bool:
    """Whether a source that shows the extra shows this card's base too, or no base at all.

    A price of a batch, a tier or a cache belongs to the base beside which it was read; beside another base it would
    make a price that no source ever had.
    """
    if not card.prices or any(fact.primary or fact.forced for fact in extra.agreeing):
        return True
    if all(slot.component in _APART for slot in extra.prices):
        return True
    base = {(slot, price) for slot, price in card.prices.items() if is_main(slot)}
    return any(not bases.get(fact.family) or base & bases[fact.family] for fact in extra.agreeing)


#: What is not a price of the model's text: a tool's fee, or another medium's units.
_APART = frozenset({"web_search", "cache_storage", "images", "input_images", "request", "video_seconds"})


def _starts(extras: list[list[RateCard]]) -> list[str | None]:
    first: list[str | None] = [c.start for cards in extras for c in cards[:1]]
    return sorted(first, key=lambda s: s or "")[:1]


def _fill(card: RateCard, after: RateCard | None, extras: list[list[RateCard]]) -> list[Entry]:
    begin = card.start or ""
    end = (after.start or "") if after else "9999"
    base: list[RateCard] = []
    later: list[tuple[str, RateCard]] = []
    for history in extras:
        in_force = [c for c in history if (c.start or "") <= begin or day(c.start or "") == day(begin)]
        inner = [c for c in history if c not in in_force and (c.start or "") < end]
        now = in_force[-1] if in_force and _lasts(in_force[-1], begin) else None
        if inner and not _official(inner[0]) and _belongs(begin, now, inner[0]):
            now = inner.pop(0)
        if now is not None:
            base.append(now)
        later += [(c.start or "", c) for c in inner]
    rates = [_rate(card, card.start, card.dated, base)]
    current = base
    for at in sorted({at for at, _ in later}):
        fresh = [c for when, c in later if when == at]
        superseded = {id(c) for cards in extras if any(c in cards for c in fresh) for c in cards}
        current = [c for c in current if id(c) not in superseded] + fresh
        rates.append(_rate(card, at, any(c.dated for c in fresh), current))
    return rates


def _belongs(begin: str, now: RateCard | None, later: RateCard) -> bool:
    """Whether a price seen only later was in force since the card began."""
    if later.dated and not _near(begin, later):
        return False
    if now is None or not begin:
        return True
    # Sources change their cache prices some days after the prices they belong to.
    return (now.start or "") < begin and _near(begin, later)


def _official(card: RateCard) -> bool:
    return card.dated and card.rank >= 100


def _lasts(card: RateCard, begin: str) -> bool:
    """Whether some source still carried it shortly after `begin`, or says that it ended later."""
    if (card.start or "") >= begin:
        return True
    for fact in card.agreeing:
        ended = fact.until or fact.raw.get("observed_to")
        stated = fact.until is not None and fact.until > begin
        if ended is None or stated or (not within(begin, ended, timedelta(days=3)) and day(ended) > day(begin)):
            return True
    return False


def _near(begin: str, card: RateCard) -> bool:
    return bool(begin) and within(begin, card.start or "", timedelta(days=45))


def _rate(card: RateCard, start: str | None, dated: bool, extras: list[RateCard]) -> Entry:
    rate = Entry(
        start,
        dated,
        dict(card.prices),
        dict(card.givers),
        list(card.agreeing),
        set(card.families),
        card.until,
        card.promotion,
    )
    for extra in extras:
        rate.prices.update(extra.prices)
        rate.givers.update(extra.givers)
        rate.agreeing += [f for f in extra.agreeing if f not in rate.agreeing]
        if not card.prices:
            rate.families |= extra.families
            rate.dated = rate.dated or extra.dated
    return rate
