"""Puts every difference between a bill and a ledger down to one cause, with its evidence.

The order matters: causes that certain calls prove come first (`call_causes`), then prices, then tokens that
the bill counts under another component, then quantities that the ledger does not have. What none of them explains is
`unexplained`. Each step takes what it explains off the residue, so that nothing is counted twice and the causes sum to
the gap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import tzinfo
from decimal import Decimal
from typing import Any, Final

from tokenmeter.ledger.bills.book_prices import BookPrices
from tokenmeter.ledger.bills.call_causes import CallCauses, is_fee, total_of
from tokenmeter.ledger.bills.differences import BillDifference
from tokenmeter.ledger.bills.metered import Key, MeteredSpend
from tokenmeter.ledger.bills.overlay_rates import OverlayRates
from tokenmeter.ledger.bills.residue import Lot, Remainder, Residue, share_of
from tokenmeter.ledger.bills.volumes import CallsOf
from tokenmeter.money import EXACT, plain

__all__ = ["Attribution"]

ZERO: Final = Decimal(0)


class Attribution:
    """Works through residues by key and gathers differences."""

    def __init__(
        self,
        residues: dict[Key, Residue],
        spend: MeteredSpend,
        prices: BookPrices,
        own: BookPrices,
        calls_of: CallsOf,
        zone: tzinfo,
    ) -> None:
        """`prices` are what the provider lists, `own` what the account pays by its price files."""
        self._residues, self._spend, self._prices, self._own, self._zone = residues, spend, prices, own, zone
        self._calls_of = calls_of
        self._models = {model for _, model, _ in spend.parts}
        self.overlay = OverlayRates()
        self.found: list[BillDifference] = []

    def run(self, first: str, last: str) -> list[BillDifference]:
        """Every difference of the days from `first` to `last`."""
        calls = CallCauses(self._residues, self._spend, self._calls_of, self._zone)
        self.found += calls.run(first, last)
        for key, residue in sorted(self._residues.items()):
            self._same_component(key, residue)
            self._same_family(key, residue)
            self._more_billed(key, residue)
            self._more_metered(key, residue)
            for rest in residue.remainders:
                self._remainder(key, residue, rest)
        return self.found

    def _add(self, cause: str, key: Key, component: str | None, evidence: str, cost: Decimal, **more: Any) -> None:
        self.found.append(BillDifference(cause, key[0], key[1], component, evidence, cost=cost, **more))

    # Prices, and components that the two sides count apart.

    def _same_component(self, key: Key, residue: Residue) -> None:
        for lot in residue.billed:
            for one in residue.ours:
                if one.component == lot.component and lot.quantity > 0 and one.quantity > 0:
                    part = min(lot.quantity, one.quantity)
                    ours, theirs = one.price, lot.price
                    billed, metered = lot.part(part), one.part(part)
                    money = EXACT.subtract(billed, metered)
                    if money or one.charged != lot.component:
                        cause, evidence = self._price_cause(key, lot, one, ours, theirs)
                        self._add(cause, key, lot.component, evidence, money, quantity=part)
        residue.tidy()

    def _price_cause(
        self, key: Key, lot: Lot, one: Lot, ours: Decimal | None, theirs: Decimal | None
    ) -> tuple[str, str]:
        day, model, _ = key
        if lot.package is not None:
            return "free quota or package", f"the bill names {lot.package}"
        if ours is None:
            return "unexplained", "the ledger has these tokens without a price"
        if one.charged != lot.component:
            cause = "cache split" if total_of(lot.component) == "input" else "own meter"
            return cause, f"the ledger has these tokens as {one.charged}, the bill as {lot.component}"
        if theirs is None:
            return "unexplained", "the bill has no price for these tokens"
        form = "batch" if lot.batch else self._prices.other(model, lot.component, day).get(theirs)
        if form is not None:
            return "own meter", f"billed as {form}, at {_each(theirs)} instead of {_each(ours)}"
        seen = self._prices.around(model, lot.component, day).get(theirs)
        if seen is not None:
            return "price change", f"billed at {_each(theirs)}, which the book has on {seen}, not at {_each(ours)}"
        known = self._contract(model, lot.component, day, theirs, ours)
        words = f"billed at {_each(theirs)} instead of {_each(ours)}{_ratio(theirs, ours)}{known}"
        return "promotion or contract", words

    def _contract(self, model: str, component: str, day: str, billed: Decimal, listed: Decimal) -> str:
        """Note a price of a contract for the proposal, unless the account's price files have it: then say so."""
        if self._own.hint(model, component, day) == billed:
            return ", as your price file has it"
        self.overlay.add(model, component, day, billed, listed)
        return ""

    def _same_family(self, key: Key, residue: Residue) -> None:
        for lot in residue.billed:
            for one in residue.ours:
                family = total_of(lot.component)
                if family == total_of(one.component) and family is not None and lot.quantity > 0 and one.quantity > 0:
                    part = min(lot.quantity, one.quantity)
                    money = EXACT.subtract(lot.part(part), one.part(part))
                    self._add(
                        "cache split" if family == "input" else "own meter", key, lot.component,
                        f"{plain(part)} tokens are {lot.component} on the bill and {one.component} in the ledger",
                        money, tokens={lot.component: part, one.component: EXACT.minus(part)},
                    )  # fmt: skip
        residue.tidy()

    # Quantities that one side does not have.

    def _more_billed(self, key: Key, residue: Residue) -> None:
        tokens: dict[str, Decimal] = defaultdict(Decimal)
        money = ZERO
        families = {total_of(lot.component) for lot in residue.billed}
        for lot in residue.billed:
            quantity = lot.quantity
            cost = lot.part(quantity)
            if is_fee(lot.component) or (families == {"output"} and lot.component == "reasoning_output"):
                evidence = f"the bill has {lot.component} as a meter of its own, which no call of the day has"
                self._add("own meter", key, lot.component, evidence, cost, tokens={lot.component: quantity})
                continue
            tokens[lot.component] = EXACT.add(tokens[lot.component], quantity)
            money = EXACT.add(money, cost)
        residue.tidy()
        if tokens:
            cause, evidence = self._untracked(key, residue, tokens)
            self._add(cause, key, None, evidence, money, tokens=dict(tokens))

    def _untracked(self, key: Key, residue: Residue, tokens: Mapping[str, Decimal]) -> tuple[str, str]:
        """Whether quantities that only the bill has are other traffic of the account."""
        _, model, call_id = key
        if call_id:
            return "untracked traffic", f"no call of the ledger has the id {call_id}"
        if model not in self._models:
            return "untracked traffic", f"the ledger has no call of {model or 'this model'}"
        made = self._spend.requests.get(key, 0)
        if residue.requests is not None and residue.requests > made:
            return "untracked traffic", f"{plain(residue.requests)} requests on the bill, {made} in the ledger"
        if key not in self._spend.parts:
            return "untracked traffic", f"the ledger has no call of {model} on this day"
        if {"input", "output"} <= {total_of(name) for name, more in tokens.items() if more > 0}:
            return "untracked traffic", "the bill has more input and more output, as further calls make"
        return "unexplained", "only the bill has these tokens"

    def _more_metered(self, key: Key, residue: Residue) -> None:
        tokens: dict[str, Decimal] = defaultdict(Decimal)
        money = ZERO
        for lot in residue.ours:
            quantity = lot.quantity
            money = EXACT.subtract(money, lot.part(quantity))
            tokens[lot.component] = EXACT.subtract(tokens[lot.component], quantity)
        residue.tidy()
        if tokens:
            self._add("unexplained", key, None, "only the ledger has these tokens", money, tokens=dict(tokens))

    # Money that quantities do not explain.

    def _remainder(self, key: Key, residue: Residue, rest: Remainder) -> None:
        day, model, _ = key
        if abs(rest.gap) <= rest.tolerance:
            evidence = f"within {plain(rest.tolerance)}, what rounding each line can make"
            self._add("rounding", key, rest.component, evidence, rest.gap)
            return
        if key not in self._spend.parts:
            cause, evidence = self._untracked(key, residue, {})
            if rest.component is not None and is_fee(rest.component):
                cause, evidence = "own meter", f"the bill has {rest.component} as a meter of its own"
            self._add(cause, key, rest.component, evidence, rest.gap)
            return
        if rest.component is not None and is_fee(rest.component) and not rest.expected:
            self._add("own meter", key, rest.component, "a meter of its own on the bill", rest.gap)
            return
        cause, evidence = self._charged_otherwise(model, day, rest)
        self._add(cause, key, rest.component, evidence, rest.gap)

    def _charged_otherwise(self, model: str, day: str, rest: Remainder) -> tuple[str, str]:
        charged = EXACT.add(rest.expected, rest.gap)
        if rest.component is not None and rest.quantity:
            forms = self._prices.other(model, rest.component, day)
            days = self._prices.around(model, rest.component, day)
            for prices, cause, words in ((forms, "own meter", "in form"), (days, "price change", "on")):
                for price, name in prices.items():
                    printed = EXACT.multiply(price, rest.quantity)
                    if abs(EXACT.subtract(printed, charged)) <= rest.tolerance:
                        return cause, f"billed at {_each(price)}, which the book has {words} {name}"
        share = share_of(rest.expected, rest.gap, rest.tolerance)
        if share is not None:
            known = ""
            if rest.component is not None:
                hint = self._prices.hint(model, rest.component, day)
                if hint is not None:
                    known = self._contract(model, rest.component, day, EXACT.multiply(hint, share), hint)
            return "promotion or contract", f"billed at {plain(share)} of the price of the ledger{known}"
        return "unexplained", f"{plain(rest.expected)} expected, {plain(charged)} billed"


def _each(price: Decimal) -> str:
    """A price of one token as people read it: for a million."""
    return f"{plain(EXACT.multiply(price, Decimal(1_000_000)))} per million"


def _ratio(theirs: Decimal, ours: Decimal) -> str:
    share = share_of(ours, EXACT.subtract(theirs, ours), ZERO)
    return "" if share is None else f" ({plain(share)} of it)"
