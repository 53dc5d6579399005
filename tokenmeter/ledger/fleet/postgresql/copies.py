"""The queries by which a copy of calls is read from PostgreSQL into the narrow tables of a file (`fleet/copied.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tokenmeter.ledger.fleet.postgresql.staging import INSTANT
from tokenmeter.ledger.fleet.source_file import KEYED
from tokenmeter.ledger.tables import DIMS, ROW, SUMS

__all__ = ["copies"]

_US: Final = "(extract(epoch FROM {}) * 1000000)::bigint"


def _amount(of: str, column: str) -> dict[str, str]:
    """The integers of an amount, both with its sign."""
    whole = f"trunc({column})"
    return {
        f"{of}_whole": f"{whole}::bigint",
        f"{of}_pico": f"(({column} - {whole}) * 1000000000000)::bigint",
    }


_SHOWN: Final = {
    "response_key": "NULL",
    "ended_us": _US.format("ended_at"),
    "day": "day - date '1970-01-01'",
    "tagset": "tagset + 1",  # 1 is the empty set in a file, and may be another one here
    "tags": "tags::text",
    "list_amount": "trim_scale(list_amount)::text",
    "cache_saved": "trim_scale(cache_saved)::text",
    "provisional": "CASE WHEN provisional THEN 1 END",
    **_amount("amount", "amount"),
    **_amount("vendor", "vendor_amount"),
}
_SUMS: Final = {
    **{name: name for name in SUMS},
    **_amount("amount", "amount"),
    **_amount("vendor", "vendor_amount"),
    # A sum that two integers cannot say: reports read the rows then.
    "amount_texts": "(amount <> round(amount, 12))::integer",
    "vendor_texts": "(vendor_amount <> round(vendor_amount, 12))::integer",
}
_DAYS: Final = {"day": "day - date '1970-01-01'", "dims": "dims", "tagset": "tagset + 1", **_SUMS}
_CALLS: Final = f"SELECT {', '.join(_SHOWN.get(name, name) for name in ROW)} FROM call_rows"
_TEXTS: Final = ", ".join(f"({name})" for name in KEYED["texts"])


def copies(since_us: int | None, until_us: int | None) -> Mapping[str, tuple[tuple[str, ...], str, list[Any]]]:
    """By table of a file: the columns that are filled, and the query with its values that answers them.

    Calls and their texts are those that ended from the one instant on and before the other.
    """
    bounds = [("ended_at >= ", since_us), ("ended_at < ", until_us)]
    where = " AND ".join([f"{text}{INSTANT.format('?::bigint')}" for text, us in bounds if us is not None] or ["true"])
    values: list[Any] = [us for _, us in bounds if us is not None]
    texts = "SELECT id, text FROM texts"
    if values:  # of all calls, to look for what they need would take longer than to read all
        here = f"SELECT t FROM call_rows, LATERAL (VALUES {_TEXTS}) AS texts_of (t) WHERE {where}"
        texts += f" WHERE id IN ({here})"
    whole = f"coalesce(sum(calls), 0)::bigint, {_US.format('min(first_at)')}, {_US.format('max(last_at)')}"
    return {
        "call_rows": (ROW, f"{_CALLS} WHERE {where}", values),
        "texts": (("id", "text"), texts, values),
        "dims": (("id", "digest", *DIMS), f"SELECT id, digest, {', '.join(DIMS)} FROM dims", []),
        "tagsets": (("id", "tags"), "SELECT id + 1, tags::text FROM tagsets", []),
        "days": (tuple(_DAYS), f"SELECT {', '.join(_DAYS.values())} FROM days", []),
        "settings": (("name", "value"), "SELECT name, value FROM settings WHERE name = 'zone'", []),
        "row_tags": (("name",), "SELECT name FROM row_tags", []),
        "losses": (
            ("first_us", "last_us", "calls", "reason"),
            "SELECT first_us, last_us, calls, reason FROM losses ORDER BY file, seq", [],
        ),
        "whole": (("calls", "first_us", "last_us"), f"SELECT {whole} FROM days WHERE calls > 0", []),
    }  # fmt: skip
