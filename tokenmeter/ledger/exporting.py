"""Reads a ledger's calls out as mappings, for JSON Lines: what is JSON in the file becomes values."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any, Final

from tokenmeter.ledger.opening import open_calls
from tokenmeter.ledger.tables import COLUMNS

__all__ = ["JSON_COLUMNS", "exported_calls"]

JSON_COLUMNS: Final = frozenset(
    {
        "finish_reasons", "usage", "usage_sources", "usage_ranges", "usage_raw", "unknown_fields", "charges",
        "cost_flags", "attempts", "tags", "scope", "params", "flags", "budget_window",
    }
)  # fmt: skip
"""The columns of the view `calls` that hold JSON."""


def exported_calls(path: str) -> Iterator[dict[str, Any]]:
    """The calls of a ledger in the order in which they were written, without what is not known.

    Keys are the columns of the view `calls`. Raises LedgerError for a ledger that cannot be read.
    """
    columns = (*COLUMNS, "duplicate_of")
    with closing(open_calls(path)) as connection:
        connection.execute("BEGIN")
        for row in connection.execute(f"SELECT {', '.join(columns)} FROM calls ORDER BY seq"):  # noqa: S608
            yield {
                name: json.loads(value) if name in JSON_COLUMNS else value
                for name, value in zip(columns, row, strict=True)
                if value is not None
            }
