"""Matches the names of models on a bill with those in the ledger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from tokenmeter.ledger.bills.bill_rows import BillLine
from tokenmeter.ledger.bills.book_prices import BookPrices
from tokenmeter.ledger.bills.differences import BillDifference
from tokenmeter.ledger.bills.metered import MeteredSpend
from tokenmeter.money import EXACT

__all__ = ["BillNames"]


class BillNames:
    """Gives lines the ledger's name of their model. `found` are the names that only the bill uses.

    A name that some call carried needs no cause. One that the book knows as another name of a model, and one whose
    quantities of a day are those of a model that the bill does not name at all, is an alias.
    """

    def __init__(self, spend: MeteredSpend, prices: BookPrices) -> None:
        self._spend, self._prices = spend, prices
        self._models = {model.lower(): model for _, model, _ in spend.parts}
        self.found: list[BillDifference] = []

    def apply(self, lines: list[BillLine]) -> list[BillLine]:
        """The lines by the ledger's names."""
        first: dict[str, str] = {}
        for line in lines:
            if line.model is not None:
                first[line.model] = min(line.day, first.get(line.model, line.day))
        ours: dict[str, str] = {}
        foreign: list[str] = []
        for name in first:
            known = self._models.get(name.lower()) or self._spend.names.get(name.lower())
            if known is not None:
                ours[name] = known
            else:
                foreign.append(name)
        for name in foreign:
            model, evidence = self._alias(name, first[name], lines, set(ours.values()))
            if model is not None:
                ours[name] = model
                self.found.append(BillDifference("alias", first[name], model, None, evidence))
        return [line if line.model is None else replace(line, model=ours.get(line.model, line.model)) for line in lines]

    def _alias(self, name: str, day: str, lines: list[BillLine], billed: set[str]) -> tuple[str | None, str]:
        known = self._prices.model(name, day)
        if known is not None:
            for model in self._models.values():
                if model == known or self._prices.model(model, day) == known:
                    return model, f"the bill calls it {name}, which the book knows as {known}"
        wanted = _quantities(line for line in lines if line.model == name and line.day == day)
        for (one, model, _), parts in self._spend.parts.items():
            if one == day and model not in billed and wanted:
                sums: dict[str, Decimal] = defaultdict(Decimal)
                for (component, _, _), quantity in parts.items():
                    sums[component] = EXACT.add(sums[component], quantity)
                if {key: value for key, value in sums.items() if value} == wanted:
                    return model, f"the bill calls it {name}: on {day} its quantities are those of {model}"
        return None, ""


def _quantities(lines: Iterable[BillLine]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for line in lines:
        if line.quantity and line.component not in (None, "requests", "total"):
            sums[line.component] = EXACT.add(sums[line.component], line.quantity)
    return {key: value for key, value in sums.items() if value}
