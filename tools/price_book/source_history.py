"""Reconciles the price histories of all sources of one model into rate cards, each in force from an instant on.

A source's history is the card it showed and the days it changed. The histories are read together in order of time. A
card that agrees with the one in force confirms it; one that agrees with an older one is stale; one
that shows a single tier's price as if it were flat is flattened; any other is news, and becomes the card in force if
its facts pass the reading rule (official, then corroborated, then undisputed) or its source outranks those it
contradicts. What is not input or output text (caches, batch, service tiers, media) is merged in by `merge_conditions`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tools.price_book.entries import is_main
from tools.price_book.facts import Fact, Slot
from tools.price_book.rate_cards import (
    Prices,
    RateCard,
    SourceRun,
    compare,
    day,
    join,
    leave,
    lowest_of,
    open_card,
    prices_of,
    runs_of,
    soon,
)

#: Below this rank a figure most others contradict is left out, even where it came first.
TRUSTED: Final = 50


class ReconciledHistory:
    """The rate cards of some slots of one model, in order of time."""

    def __init__(self, facts: Iterable[Fact], wanted: Callable[[Slot], bool], patient: bool = False) -> None:
        """`patient`: a finer or longer card of a later day is taken to hold from the start of the card it refines."""
        self.cards: list[RateCard] = []
        self._patient = patient
        self._main = wanted is is_main
        self._believed: dict[str, int] = {}
        self._tiers: set[str] = set()
        self._refused: list[SourceRun] = []
        for run in runs_of(facts, wanted):
            self._take(run)
            (self._tiers.add if any(slot.tier for slot in run.facts) else self._tiers.discard)(run.family)

        self._continue_past_end()

    def _continue_past_end(self) -> None:
        """A price known only to end, but seen beyond that end with nothing after it, is an observed one from then."""
        card = self.cards[0] if self.cards else None
        if card is None or card.start or not card.until or (len(self.cards) > 1 and self.cards[1].start == card.until):
            return
        lasting = [
            f for f in card.agreeing if f.start and not f.until and (f.raw.get("observed_to") or "9") > card.until
        ]
        if lasting:
            begin = min(f.start or "" for f in lasting)
            fresh = RateCard(begin, False, dict(card.prices), dict(card.givers), lasting, {f.family for f in lasting})
            card.until = min(card.until, begin)
            self.cards.insert(1, fresh)

    def _take(self, run: SourceRun) -> None:
        if not self.cards:
            if run.question and not run.forced and run.rank < TRUSTED:
                leave(run, "disputed: more sources disagree than agree")
                self._refused.append(run)
                return
            self.cards.append(open_card(run))
            self._believed[run.family] = 0
            return
        card, prices = self.cards[-1], prices_of(run)
        verdict = compare(card.prices, prices)
        if verdict in ("same", "more"):
            self._confirm(run, verdict)
        elif run.start is None:
            leave(run, "known only to end, and another such price stands")
        elif verdict == "flattened" and not self._ends_tiers(run):
            lowest = lowest_of(card)
            if all(lowest.get(Slot(slot.component, slot.when)) == price for slot, price in prices.items()):
                card.agreeing += [f for f in run.everything if f not in card.agreeing]
                card.families.add(run.family)
            else:
                leave(run, "one tier's price shown as flat")
            self._believed[run.family] = len(self.cards) - 1
        elif self._stale(run, prices):
            leave(run, "stale: a newer price was already known")
        elif card.until and run.start < card.until and run.rank < 100:
            leave(run, "contradicts an official price of those days")
        elif verdict == "finer" or self._accepts(run):
            self._replace(run, verdict)
            self._believed[run.family] = len(self.cards) - 1
        else:
            leave(run, "disputed: more sources disagree than agree" if run.question else "disputed by better sources")
            self._refused.append(run)

    def _ends_tiers(self, run: SourceRun) -> bool:
        """Whether a flat price ends the tiers: an official one does, and one of a source that had shown the tiers."""
        card = self.cards[-1]
        if run.start is None or run.start <= (card.start or ""):
            return False
        return (run.rank >= 100 and run.dated) or (run.family in self._tiers and run.rank >= card.rank - 10)

    def _stale(self, run: SourceRun, prices: Prices) -> bool:
        if not any(compare(old.prices, prices) == "same" for old in self.cards[:-1]):
            return False
        returned = self._believed.get(run.family) == len(self.cards) - 1 and run.rank >= self.cards[-1].rank
        return run.rank < 100 and not run.forced and not returned

    def _accepts(self, run: SourceRun) -> bool:
        card = self.cards[-1]
        weight = card.rank
        if run.start and card.start and not soon(card.start, run.start) and not any(f.page for f in card.agreeing):
            # An announcement speaks for its day; later it weighs what the catalogs that follow it weigh.
            weight = max((f.rank for f in card.agreeing if not f.primary), default=45)
        if run.rank >= 100 or run.forced or (run.dated and not run.question):
            return True
        if run.family in self._believed and run.rank >= weight - 25 and not (run.question and run.rank < weight):
            return True
        return run.rank > weight or (run.corroborated and not run.question and run.rank >= weight - 12)

    def _confirm(self, run: SourceRun, verdict: str) -> None:
        card = self.cards[-1]
        if verdict == "same" and run.rank >= 100 and run.dated and not card.dated:
            card.start, card.dated = run.start, True
        promoted = run.rank >= 100 and run.dated and any("promotion" in f.condition for f in run.facts.values())
        apart = card.start and run.start and not soon(card.start, run.start)
        if apart and ((verdict == "more" and not self._patient) or promoted):
            fresh = open_card(run)
            fresh.prices, fresh.givers = {**card.prices, **fresh.prices}, {**card.givers, **fresh.givers}
            self.cards.append(fresh)
        else:
            join(card, run)
        self._believed[run.family] = len(self.cards) - 1

    def _replace(self, run: SourceRun, verdict: str) -> None:
        card, fresh = self.cards[-1], open_card(run)
        renewed = {(slot.component, slot.when) for slot in fresh.prices}
        from_zero = {s.component for s in fresh.prices if not any(name.endswith(("gt", "ge")) for name, _ in s.tier)}
        for slot, price in card.prices.items():
            # Half a card leaves the other half as it was, and upper tiers alone leave the price below them.
            if (slot.component, slot.when) not in renewed or (verdict == "finer" and slot.component not in from_zero):
                fresh.prices[slot], fresh.givers[slot] = price, card.givers[slot]
        if card.start is None:
            card.until = card.until or run.start
            self.cards.append(fresh)
        elif day(card.start) == day(run.start or "") or (
            verdict == "finer"
            and (self._patient or (self._main and len(self.cards) == 1 and soon(card.start, run.start)))
        ):
            self._instead(card, fresh, verdict)
        else:
            if not fresh.dated:
                self._date_by_refused(card, fresh)
            self.cards.append(fresh)

    def _date_by_refused(self, card: RateCard, fresh: RateCard) -> None:
        """A weaker source that was first to show what better ones soon confirm was right about the day."""
        for run in self._refused:
            early = run.start is not None and (card.start or "") < run.start < (fresh.start or "")
            alike = all(fresh.prices.get(slot) == fact.price for slot, fact in run.facts.items())
            if early and alike and soon(run.start or "", fresh.start):
                fresh.start = run.start
                fresh.agreeing += [f for f in run.everything if f not in fresh.agreeing]

    def _instead(self, card: RateCard, fresh: RateCard, verdict: str) -> None:
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
