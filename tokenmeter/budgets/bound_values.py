"""`Bound`: what a call may be charged at most, as budgets use it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from tokenmeter.money import EXACT, Money

__all__ = ["Bound", "BoundPart"]


class BoundPart(NamedTuple):
    """One part of a bound: `quantity` of a component at `rate` for one unit of it."""

    component: str
    quantity: Decimal
    rate: Decimal


@dataclass(frozen=True, slots=True)
class Bound:
    """What a request may be charged at most.

    `amount` is None where no price is known, or no limit of the output, neither of the request nor of its model;
    `reason` says which. `low` is what it costs at least if it is answered. `input_amount` is the part of `amount` that
    does not depend on the length of the answer, `per_output_token` what each token of the answer may cost (all choices
    together). `output_tokens` is the limit of one answer by the request, `max_output` that of its model. `sound` is
    False where the vendor may charge for what is not in the request, such as hidden prompts of its own tools.
    """

    amount: Money | None
    low: Money | None
    parts: tuple[BoundPart, ...]
    sound: bool
    reason: str | None = None
    currency: str | None = None
    input_amount: Decimal | None = None
    per_output_token: Decimal | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    choices: int = 1
    max_output: int | None = None

    def with_output(self, tokens: int) -> Decimal | None:
        """The amount for answers of so many tokens."""
        if self.input_amount is None or self.per_output_token is None:
            return None
        return EXACT.add(self.input_amount, EXACT.multiply(self.per_output_token, Decimal(tokens)))
