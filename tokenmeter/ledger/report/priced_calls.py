"""Reads the calls of a ledger back as they are priced: provider, names, usage, parameters and instant.

For pricing them again, by another book or at another instant. A parameter that the ledger does not keep (free text)
is not there; calls that were delegated carry nothing themselves and are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from tokenmeter.ledger.opening import open_calls
from tokenmeter.usage import TOKEN_FIELDS, Usage

__all__ = ["PricedCall", "priced_calls"]

_COLUMNS: Final = (
    "provider", "model", "request_model", "response_model", "usage", "params", "service_tier", "priced_at", "ended_at",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PricedCall:
    """One call as the price book sees it; `at` is RFC 3339 text."""

    provider: str
    model: str
    response_model: str | None
    usage: Usage
    params: dict[str, Any]
    at: str


def priced_calls(path: str) -> Iterator[PricedCall]:
    """The calls of a ledger that name a provider and a model. Raises LedgerError for a file that cannot be read."""
    import sqlite3

    with closing(open_calls(path)) as connection:
        connection.row_factory = sqlite3.Row
        known = {row[1] for row in connection.execute("PRAGMA table_info(calls)")}
        columns = ", ".join([*_COLUMNS, *(name for name in TOKEN_FIELDS if name in known)])
        query = f"SELECT {columns} FROM calls WHERE end_state <> 'delegated' AND provider IS NOT NULL"  # noqa: S608
        for row in connection.execute(query):
            model = row["request_model"] or row["response_model"] or row["model"]
            if model:
                yield _call(row, model)


def _call(row: Any, model: str) -> PricedCall:
    if row["usage"]:
        usage = Usage.from_dict(json.loads(row["usage"]))
    else:
        names = [name for name in TOKEN_FIELDS if name in row.keys()]  # noqa: SIM118  # sqlite3.Row has no other test
        usage = Usage.from_dict({name: row[name] for name in names if row[name] is not None})
    params = json.loads(row["params"]) if row["params"] else {}
    if row["service_tier"]:
        params["service_tier"] = row["service_tier"]
    at = row["priced_at"] or row["ended_at"]
    return PricedCall(row["provider"], model, row["response_model"], usage, params, at)
