"""Rate cards: what input and output cost together from a day on, by one family of sources and by the book.

A `SourceRun` is the card that one family of sources showed over some days; a `RateCard` is the book's, with the facts
that gave each price and all that agree. `compare` classifies a run against the card in force.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from itertools import zip_longest
from typing import Final

from tools.price_book.facts import Fact, Slot, Tier

MAIN: Final = ("input", "output")
Prices = dict[Slot, Decimal]
#: So soon after a first reading, the vendor's own date or a missing half is of the same list.
SOON: Final = timedelta(days=45)


@dataclass(slots=True)
class SourceRun:
    """One card as one family carried it: from `start` (None: known only to end) to `end`."""

    family: str
    start: str | None
    end: str | None
    facts: dict[Slot, Fact]
    also: list[Fact] = field(default_factory=list)

    @property
    def rank(self) -> int:
        return max(f.rank for f in self.facts.values())

    @property
    def dated(self) -> bool:
        return any(f.effective for f in self.facts.values())

    @property
    def forced(self) -> bool:
        return any(f.forced for f in self.facts.values())

    @property
    def question(self) -> bool:
        return all(f.question for f in self.facts.values())

    @property
    def everything(self) -> list[Fact]:
        """The facts that gave a price, and those of the same family that repeated it."""
        return [*self.facts.values(), *self.also]

    @property
    def corroborated(self) -> bool:
        return any(f.agree for f in self.facts.values())


@dataclass(slots=True)
class RateCard:
    """The prices in force from `start` on: one fact per slot that gave the price, and all that agreed."""

    start: str | None
    dated: bool
    prices: Prices
    givers: dict[Slot, Fact]
    agreeing: list[Fact] = field(default_factory=list)
    families: set[str] = field(default_factory=set)
    rank: int = 0
    until: str | None = None
    promotion: bool = False


def day(at: str) -> str:
    return at[:10]


def _active(fact: Fact) -> tuple[str | None, str | None]:
    ended = fact.until or fact.raw.get("observed_to")
    seen = fact.raw["observed_from"]
    if fact.effective is None and fact.until and (not fact.first or not seen or seen >= fact.until):
        return None, fact.until
    return fact.start or fact.as_of, ended


def runs_of(facts: Iterable[Fact], wanted: Callable[[Slot], bool]) -> list[SourceRun]:
    """Each family's history of the wanted slots: its card from day to day."""
    by_family: dict[str, list[tuple[str | None, str | None, Slot, Fact]]] = defaultdict(list)
    for fact in facts:
        start, end = _active(fact)
        family = f"{fact.family}:{fact.source}" if fact.family == "vendor-notes" and not fact.primary else fact.family
        family = "official" if fact.primary else family
        for slot in filter(wanted, fact.slots):
            by_family[family].append((start, end, slot, fact))
    runs: list[SourceRun] = []
    for family, claims in by_family.items():
        opening = [c for c in claims if c[0] is None]
        if opening:
            given = {slot: fact for _, _, slot, fact in opening}
            runs.append(SourceRun(family, None, max(c[1] or "" for c in opening), given, [c[3] for c in opening]))
        marks = sorted({c[0] for c in claims if c[0]} | {c[1] for c in claims if c[0] and c[1]})
        before: SourceRun | None = None
        for at, after in zip_longest(marks, marks[1:]):
            newest: dict[Slot, tuple[str, str | None, Fact]] = {}
            for start, end, slot, fact in claims:
                if start and start <= at and (slot not in newest or newest[slot][0] <= start):
                    newest[slot] = (start, end, fact)
            # What a source stopped showing does not bring back what it showed before, nor does a flat price it shows
            # since stand beside the tiers that it showed before.
            shown = {
                slot: fact
                for slot, (start, end, fact) in newest.items()
                if (end is None or end > at) and not _recut(slot, start, newest)
            }
            if not shown:
                continue
            run = SourceRun(family, at, after, shown)
            promoted = any("promotion" in fact.condition for fact in shown.values())
            if before is not None and prices_of(before) == prices_of(run) and not promoted:
                before.end = after
                before.also += [f for f in run.facts.values() if f not in before.also]
                continue
            runs.append(run)
            before = run
    return sorted(runs, key=lambda r: (r.start is not None, day(r.start or r.end or ""), -r.rank, r.start or ""))


Newest = Mapping[Slot, tuple[str, str | None, Fact]]


def _recut(slot: Slot, start: str, newest: Newest) -> bool:
    """Whether the family has since shown a price flat that it showed in tiers, or in tiers that it showed flat.

    A tier of longer calls alone does not speak of the price of shorter ones, nor does another catalog of the family
    that shows the lowest tier's price as flat end the tiers above it.
    """
    its = [(s, *claim) for s, claim in newest.items() if s.component == slot.component and s.when == slot.when]
    lowest = next((fact for s, _, _, fact in its if s.tier and from_zero(s)), None)
    for other, since, _, fact in its:
        if day(since) <= day(start):
            continue
        if not slot.tier and other.tier and from_zero(other):
            return True
        if slot.tier and not other.tier:
            return lowest is None or lowest.price != fact.price or _catalog(lowest) == _catalog(fact)
    return False


