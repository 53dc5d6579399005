"""When each price was last seen: per source the last day it was read, per fact the last day its source showed it.

A catalog shows what it carries until it drops it, so a fact without an end was still there when that catalog was last
read. A page, a report or a note was seen on the day it was read and never again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal

from tools.price_book.entries import Entry, is_main
from tools.price_book.facts import Conditions, Fact, Slot
from tools.price_book.rate_cards import day
from tools.price_book.toml_text import quoted
from tools.price_book.vocabulary import FAMILIES

#: A component or case whose prices were last seen this much before those of its entry gets a day of its own.
APART_DAYS: int = 30


def source_of(fact: Fact) -> str | None:
    """The catalog that the fact was read in; None for a page, a report or a note."""
    return next((prefix for prefix in FAMILIES if fact.source.startswith(prefix)), None)


def read_days(facts: Iterable[Fact]) -> dict[str, str]:
    """The last day on which each catalog was read, by its name."""
    days: dict[str, str] = {}
    for fact in facts:
        name = source_of(fact)
        if name is not None:
            days[name] = max([days.get(name, ""), fact.reread or "", *_own_days(fact)])
    return {name: at for name, at in days.items() if at}


def _own_days(fact: Fact) -> list[str]:
    dates = (fact.raw["source_date"], fact.raw["observed_from"], fact.raw.get("observed_to"), fact.effective)
    return [day(at) for at in dates if at and day(at) <= fact.as_of]


def last_seen(fact: Fact, read: Mapping[str, str]) -> str | None:
    """The last day on which the fact's source showed it; None where that is not known."""
    name, ended = source_of(fact), fact.raw.get("observed_to")
    if fact.delisted and not ended:
        return min(fact.delisted, day(fact.until)) if fact.until else fact.delisted
    days = [day(ended)] if ended else [*_own_days(fact), *([read[name]] if name and name in read else [])]
    if not days:
        return None
    seen = min(max(days), fact.as_of)
    return min(seen, day(fact.until)) if fact.until else seen


def read_lines(facts: Iterable[Fact], read: Mapping[str, str]) -> list[str]:
    """The last days of one provider's file: the newest of all its sources, then each catalog's own."""
    its_own = list(facts)
    days = [at for fact in its_own if (at := last_seen(fact, read))]
    names = sorted({name for fact in its_own if (name := source_of(fact)) and name in read})
    lines = [f"read = {max(days)}"] if days else []
    catalogs = ", ".join(f"{quoted(name)} = {read[name]}" for name in names)
    return [*lines, f"sources = {{ {catalogs} }}"] if names else lines


class Ages:
    """The last day on which each price of one entry was seen, up to the day the next entry `ends` it.

    A catalog that shows any price of the entry shows its text prices too, since it is in the facts with any other it
    has. So the entry's day is the last of all; only what is not text can be older, and only where its facts are known
    in full: of a fact that other sources agree with (`agree=`), the days of the others are not.
    """

    def __init__(self, rate: Entry, read: Mapping[str, str], ends: str | None) -> None:
        self._prices = rate.prices
        self._slots: dict[Slot, str] = {}
        bound = min(day(at) for at in (ends, rate.until, "9999-12-31") if at)
        agreed: set[Slot] = set()
        for fact in rate.agreeing:
            seen = last_seen(fact, read)
            for slot in fact.slots:
                if rate.prices.get(slot) == fact.price and seen:
                    self._slots[slot] = max(self._slots.get(slot, ""), min(seen, bound))
                if is_main(slot) or fact.agree:
                    agreed.add(slot)
        self.entry = max(self._slots.values(), default=None)
        for slot in agreed & self._slots.keys():
            self._slots[slot] = self.entry or ""

    def lines(self, base: Mapping[str, Decimal], but: str | None) -> list[str]:
        """The day of the entry, unless it is `but`, and of the plain prices that were last seen well before it."""
        own = [f"seen = {self.entry}"] if self.entry and self.entry != but else []
        parts = {name: day for name, price in base.items() if (day := self._apart((), {name: price}))}
        older = ", ".join(f"{name} = {parts[name]}" for name in sorted(parts))
        return [*own, f"seen_by = {{ {older} }}"] if older else own

    def case_lines(self, when: Conditions, prices: Mapping[str, Decimal]) -> list[str]:
        """The day of a case, if it was last seen well before the entry."""
        day = self._apart(when, prices)
        return [f"seen = {day}"] if day else []

    def _apart(self, when: Conditions, prices: Mapping[str, Decimal]) -> str | None:
        days = [
            day
            for slot, day in self._slots.items()
            if slot.when == when and prices.get(slot.component) == self._prices[slot]
        ]
        oldest = min(days, default=None)
        return oldest if oldest and self.entry and _days_between(oldest, self.entry) > APART_DAYS else None


def _days_between(one: str, two: str) -> int:
    return (date.fromisoformat(two) - date.fromisoformat(one)).days
