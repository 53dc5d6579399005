"""What was paid for: the charges of all calls by component, and what no charge says."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tokenmeter.components import COMPONENTS
from tokenmeter.ledger.report.question import Question
from tokenmeter.ledger.report.selection import Snapshot, select

__all__ = ["ChargedComponent", "charged_components"]

_ORDER: Final = {component.name: place for place, component in enumerate(COMPONENTS)}


@dataclass(frozen=True)
class ChargedComponent:
    """One component in one currency; the component None is what vendors charged as a sum, without its parts."""

    component: str | None
    currency: str
    cost: Decimal
    calls: int


def charged_components(snapshot: Snapshot, question: Question) -> list[ChargedComponent]:
    """The components of each currency; together they are its total."""
    with select(snapshot, question) as (connection, where, values):
        known = f"{where} AND amount IS NOT NULL AND currency IS NOT NULL"
        charges = (
            "SELECT json_extract(charge.value, '$.component'), currency, "  # noqa: S608
            "exact_sum(json_extract(charge.value, '$.amount')), count(*) FROM "
            f"(SELECT charges, currency FROM calls WHERE {known} AND charges IS NOT NULL) AS call, "
            "json_each(call.charges) AS charge GROUP BY 1, 2"
        )
        sums = (
            f"SELECT NULL, currency, exact_sum(amount), count(*) FROM calls WHERE {known} AND charges IS NULL "  # noqa: S608
            "GROUP BY currency HAVING max(amount <> '0')"
        )
        rows = [*connection.execute(charges, values), *connection.execute(sums, values)]
    found = [ChargedComponent(row[0], row[1], Decimal(row[2]), row[3]) for row in rows]
    found.sort(key=lambda one: (one.currency, one.component is None, _ORDER.get(one.component or "", len(_ORDER))))
    return found
