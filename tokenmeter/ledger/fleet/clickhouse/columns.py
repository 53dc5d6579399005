"""The columns of calls as ClickHouse takes them: whole columns of a batch, made of the rows of a file.

Small tables of a file (what calls have in common, sets of tags, texts) become columns: ClickHouse keeps repeated values
once for each part of a table by itself, and a row needs no other table to be read.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from tokenmeter.ledger.fleet.engine import RefusedError
from tokenmeter.ledger.fleet.source_file import SHIPPED
from tokenmeter.ledger.tables import DIMS
from tokenmeter.record import FROM_SPAN_TEXT
from tokenmeter.usage import TOKEN_FIELDS

__all__ = ["COLUMNS", "CORRECTED", "FIRST", "PRICED", "columns_of"]

_NUMBERS: Final = frozenset({"port", "stream", "status_code", "attempt_count", "stale", "vendor_gap"})
_INSTANT: Final = "DateTime64(6, 'UTC')"
_OFTEN: Final = "LowCardinality(Nullable(String))"
_REPEATED: Final = (
    "charge_shape", "raw_shape", "sent_shape", "scope", "cost_flags", "params", "flags", "reason", "unknown_fields",
    "budget_window",
)  # fmt: skip
_TEXTS: Final = (
    "amount_text", "list_amount", "cache_saved", "vendor_text", "charge_values", "raw_values", "request_id",
    "response_id", "parent_id", "trace_id", "span_id", "scope_run", "more", "duplicate_of",
)  # fmt: skip
_WHOLE: Final = (
    *TOKEN_FIELDS, "tool_definition_tokens", "amount_whole", "amount_pico", "vendor_whole", "vendor_pico", "priced_us",
    "sent_us", "sent_ns",
)  # fmt: skip

COLUMNS: Final[dict[str, str]] = {
    "id": "String",
    "ended_at": _INSTANT,
    "span_us": "Int64",
    "duration_ns": "Int64",
    "time_to_first_chunk": "Nullable(Float64)",
    "day": "Date32",
    **{name: "Nullable(Int64)" if name in _NUMBERS else _OFTEN for name in DIMS if name != "known"},
    "tags": "Map(LowCardinality(String), String)",
    **dict.fromkeys(_WHOLE, "Nullable(Int64)"),
    **dict.fromkeys(_TEXTS, "Nullable(String)"),
    **dict.fromkeys(_REPEATED, _OFTEN),
    "precedence": "UInt64",
}
"""What is inserted into `call_rows`, and of which types."""

_SAME: Final = ("span_us", "duration_ns", "time_to_first_chunk", *_WHOLE, *_TEXTS, *_REPEATED)
_EXACT: Final = re.compile(r"-?[0-9]{1,37}(?:\.[0-9]{1,38})?")
"""Amounts that a Decimal(76, 38) holds."""
_LAST_US: Final = 10_413_792_000_000_000  # the end of the year 2299, and of ClickHouse's clock
CORRECTED: Final = 1 << 63
PRICED: Final = 1 << 62
_OWN: Final = 1 << 61
FIRST: Final = _OWN - 1
"""The bits of the precedence. Of rows of one call the highest counts: one that was found to be a duplicate, then one
with its cost, then one that the program itself recorded rather than one that was made of its span, then the first."""


def columns_of(calls: Sequence[Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The columns of calls by name, but for those that are all NULL. Raises RefusedError for what is too large."""
    by_name: dict[str, Sequence[Any]] = dict(zip(SHIPPED, list(zip(*calls, strict=True))[1:], strict=True))
    for name in ("amount_text", "vendor_text", "list_amount", "cache_saved"):
        for text in filter(None, by_name[name]):
            if not _EXACT.fullmatch(text):
                raise RefusedError(f"{name} {text[:200]} has more digits than ClickHouse's decimals")
    ended = by_name["ended_us"]
    if max(ended) >= _LAST_US:
        raise RefusedError("its end is after the year 2299")
    first = FIRST - time.time_ns() // 1000
    tags = zip(by_name["tagset"], by_name["tags"], strict=True)
    made = {name: by_name[name] for name in _SAME} | {
        "id": by_name["id"],
        "ended_at": ended,
        "day": by_name["day"],
        "tags": [one | _tags(own) if own else one for one, own in tags],
        "precedence": [
            first + (0 if provisional else PRICED) + (0 if flags and FROM_SPAN_TEXT in flags else _OWN)
            for provisional, flags in zip(by_name["provisional"], by_name["flags"], strict=True)
        ],
    }  # fmt: skip
    dims = list(zip(*by_name["dims"], strict=True))
    made |= {name: values for name, values in zip(DIMS, dims, strict=True) if name != "known"}
    return {name: made[name] for name in COLUMNS if not _is_null(made[name])}


def _is_null(column: Sequence[Any]) -> bool:
    return column[0] is None and column.count(None) == len(column)


@lru_cache(10_000)
def _tags(text: str) -> dict[str, str]:
    """The tags of a row, which many rows have alike."""
    found: dict[str, str] = json.loads(text)
    return found
