"""`Charge`: one component's part of a cost."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tokenmeter.money import plain

__all__ = ["Charge"]


@dataclass(frozen=True, slots=True)
class Charge:
    """One component's part of a cost: `amount` = `quantity` x `rate` / `per`, exactly."""

    component: str
    quantity: int | Decimal
    rate: Decimal
    per: int
    amount: Decimal
    currency: str

    def to_dict(self) -> dict[str, Any]:
        """The contract's JSON form: whole quantities are integers, everything else a plain string."""
        return {
            "component": self.component,
            "quantity": self.quantity if isinstance(self.quantity, int) else plain(self.quantity),
            "rate": plain(self.rate),
            "per": str(self.per),
            "amount": plain(self.amount),
        }