def _catalog(fact: Fact) -> str:
    """The catalog that a fact was read in, whatever its version."""
    return fact.source.partition("==")[0].partition("@")[0]


def prices_of(run: SourceRun) -> Prices:
    return {slot: fact.price for slot, fact in run.facts.items()}


def _tiered(prices: Iterable[Slot], component: str) -> bool:
    return any(slot.component == component and slot.tier for slot in prices)


def compare(card: Prices, other: Prices) -> str:
    """How `other` stands to the card in force: same, flattened, finer, more or news."""
    verdicts: set[str] = set()
    for name in {slot.component for slot in other}:
        its = {s: p for s, p in other.items() if s.component == name}
        asked = {s.when for s in its}
        mine = {s: p for s, p in card.items() if s.component == name and s.when in asked}
        if not mine:
            continue
        if _tiered(its, name) and not _tiered(mine, name):
            above = all(any(edge.endswith(("gt", "ge")) for edge, _ in s.tier) for s in its)
            verdicts.add("finer" if above or set(mine.values()) & set(its.values()) else "news")
        elif _tiered(mine, name) and not _tiered(its, name):
            verdicts.add("flattened" if set(its.values()) <= set(mine.values()) else "news")
        elif shared := mine.keys() & its.keys():
            verdicts.add("same" if all(mine[s] == its[s] for s in shared) else "news")
        elif not all(_adjoin(m.tier, s.tier) for m in mine for s in its):
            verdicts.add("same" if set(its.values()) <= set(mine.values()) else "news")
    return next((v for v in ("news", "finer", "flattened", "same") if v in verdicts), "more")


def soon(one: str, two: str | None) -> bool:
    return two is not None and date.fromisoformat(day(two)) - date.fromisoformat(day(one)) <= SOON


def open_card(run: SourceRun) -> RateCard:
    card = RateCard(run.start, run.dated, prices_of(run), dict(run.facts), run.everything, {run.family}, run.rank)
    if run.start is None:
        card.until = run.end
    elif ends := [f for f in run.facts.values() if f.until and (f.primary or f.rank > 50)]:
        card.until = ends[0].until
        card.promotion = any("promotion" in f.condition for f in ends)
    return card


def added_slots(card: RateCard, run: SourceRun) -> list[Slot]:
    """What the run adds to the card: a missing half, a thinking price of the same tiers, or the tier that goes on
    where one of the card's ends. Tiers cut elsewhere are another card.
    """
    known = {slot.component for slot in card.prices}
    shape = {(slot.component, slot.tier) for slot in card.prices}
    added = []
    for slot in run.facts:
        if slot in card.prices:
            continue
        alike = {s.tier for s in card.prices if s.component == slot.component and s.when == slot.when}
        if (
            slot.component not in known
            or (slot.when and (slot.component, slot.tier) in shape)
            or (alike and slot.tier and all(_adjoin(tier, slot.tier) for tier in alike))
        ):
            added.append(slot)
    return added


def join(card: RateCard, run: SourceRun) -> None:
    """Give the card what the run adds, and count the run's facts among those that agree with it."""
    for slot in added_slots(card, run):
        card.prices[slot], card.givers[slot] = run.facts[slot].price, run.facts[slot]
    card.agreeing += [f for f in run.everything if f not in card.agreeing]
    card.families.add(run.family)
    card.rank = max(card.rank, run.rank)


_ENDS: Final = {("le", "gt"), ("lt", "ge"), ("gt", "le"), ("ge", "lt")}


def _adjoin(one: Tier, two: Tier) -> bool:
    """Whether one tier begins exactly where the other ends."""
    return any(a[:-2] == b[:-2] and edge == other and (a[-2:], b[-2:]) in _ENDS for a, edge in one for b, other in two)


def from_zero(slot: Slot) -> bool:
    """Whether the price holds for the shortest calls."""
    return not any(name.endswith(("gt", "ge")) for name, _ in slot.tier)


def lowest_of(card: RateCard) -> Prices:
    """The prices of the shortest calls, without their tiers."""
    found: dict[Slot, tuple[int, Decimal]] = {}
    for slot, price in card.prices.items():
        low = max((edge for name, edge in slot.tier if name.endswith(("gt", "ge"))), default=0)
        flat = Slot(slot.component, slot.when)
        if flat not in found or low < found[flat][0]:
            found[flat] = (low, price)
    return {slot: price for slot, (_, price) in found.items()}


def leave(run: SourceRun, why: str) -> None:
    for fact in run.everything:
        if fact.left_out is None:
            fact.left_out = why


def within(one: str, two: str, span: timedelta) -> bool:
    """Whether two days are at most so far apart, the first not counted back."""
    return date.fromisoformat(day(two)) - date.fromisoformat(day(one)) <= span
