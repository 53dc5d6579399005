"""From one model's facts to the cards that held, each from an instant on.

Each family of sources tells a story: the card it carried, and the day it changed it. The stories are told together in
order of time. A card that agrees with the one in force confirms it; one that agrees with an older one is stale; one
that shows a single tier's price as if it were flat is flattened; any other is news, and becomes the card in force if
its facts pass the reading rule (official, then corroborated, then undisputed) or its source outranks those it contradicts.
What is not input or output text (caches, batch, service tiers, media) is laid over the cards afterwards.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from itertools import zip_longest
from typing import Final

from facts import Fact, Slot, Tier

MAIN: Final = ("input", "output")
Prices = dict[Slot, Decimal]
#: A finer card that appears this soon after a flat one was the vendor's list from the beginning.
SOON: Final = timedelta(days=45)
TODAY: Final = "2026-11-21"


@dataclass(slots=True)
class Run:
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
class Card:
    """What held from `start` on: one fact per slot that gave the price, and all that agreed."""

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
    return fact.start or TODAY, ended


def runs_of(facts: Iterable[Fact], wanted: Callable[[Slot], bool]) -> list[Run]:
    """Each family's story of the wanted slots, as cards from day to day."""
    by_family: dict[str, list[tuple[str | None, str | None, Slot, Fact]]] = defaultdict(list)
    for fact in facts:
        start, end = _active(fact)
        family = f"{fact.family}:{fact.source}" if fact.family == "vendor-notes" and not fact.primary else fact.family
        family = "official" if fact.primary else family
        for slot in filter(wanted, fact.slots):
            by_family[family].append((start, end, slot, fact))
    runs: list[Run] = []
    for family, claims in by_family.items():
        opening = [c for c in claims if c[0] is None]
        if opening:
            facts = {c[2]: c[3] for c in opening}
            runs.append(Run(family, None, max(c[1] or "" for c in opening), facts, [c[3] for c in opening]))
        marks = sorted({c[0] for c in claims if c[0]} | {c[1] for c in claims if c[0] and c[1]})
        before: Run | None = None
        for at, after in zip_longest(marks, marks[1:]):
            newest: dict[Slot, tuple[str, str | None, Fact]] = {}
            for start, end, slot, fact in claims:
                if start and start <= at and (slot not in newest or newest[slot][0] <= start):
                    newest[slot] = (start, end, fact)
            # What a source stopped showing does not bring back what it showed before.
            held = {slot: fact for slot, (_, end, fact) in newest.items() if end is None or end > at}
            if not held:
                continue
            run = Run(family, at, after, held)
            if before is not None and _prices(before) == _prices(run):
                before.end = after
                before.also += [f for f in run.facts.values() if f not in before.also]
                continue
            runs.append(run)
            before = run
    return sorted(runs, key=lambda r: (r.start is not None, day(r.start or r.end or ""), -r.rank, r.start or ""))


def _prices(run: Run) -> Prices:
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
        else:
            verdicts.add("same" if set(its.values()) <= set(mine.values()) else "news")
    return next((v for v in ("news", "finer", "flattened", "same") if v in verdicts), "more")


