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

from tools.price_book.facts import Fact, Slot
from tools.price_book.rate_cards import (
    Prices,
    RateCard,
    SourceRun,
    added_slots,
    compare,
    day,
    from_zero,
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

    def __init__(
        self,
        facts: Iterable[Fact],
        wanted: Callable[[Slot], bool],
        current: Callable[[SourceRun], bool] = lambda _: False,
    ) -> None:
        """The slots that `wanted` is true of, from the facts in order of time.

        `current` says of a run that its source shows the newest price of the text beside it: then it is not stale.
        """
        self._current = current
        self.cards: list[RateCard] = []
        self._believed: dict[str, int] = {}
        self._tiers: set[str] = set()
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
        return run.rank < 100 and not run.forced and not returned and not self._current(run)

    def _accepts(self, run: SourceRun) -> bool:
        card = self.cards[-1]
        weight = card.rank
        if run.start and card.start and not soon(card.start, run.start) and not any(f.page for f in card.agreeing):
            # An announcement speaks for its day; later it weighs what the catalogs that follow it weigh.
            followers = [f for f in card.agreeing if not f.primary and day(f.start or "") <= day(run.start)]
            weight = max((f.rank for f in followers), default=45)
        if run.rank >= 100 or run.forced or (run.dated and not run.question):
            return True
        if run.family in self._believed and run.rank >= weight - 25 and not (run.question and run.rank < weight):
            return True
        return run.rank > weight or (run.corroborated and not run.question and run.rank >= weight - 12)

    def _confirm(self, run: SourceRun, verdict: str) -> None:
        card = self.cards[-1]
        near = card.start is not None and run.start is not None and soon(card.start, run.start)
        if verdict == "same" and run.rank >= 100 and run.dated and not card.dated and (near or self._within_open(run)):
            card.start, card.dated = run.start, True
        promoted = run.rank >= 100 and run.dated and any("promotion" in f.condition for f in run.facts.values())
        if (
            card.start
            and run.start
            and day(run.start) > day(card.start)
            and (promoted or self._refines(run, near or verdict == "same"))
        ):
            fresh = open_card(run)
            fresh.prices, fresh.givers = dict(card.prices), dict(card.givers)
            fresh.agreeing, fresh.families = [], set()
            join(fresh, run)
            self.cards.append(fresh)
        else:
            join(card, run)
        self._believed[run.family] = len(self.cards) - 1

    def _within_open(self, run: SourceRun) -> bool:
        """Whether the run begins inside a card of which only the end is known."""
        card = self.cards[-1]
        return card.start is None and run.start is not None and run.start < (card.until or "")

    def _refines(self, run: SourceRun, beside: bool) -> bool:
        """Whether the run adds a price to calls that the card already prices, which then holds from the run's day.

        A missing half that is seen soon, or beside a price of the card, completes the card from its beginning: the
        calls that it prices had no price.
        """
        card = self.cards[-1]
        added = added_slots(card, run)
        priced = {s.component for s in card.prices if not s.when and from_zero(s)}
        begun = {s.component for s in added if from_zero(s)} - priced
        return bool(added) and not (beside and all(not s.when and s.component in begun for s in added))

    def _replace(self, run: SourceRun, verdict: str) -> None:
        card, fresh = self.cards[-1], open_card(run)
        renewed = {(slot.component, slot.when) for slot in fresh.prices}
        whole = {s.component for s in fresh.prices if from_zero(s)}
        for slot, price in card.prices.items():
            # Half a card leaves the other half as it was, and upper tiers alone leave the price below them.
            if (slot.component, slot.when) not in renewed or (verdict == "finer" and slot.component not in whole):
                fresh.prices[slot], fresh.givers[slot] = price, card.givers[slot]
        if card.start is None:
            card.until = card.until or run.start
            self.cards.append(fresh)
        elif day(card.start) == day(run.start or ""):
            self._instead(card, fresh, verdict)
        else:
            self.cards.append(fresh)

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
