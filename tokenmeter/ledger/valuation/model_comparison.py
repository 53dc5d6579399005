"""The answer of a comparison: the calls of a ledger as calls of other models."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from tokenmeter.ledger.valuation.candidate import Candidate, Sums
from tokenmeter.money import plain

__all__ = ["ModelComparison"]


@dataclass(slots=True)
class ModelComparison:
    """The calls compared, what they cost, and the candidates."""

    candidates: list[Candidate]
    cache: str
    language: str | None
    at: datetime | None
    calls: int = 0
    spend: Sums = field(default_factory=lambda: defaultdict(Decimal))

    def to_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "calls": self.calls,
            "spend": [{"currency": currency, "amount": plain(sum_)} for currency, sum_ in sorted(self.spend.items())],
            "at": None if self.at is None else self.at.isoformat(),
            "cache": self.cache,
            "language": self.language,
            "kept": ["the length of outputs", "the inputs that follow from them"],
            "models": [one.to_dict(self.spend) for one in self.candidates],
        }
