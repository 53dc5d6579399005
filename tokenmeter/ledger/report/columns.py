"""What a report can group by, filter on and measure: names of the command line, each as SQL over `calls`."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Final

from tokenmeter.components import FIELDS
from tokenmeter.ledger.report.periods import PERIODS, Zone

if TYPE_CHECKING:
    import sqlite3

__all__ = ["KEYS", "NUMBERS", "TAG", "TOKENS", "register"]

KEYS: Final[dict[str, str]] = {
    **{
        name: name
        for name in (
            "provider", "model", "request_model", "response_model", "api", "operation", "host", "region",
            "account", "service_tier", "status", "currency",
        )
    },
    "scope": "scope_path(scope)",
    "end": "end_state",
    "source": "usage_source",
    **{
        name: name
        for name in (
            "scope_run", "list", "rate_id", "book", "dating", "confidence", "cost_source", "covered_by", "error_type",
            "response_id",
        )
    },
    "trace": "trace_id",
    "reason": "cost_reason",
    "stream": "CASE stream WHEN 0 THEN 'no' ELSE 'yes' END",
    **{period: f"{period}_of(ended_us)" for period in PERIODS},
}  # fmt: skip
"""What a report can be grouped by besides tags, as SQL over the ledger."""

TOKENS: Final = tuple(part.usage for part in FIELDS if part.modality is None)
"""The columns of tokens: totals, each with its parts of no modality."""

NUMBERS: Final[dict[str, str]] = {
    "cost": "amount",
    "vendor_cost": "vendor_amount",
    "list_cost": "list_amount",
    "duration": "duration",
    "time_to_first_chunk": "time_to_first_chunk",
    "attempts": "attempt_count",
    "status_code": "status_code",
    **{part.usage: part.usage for part in FIELDS},
    "tool_definition_tokens": "tool_definition_tokens",
}
"""Numbers of a call, as SQL over the ledger: money in the currency of the call, durations in seconds."""

TAG: Final = "(SELECT value FROM json_each(calls.tags) WHERE key = ?)"
"""The value of a tag, whose name is bound."""


@cache
def _scope_path(scope: str | None) -> str | None:
    return None if scope is None else " / ".join(json.loads(scope))


def register(connection: sqlite3.Connection, zone: Zone) -> None:
    """Define the functions that the SQL above calls."""
    connection.create_function("scope_path", 1, _scope_path)
    for period in PERIODS:
        connection.create_function(f"{period}_of", 1, zone.buckets(period))
