"""Leaves out prices that are another unit's: no vendor changes a price fifty-fold from one reading to the next.

A catalog's price that is so far from all that was read before it, in its own family of sources and in every other, is
left out until a decision says otherwise or the sources of another family have come to it too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from tools.price_book.facts import Fact, Slot
from tools.price_book.rate_cards import day

REASON: Final = "fifty times or more, or a fiftieth or less, of every price read before: another unit?"
_FOLD: Final = 50


def leave_slips(facts: Iterable[Fact]) -> None:
    """Give the reason to each fact that is such a slip."""
    by_slot: dict[Slot, list[Fact]] = defaultdict(list)
    for fact in facts:
        for slot in fact.slots if fact.price else ():
            by_slot[slot].append(fact)
    for its in by_slot.values():
        for fact in its:
            if fact.primary or fact.forced or fact.left_out or not fact.start:
                continue
            known = [f for f in its if f is not fact and f.start and day(f.start) <= day(fact.start)]
            near = any(_near(fact, f) for f in known if f.family != fact.family)
            before = [f for f in known if day(f.start or "") < day(fact.start)]
            if before and not near and not any(_near(fact, f) for f in before if f.left_out != REASON):
                fact.left_out = REASON


def _near(one: Fact, two: Fact) -> bool:
    return max(one.price, two.price) < _FOLD * min(one.price, two.price)
