"""What was paid for: the charges of all calls by component, and what no charge says.

The charges are added up row by row, in one aggregate over all calls: grouping them in SQL would sort every charge of
every call.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokenmeter.components import COMPONENTS
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import Snapshot, select
from tokenmeter.money import EXACT

__all__ = ["ChargedComponent", "charged_components"]

_ORDER: Final = {component.name: place for place, component in enumerate(COMPONENTS)}


@dataclass(frozen=True)
class ChargedComponent:
    """One component in one currency; the component None is what vendors charged as a sum, without its parts."""

    component: str | None
    currency: str
    cost: Decimal
    calls: int


class _ChargeSums:
    """SQL aggregate over charges, currency and amount of a call: JSON of each component's sum and number."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str | None, str], tuple[Decimal, int]] = {}

    def step(self, charges: str | None, currency: str, amount: str) -> None:
        if charges is None:
            self._add(None, currency, amount)
            return
        for line in json.loads(charges):
            self._add(line["component"], currency, line["amount"])

    def _add(self, component: str | None, currency: str, amount: str) -> None:
        cost, calls = self._sums.get((component, currency), (Decimal(0), 0))
        self._sums[component, currency] = EXACT.add(cost, Decimal(amount)), calls + 1

    def finalize(self) -> str:
        return json.dumps([(*name, str(cost), calls) for name, (cost, calls) in self._sums.items()])


def charged_components(snapshot: Snapshot, question: Question) -> list[ChargedComponent]:
    """The components of each currency; together they are its total."""
    with select(snapshot, question) as (connection, where, values):
        connection.create_aggregate("charge_sums", 3, _ChargeSums)  # type: ignore[arg-type]
        query = (
            f"SELECT charge_sums(charges, currency, amount) FROM calls WHERE {where} "  # noqa: S608
            "AND amount IS NOT NULL AND currency IS NOT NULL"
        )
        (sums,) = connection.execute(query, values).fetchone()
    rows = json.loads(sums or "[]")  # the aggregate of no rows is NULL
    found = [ChargedComponent(name, currency, Decimal(cost), calls) for name, currency, cost, calls in rows]
    found = [one for one in found if one.component is not None or one.cost]
    found.sort(key=lambda one: (one.currency, one.component is None, _ORDER.get(one.component or "", len(_ORDER))))
    return found