class Story:
    """The cards of some slots of one model, told in order of time."""

    def __init__(self, facts: Iterable[Fact], wanted: Callable[[Slot], bool], patient: bool = False) -> None:
        """`patient`: what is told finer, or more of, was so from the beginning of its card."""
        self.cards: list[Card] = []
        self._patient = patient
        self._believed: dict[str, int] = {}
        self._tiers: set[str] = set()
        for run in runs_of(facts, wanted):
            self._tell(run)
            (self._tiers.add if any(slot.tier for slot in run.facts) else self._tiers.discard)(run.family)

    def _tell(self, run: Run) -> None:
        if not self.cards:
            self.cards.append(_open(run))
            self._believed[run.family] = 0
            return
        card, prices = self.cards[-1], _prices(run)
        verdict = compare(card.prices, prices)
        if verdict in ("same", "more"):
            self._confirm(run, verdict)
        elif run.start is None:
            _leave(run, "known only to end, and another such price stands")
        elif verdict == "flattened" and not self._ends_tiers(run):
            lowest = _lowest(card)
            if all(lowest.get(Slot(slot.component, slot.when)) == price for slot, price in prices.items()):
                card.agreeing += [f for f in run.everything if f not in card.agreeing]
                card.families.add(run.family)
            else:
                _leave(run, "one tier's price shown as flat")
            self._believed[run.family] = len(self.cards) - 1
        elif self._stale(run, prices):
            _leave(run, "stale: a newer price was already known")
        elif card.until and run.start < card.until and run.rank < 100:
            _leave(run, "contradicts an official price of those days")
        elif verdict == "finer" or self._accepts(run):
            self._replace(run, verdict)
            self._believed[run.family] = len(self.cards) - 1
        else:
            _leave(run, "disputed: more sources disagree than agree" if run.question else "disputed by better sources")

    def _ends_tiers(self, run: Run) -> bool:
        """Whether a flat price is the end of tiers: said officially, or by a source that had shown them itself."""
        card = self.cards[-1]
        if run.start is None or run.start <= (card.start or ""):
            return False
        return (run.rank >= 100 and run.dated) or (run.family in self._tiers and run.rank >= card.rank - 10)

    def _stale(self, run: Run, prices: Prices) -> bool:
        if not any(compare(old.prices, prices) == "same" for old in self.cards[:-1]):
            return False
        returned = self._believed.get(run.family) == len(self.cards) - 1 and run.rank >= self.cards[-1].rank
        return run.rank < 100 and not run.forced and not returned

    def _accepts(self, run: Run) -> bool:
        card = self.cards[-1]
        weight = card.rank
        if run.start and card.start and not _soon(card.start, run.start) and not any(f.page for f in card.agreeing):
            # An announcement speaks for its day; later it weighs what the catalogs that follow it weigh.
            weight = max((f.rank for f in card.agreeing if not f.primary), default=45)
        if run.rank >= 100 or run.forced or (run.dated and not run.question):
            return True
        if run.family in self._believed and run.rank >= weight - 25 and not (run.question and run.rank < weight):
            return True
        return run.rank > weight or (run.corroborated and not run.question and run.rank >= weight - 12)

    def _confirm(self, run: Run, verdict: str) -> None:
        card = self.cards[-1]
        if verdict == "same" and run.rank >= 100 and run.dated and not card.dated:
            card.start, card.dated = run.start, True
        promoted = run.rank >= 100 and run.dated and any("promotion" in f.condition for f in run.facts.values())
        apart = card.start and run.start and not _soon(card.start, run.start)
        if apart and ((verdict == "more" and not self._patient) or promoted):
            fresh = _open(run)
            fresh.prices, fresh.givers = {**card.prices, **fresh.prices}, {**card.givers, **fresh.givers}
            self.cards.append(fresh)
        else:
            _join(card, run)
        self._believed[run.family] = len(self.cards) - 1

    def _replace(self, run: Run, verdict: str) -> None:
        card, fresh = self.cards[-1], _open(run)
        told = {(slot.component, slot.when) for slot in fresh.prices}
        from_zero = {s.component for s in fresh.prices if not any(name.endswith(("gt", "ge")) for name, _ in s.tier)}
        for slot, price in card.prices.items():
            # Half a card leaves the other half as it was, and upper tiers alone leave the price below them.
            if (slot.component, slot.when) not in told or (verdict == "finer" and slot.component not in from_zero):
                fresh.prices[slot], fresh.givers[slot] = price, card.givers[slot]
        if card.start is None:
            card.until = card.until or run.start
            self.cards.append(fresh)
        elif day(card.start) == day(run.start or "") or (
            verdict == "finer" and (self._patient or (len(self.cards) == 1 and _soon(card.start, run.start)))
        ):
            self._instead(card, fresh, verdict)
        else:
            self.cards.append(fresh)

    def _instead(self, card: Card, fresh: Card, verdict: str) -> None:
        """Two cards of one beginning: the finer, or else the better vouched for, takes the place."""
        if verdict == "finer":
            fresh.start, fresh.dated = card.start, card.dated
            fresh.agreeing += [f for f in card.agreeing if f not in fresh.agreeing]
            fresh.families |= card.families
        elif card.dated and card.rank > fresh.rank:
            for fact in fresh.agreeing:
                fact.left_out = fact.left_out or "disputed by better sources"
            return
        else:
            for fact in card.agreeing:
                fact.left_out = fact.left_out or "disputed by better sources"
        self.cards[-1] = fresh


def _soon(one: str, two: str | None) -> bool:
    return two is not None and date.fromisoformat(day(two)) - date.fromisoformat(day(one)) <= SOON


def _open(run: Run) -> Card:
    card = Card(run.start, run.dated, _prices(run), dict(run.facts), run.everything, {run.family}, run.rank)
    if run.start is None:
        card.until = run.end
    elif ends := [f for f in run.facts.values() if f.until and (f.primary or f.rank > 50)]:
        card.until = ends[0].until
        card.promotion = any("promotion" in f.condition for f in ends)
    return card


def _join(card: Card, run: Run) -> None:
    known = {slot.component for slot in card.prices}
    shape = {(slot.component, slot.tier) for slot in card.prices}
    for slot, fact in run.facts.items():
        if slot in card.prices:
            continue
        # A missing half completes a card, and so does a thinking price of the same tiers, or the tier that goes on where
        # one of the card's ends; tiers cut elsewhere are another card.
        alike = {s.tier for s in card.prices if s.component == slot.component and s.when == slot.when}
        if (
            slot.component not in known
            or (slot.when and (slot.component, slot.tier) in shape)
            or (alike and slot.tier and all(_adjoin(tier, slot.tier) for tier in alike))
        ):
            card.prices[slot], card.givers[slot] = fact.price, fact
    card.agreeing += [f for f in run.everything if f not in card.agreeing]
    card.families.add(run.family)
    card.rank = max(card.rank, run.rank)


_ENDS: Final = {("le", "gt"), ("lt", "ge"), ("gt", "le"), ("ge", "lt")}


def _adjoin(one: Tier, two: Tier) -> bool:
    """Whether one tier begins exactly where the other ends."""
    return any(
        a[:-2] == b[:-2] and edge == other and (a[-2:], b[-2:]) in _ENDS for a, edge in one for b, other in two
    )


def _lowest(card: Card) -> Prices:
    """The prices of the shortest calls, without their tiers."""
    found: dict[Slot, tuple[int, Decimal]] = {}
    for slot, price in card.prices.items():
        low = max((edge for name, edge in slot.tier if name.endswith(("gt", "ge"))), default=0)
        flat = Slot(slot.component, slot.when)
        if flat not in found or low < found[flat][0]:
            found[flat] = (low, price)
    return {slot: price for slot, (_, price) in found.items()}


def _leave(run: Run, why: str) -> None:
    for fact in run.everything:
        if fact.left_out is None:
            fact.left_out = why
