"""Real records with real costs, made by hand, for tests of what receives records."""

from __future__ import annotations

import itertools
import os
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from tokenmeter.cost import Cost
from tokenmeter.offers import Offer, Price
from tokenmeter.record import End, Record
from tokenmeter.usage import Usage

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
_numbers = itertools.count()


def nanoseconds(at: datetime) -> int:
    """An instant of whole microseconds as nanoseconds since the epoch."""
    return int((at - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 10**9 + at.microsecond * 1000


def priced(
    amount: str,
    currency: str = "CNY",
    *,
    model: str = "deepseek-chat",
    provider: str = "deepseek",
    confidence: str = "corroborated",
) -> Cost:
    """A cost of one charge: `amount` for as many input tokens, at 1 each."""
    offer = Offer(
        provider=provider, model=model, rate_id=f"{provider}/{model}#1",
        effective_from=datetime(2026, 1, 1, tzinfo=UTC), dating="official", confidence=confidence,
        list=currency, book="test-book",
    )  # fmt: skip
    value = Decimal(amount)
    if not value:
        return Cost(offer, "free", value, (), NOON)
    return Cost(offer, "priced", value, ((Price("input", Decimal(1), 1), value, value),), NOON)


def unpriced(reason: str = "no rate for this model", *, provider: str = "deepseek") -> Cost:
    """A cost that is not known."""
    return Cost(Offer(provider=provider), "unpriced", None, (), NOON, reason=reason)


def record(cost: Cost | None = None, *, ended: datetime = NOON, **changes: Any) -> Record:
    """A settled call: 1,000 tokens in, 100 out, one second, complete; `changes` replace fields."""
    the_cost = priced("0.0012") if cost is None else cost
    end_ns = nanoseconds(ended)
    fields: dict[str, Any] = {
        "id": f"call-{os.getpid()}-{next(_numbers)}",
        "provider": "deepseek",
        "otel_provider": "deepseek",
        "api": "openai.chat",
        "operation": "chat",
        "request_model": "deepseek-chat",
        "response_model": None,
        "started_ns": end_ns - 10**9,
        "ended_ns": end_ns,
        "end": End.COMPLETE,
        "usage": Usage(input_tokens=1000, output_tokens=100),
        "pricer": lambda _: the_cost,
    }
    return Record(**(fields | changes))
