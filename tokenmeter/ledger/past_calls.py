"""Reads what the calls of a ledger cost, for budgets that start with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal

from tokenmeter.budgets.seed import PastCall
from tokenmeter.ledger.schema import open_for_reading

__all__ = ["past_calls"]


def past_calls(path: str, since_ms: int) -> Iterator[PastCall]:
    """The calls that began at or after an instant, in order. Raises LedgerError for a file that is no ledger."""
    with closing(open_for_reading(path)) as connection:
        rows = connection.execute(
            "SELECT started_us, provider, request_model, tags, amount, currency, input_tokens, output_tokens"
            " FROM calls WHERE started_us >= ? AND end_state NOT IN ('delegated', 'refused') ORDER BY started_us",
            (since_ms * 1000,),
        )
        for started, provider, model, tags, amount, currency, read, written in rows:
            yield PastCall(
                started // 1000,
                provider,
                model,
                json.loads(tags),
                None if amount is None else Decimal(amount),
                currency,
                (read or 0) + (written or 0),
            )
