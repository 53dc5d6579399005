"""Causes that certain calls prove: billed on another day, failed, or made under a plan that pays for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import tzinfo
from decimal import Decimal
from typing import Any, Final

from tokenmeter.components import component_of, field_of
from tokenmeter.ledger.bills.differences import BillDifference
from tokenmeter.ledger.bills.metered import Key, LedgerCall, MeteredSpend, day_start_us
from tokenmeter.ledger.bills.residue import Lot, Residue, take
from tokenmeter.ledger.bills.volumes import CallsOf, cut_between, failed_calls, next_day, planned_calls, quantities
from tokenmeter.money import EXACT

__all__ = ["CallCauses", "is_fee", "total_of"]

ZERO: Final = Decimal(0)


class CallCauses:
    """Takes off the residues what certain calls explain."""

    def __init__(self, residues: Mapping[Key, Residue], spend: MeteredSpend, calls_of: CallsOf, zone: tzinfo) -> None:
        self._residues, self._spend, self._calls_of, self._zone = residues, spend, calls_of, zone
        self.found: list[BillDifference] = []

    def run(self, first: str, last: str) -> list[BillDifference]:
        """The differences of the days from `first` to `last` that calls prove."""
        for key, residue in self._residues.items():
            self._planned(key, residue)
        self._day_cuts(first, last, inner=True)
        for key, residue in self._residues.items():
            self._failed(key, residue)
        self._day_cuts(first, last, inner=False)
        return self.found

    def _add(self, cause: str, key: Key, component: str | None, evidence: str, cost: Decimal, **more: Any) -> None:
        self.found.append(BillDifference(cause, key[0], key[1], component, evidence, cost=cost, **more))

    def _day_cuts(self, first: str, last: str, *, inner: bool) -> None:
        by_model: dict[str, set[str]] = defaultdict(set)
        for (day, model, _), residue in self._residues.items():
            if residue.net():
                by_model[model].add(day)
        for model, days in sorted(by_model.items()):
            cuts = sorted({day for one in days for day in (one, next_day(one, -1))})
            for day in cuts:
                after = next_day(day)
                if (day >= first and after <= last) == inner:
                    self._day_cut(model, day if day >= first else None, after if after <= last else None, day)

    def _day_cut(self, model: str, before: str | None, after: str | None, day: str) -> None:
        sides = [None if one is None else self._net(one, model) for one in (before, after)]
        if not any(sides) or (before is not None and after is not None and not all(sides)):
            return
        following = next_day(day)
        cut_us = day_start_us(following, self._zone)
        cut = cut_between(self._calls_of(day, model), self._calls_of(following, model), sides[0], sides[1], cut_us)
        if cut is None:
            return
        to, back = (after, before) if cut.later else (before, after)
        money, tokens = ZERO, {}
        for component, quantity in cut.moved.items():
            if to is not None:
                billed = take(self._lots(to, model, billed=True), component, quantity)
                money = EXACT.add(money, billed)
            if back is not None:
                money = EXACT.subtract(money, take(self._lots(back, model, billed=False), component, quantity))
            if to is None or back is None:
                tokens[component] = quantity if back is None else EXACT.minus(quantity)
        nearest = min(abs(call.ended_us - cut_us) for call in cut.calls) // 1_000_000
        place = "later" if cut.later else "earlier"
        outside = "" if before and after else ", which is outside this bill"
        self._add(
            "day cut", (day, model, ""), None,
            f"{len(cut.calls)} calls around midnight after {day} (the nearest {nearest} s from it) are billed on the "
            f"{place} day{outside}", money, tokens=tokens, count=len(cut.calls),
        )  # fmt: skip

    def _net(self, day: str, model: str) -> dict[str, Decimal]:
        sums: dict[str, Decimal] = defaultdict(Decimal)
        for (one, name, _), residue in self._residues.items():
            if one == day and name == model:
                for component, quantity in residue.net().items():
                    sums[component] = EXACT.add(sums[component], quantity)
        return {component: quantity for component, quantity in sums.items() if quantity}

    def _lots(self, day: str, model: str, *, billed: bool) -> list[Lot]:
        return [
            lot
            for (one, name, _), residue in self._residues.items()
            if one == day and name == model
            for lot in (residue.billed if billed else residue.ours)
        ]

    def _planned(self, key: Key, residue: Residue) -> None:
        net = residue.net()
        some = planned_calls(self._calls_of(key[0], key[1]), net) if any(one < 0 for one in net.values()) else []
        if some:
            plans = ", ".join(sorted({call.plan or "" for call in some}))
            evidence = f"{len(some)} calls were made under a plan ({plans}), and the bill does not have them"
            self._lacking("free quota or package", key, residue, some, evidence)

    def _failed(self, key: Key, residue: Residue) -> None:
        net = residue.net()
        if any(quantity < 0 for quantity in net.values()):
            some = failed_calls(self._calls_of(key[0], key[1]), net)
            if some:
                kinds = ", ".join(sorted({call.failed or "" for call in some}))
                evidence = f"{len(some)} calls that failed ({kinds}) used as much, and the bill does not have it"
                self._lacking("failed calls", key, residue, some, evidence)
                return
        unknown = self._spend.failed_unknown.get(key, 0)
        if unknown and net and all(total_of(name) == "input" and more > 0 for name, more in net.items()):
            money = ZERO
            for component, quantity in net.items():
                money = EXACT.add(money, take(residue.billed, component, quantity))
            evidence = f"{unknown} calls failed without a usage; the bill has more input and no more output"
            self._add("failed calls", key, None, evidence, money, tokens=net, count=unknown)
            residue.tidy()

    def _lacking(self, cause: str, key: Key, residue: Residue, some: list[LedgerCall], evidence: str) -> None:
        money, tokens = ZERO, {}
        for component, quantity in quantities(some).items():
            money = EXACT.subtract(money, take(residue.ours, component, quantity))
            tokens[component] = EXACT.minus(quantity)
        self._add(cause, key, None, evidence, money, tokens=tokens, count=len(some))
        residue.tidy()


def total_of(component: str) -> str | None:
    """`input` or `output`; None for what is not tokens."""
    found = component_of(component)
    if found is None or is_fee(component):
        return None
    field = field_of(component)
    return field.inside or field.name


def is_fee(component: str) -> bool:
    """Whether a component is billed beside tokens: searches, sessions, calls."""
    found = component_of(component)
    return found is not None and found.ledger is None and found.inside is None
