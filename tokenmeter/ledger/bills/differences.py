"""One difference between a bill and a ledger: its cause, its evidence, what it is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

from tokenmeter.ledger.bills.values import exact_sum
from tokenmeter.money import EXACT, plain

__all__ = ["BillDifference", "merged"]

ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class BillDifference:
    """One difference and its cause. Money is what the bill has more: `cost` at list, `paid` between list and payable.

    `tokens` is what the bill has more of each component; `quantity` what both sides have, at different prices (None
    where the difference is none of price); `count` how many lines or calls it gathers.
    """

    cause: str
    day: str
    model: str | None
    component: str | None
    evidence: str
    tokens: Mapping[str, Decimal] = field(default_factory=dict)
    cost: Decimal = ZERO
    paid: Decimal = ZERO
    quantity: Decimal | None = None
    count: int = 1

    @property
    def money(self) -> Decimal:
        """What the bill has more, list cost and what is payable together."""
        return EXACT.add(self.cost, self.paid)

    def to_dict(self) -> dict[str, Any]:
        """The JSON form: exact numbers as plain strings."""
        return {
            "cause": self.cause,
            "day": self.day,
            "model": self.model,
            "component": self.component,
            "tokens": {name: plain(quantity) for name, quantity in self.tokens.items()},
            "cost": plain(self.cost),
            "paid": plain(self.paid),
            "quantity": None if self.quantity is None else plain(self.quantity),
            "count": self.count,
            "evidence": self.evidence,
        }


def merged(found: list[BillDifference]) -> list[BillDifference]:
    """Differences of the same cause, day, model and component as one; the first one's evidence stands for all."""
    sums: dict[tuple[str, str, str | None, str | None], BillDifference] = {}
    for one in found:
        key = (one.cause, one.day, one.model, one.component)
        before = sums.get(key)
        if before is None:
            sums[key] = one
            continue
        tokens = {
            name: EXACT.add(before.tokens.get(name, ZERO), one.tokens.get(name, ZERO))
            for name in {**before.tokens, **one.tokens}
        }
        known = [part.quantity for part in (before, one) if part.quantity is not None]
        sums[key] = replace(
            before, tokens=tokens, cost=EXACT.add(before.cost, one.cost), paid=EXACT.add(before.paid, one.paid),
            quantity=exact_sum(known) if known else None, count=before.count + one.count,
        )  # fmt: skip
    return list(sums.values())
