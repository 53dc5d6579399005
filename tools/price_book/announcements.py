"""Treats an announced price as a forecast: it holds only if a reading made on its day or later confirms it.

A fact is announced when its source was read before the day it starts. A later reading of the same price confirms it; a
later reading of another price refutes it; with neither, the older price goes on, and its entry names the announced day.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tools.price_book.entries import Entry
from tools.price_book.facts import Fact
from tools.price_book.rate_cards import day, soon

REFUTED: str = "announced, and later readings have another price"
UNCONFIRMED: str = "announced, and not confirmed by a reading since"


def is_announced(fact: Fact) -> bool:
    """Whether the source was read before the day it names; a decision may say that the announcement holds."""
    read = fact.raw["source_date"] or fact.first
    return bool(fact.effective and read and day(fact.effective) > read) and not fact.forced


def leave_forecasts(facts: Sequence[Fact]) -> set[str]:
    """Leave out what no later reading confirms; the announced days that nobody has read since.

    The first reading since the day decides, and any within `SOON`: catalogs follow their vendor by days. One that has
    the price later tells of a price of its own day.
    """
    open_days: set[str] = set()
    for fact in [f for f in facts if is_announced(f)]:
        since = day(fact.effective or "")
        later = [f for f in facts if f is not fact and set(f.slots) & set(fact.slots) and _read_since(f, since)]
        first = min((_reading(f, since) for f in later), default=since)
        if any(
            f.price == fact.price and (_reading(f, since) == first or soon(since, _reading(f, since))) for f in later
        ):
            continue
        fact.left_out = REFUTED if later else UNCONFIRMED
        if not later:
            open_days.add(fact.effective or "")
    return open_days


def _read_since(fact: Fact, since: str) -> bool:
    """Whether the fact was read on the day or later, or is the vendor's word about a day since then."""
    if is_announced(fact):
        return False
    return (fact.last or "") >= since or (fact.primary and _lasts_past(fact, since))


def _lasts_past(fact: Fact, since: str) -> bool:
    return day(fact.start or "") >= since and fact.raw.get("observed_to") is None


def _reading(fact: Fact, since: str) -> str:
    """The first day since the announced one on which the source had the price."""
    return max(day(fact.start or ""), since)


def mark(rates: Iterable[Entry], open_days: Iterable[str]) -> None:
    """Name the announced day on the entry that goes on past it."""
    entries = list(rates)
    for at in sorted(open_days, reverse=True):
        before = [rate for rate in entries if (rate.start or "") < at]
        if before:
            before[-1].announced = at
