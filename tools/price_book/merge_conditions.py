"""Merges caches, batch, service tiers, regions and media into the rate cards of input and output text.

Their prices have histories of their own, from fewer sources and often of later days. A price first seen after the card
that it belongs to completes the card from its beginning if the calls that it prices had no price there
(`completion.py`); one that would change the cost of a call holds from its own day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from decimal import Decimal
from functools import partial
from itertools import zip_longest
from typing import Final

from tokenmeter.components import component_of
from tools.price_book.announcements import leave_forecasts, mark
from tools.price_book.completion import Completes
from tools.price_book.date_evidence import date_pages, distrust_release_dates
from tools.price_book.entries import Entry, is_main, merge
from tools.price_book.facts import Fact, Slot
from tools.price_book.model_groups import Model
from tools.price_book.rate_cards import RateCard, SourceRun, day, within
from tools.price_book.slips import leave_slips
from tools.price_book.source_history import ReconciledHistory


def entries_of(model: Model, completes: Completes) -> list[Entry]:
    """The complete entries of one model; `completes` says which slots an older card may be completed with."""
    for fact in model.facts:
        if fact.price == 0 and not fact.vouched:
            fact.left_out = "a zero nobody calls free: a catalog's placeholder"
    leave_slips(model.facts)
    open_days = leave_forecasts([fact for fact in model.facts if fact.left_out is None])
    model.facts = [fact for fact in model.facts if fact.left_out is None]
    date_pages(model)
    distrust_release_dates(model)
    cards = ReconciledHistory(model.facts, is_main).cards
    bases = [fact for fact in model.facts if any(is_main(slot) for slot in fact.slots)]
    current = partial(_current, cards, bases)
    extras = [ReconciledHistory(model.facts, wanted, current).cards for wanted in _groups(model)]
    if begin := _begins_without_text(cards, extras):
        cards = [RateCard(begin, False, {}, {}), *cards]
    if not cards:
        cards = [RateCard(start, False, {}, {}) for start in _starts(extras)]
    rates: list[Entry] = []
    for card, after in zip_longest(cards, cards[1:]):
        own = [[extra for extra in history if _read_with(card, extra, bases)] for history in extras]
        rates += _fill(card, after, own, completes)
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


def _groups(model: Model) -> list[Callable[[Slot], bool]]:
    """The slots reconciled together: all that one condition changes, and each plain component by itself."""
    slots = {s for f in model.facts for s in f.slots if not is_main(s)}
    conditions = sorted({s.when for s in slots if s.when})
    plain = sorted({s.component for s in slots if not s.when})
    return [
        *((lambda s, w=when: s.when == w and not is_main(s)) for when in conditions),
        *((lambda s, n=name: s.component == n and not s.when) for name in plain),
    ]


def _current(cards: Sequence[RateCard], bases: Sequence[Fact], run: SourceRun) -> bool:
    """Whether the run's source shows the price of text that is in force when the run begins."""
    at = day(run.start or "")
    card = next((card for card in reversed(cards) if day(card.start or "") <= at), None)
    families = {fact.family for fact in run.facts.values()}
    beside = [b for b in bases if b.family in families and _first(b) <= at <= (b.last or b.as_of)]
    if card is None or not beside:
        return False
    return bool(_text(card) & _figures(beside))


def _read_with(card: RateCard, extra: RateCard, bases: Sequence[Fact]) -> bool:
    """Whether a source that shows the extra shows this card's base in the same days, or no base at all.

    A price of a batch, a tier or a cache belongs to the base beside which it was read; beside another base it would
    make a price that no source ever had.
    """
    if not card.prices or any(fact.primary or fact.forced for fact in extra.agreeing):
        return True
    if all(slot.component in _APART for slot in extra.prices):
        return True
    for fact in extra.agreeing:
        beside = [b for b in bases if b.family == fact.family and _overlap(b, fact)]
        if not beside or _text(card) & _figures(beside):
            return True
    return False


def _text(card: RateCard) -> set[tuple[str, Decimal]]:
    """The card's prices of text, whatever the tier: sources cut the tiers of one list at other edges."""
    return {(slot.component, price) for slot, price in card.prices.items() if is_main(slot)}


def _figures(facts: Iterable[Fact]) -> set[tuple[str, Decimal]]:
    return {(slot.component, fact.price) for fact in facts for slot in fact.slots}


def _overlap(one: Fact, two: Fact) -> bool:
    """Whether two prices were shown in the same days, as far as their readings reach."""
    return _first(one) <= (two.last or two.as_of) and _first(two) <= (one.last or one.as_of)


def _first(fact: Fact) -> str:
    return day(fact.start or "")


#: What is not a price of the model's text: a tool's fee, or another medium's units.
_APART: Final = frozenset({"web_search", "cache_storage", "images", "input_images", "request", "video_seconds"})


def _sells(name: str) -> bool:
    """Whether a price of it can be all that a call costs: not so a price of cached tokens or thoughts, or a fee."""
    part = component_of(name)
    return part is not None and not part.beside and (part.inside is None or part.modality is not None)


def _begins_without_text(cards: Sequence[RateCard], extras: Sequence[Sequence[RateCard]]) -> str | None:
    """The day from which the model was sold by the image, or in batches, if that is before its first price of text."""
    if not cards or cards[0].start is None:
        return None
    starts = [
        card.start
        for card in (history[0] for history in extras if history)
        if any(_sells(s.component) for s in card.prices)
    ]
    first = min((start for start in starts if start), default=None)
    return first if first and day(first) < day(cards[0].start) else None


def _starts(extras: Sequence[Sequence[RateCard]]) -> list[str | None]:
    first: list[str | None] = [c.start for cards in extras for c in cards[:1]]
    return sorted(first, key=lambda s: s or "")[:1]


def _fill(card: RateCard, after: RateCard | None, extras: list[list[RateCard]], completes: Completes) -> list[Entry]:
    begin = card.start or ""
    end = (after.start or "") if after else "9999"
    base: list[RateCard] = []
    later: list[tuple[str, RateCard]] = []
    for history in extras:
        in_force = [c for c in history if (c.start or "") <= begin or day(c.start or "") == day(begin)]
        inner = [c for c in history if c not in in_force and (c.start or "") < end]
        now = in_force[-1] if in_force and _lasts(in_force[-1], begin) else None
        if inner and now is None and _belongs(begin, inner[0]) and all(map(completes, inner[0].prices)):
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


def _belongs(begin: str, later: RateCard) -> bool:
    """Whether a price seen only later was in force since the card began: one with a date of its own was not."""
    return not later.dated or (not _official(later) and _near(begin, later))


def _official(card: RateCard) -> bool:
    return card.dated and card.rank >= 100


def _lasts(card: RateCard, begin: str) -> bool:
    """Whether some source still carried it shortly after `begin`, or says that it ended later."""
    if (card.start or "") >= begin:
        return True
    for fact in [f for f in card.agreeing if (f.start or "") <= begin]:
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
