"""The tables of a ledger and the view `calls` over them, as SQL.

`call_rows` has one narrow row per settled call: integers, binary ids, and keys into small tables. `dims` holds what
many calls have in common (provider, models, endpoint, price and how it ended), `tagsets` their tags of few values,
`texts` whatever else repeats: the shapes of JSON texts (`shapes.py`), scopes, parameters, remarks. `more` is JSON for
what is unusual. `days` is the roll-up: sums by day of the file's home zone, `dims` and `tagsets`, kept by triggers in
the transaction of the rows, so that it is equal to them whoever writes.

The view `calls` shows a call as one wide row: instants as RFC 3339 text, money as exact text, JSON as text. Rows of
the first schema, which were wide, stay in `wide_calls` until the file is migrated, and the view shows both.
"""

from __future__ import annotations

from typing import Final

from tokenmeter.components import FIELDS
from tokenmeter.usage import TOKEN_FIELDS

__all__ = ["COLUMNS", "DIMS", "GROWING", "INDEXES", "LOSSES", "MONEY", "PARTS", "ROLLED", "ROW", "SUMS", "TABLES"]

DIMS: Final = (
    "provider", "otel_provider", "model", "request_model", "response_model", "api", "operation", "host", "port",
    "region", "account", "service_tier", "stream", "end_state", "error_type", "status_code", "finish_reasons",
    "usage_source", "usage_sources", "status", "currency", "rate_id", "effective_from", "dating", "confidence", "list",
    "book", "covered_by", "cost_reason", "cost_source", "vendor_currency", "attempt_count", "stale", "vendor_gap",
    "known",
)  # fmt: skip
"""What calls have in common. `stale` and `vendor_gap` tell flags of the cost; `known` has a bit for each of `ROLLED`
that the call knows."""

ROLLED: Final = tuple(part.usage for part in FIELDS if part.modality is None)
"""The tokens that the roll-up sums: totals, each with its parts of no modality."""

ROW: Final = (
    "id", "response_key", "ended_us", "span_us", "duration_ns", "time_to_first_chunk", "day", "dims", "tagset", "tags",
    *TOKEN_FIELDS, "tool_definition_tokens",
    "amount_whole", "amount_pico", "amount_text", "list_amount", "cache_saved",
    "vendor_whole", "vendor_pico", "vendor_text",
    "priced_us", "charge_shape", "charge_values", "raw_shape", "raw_values", "sent_shape", "sent_us", "sent_ns",
    "request_id", "response_id", "parent_id", "trace_id", "span_id", "scope_run", "scope", "cost_flags", "params",
    "flags", "reason", "unknown_fields", "budget_window", "more", "duplicate_of", "provisional",
)  # fmt: skip
"""The columns of `call_rows` after `seq`, in the order in which rows are written.

`span_us` is how long before its end a call began, `sent_us` its only request; `priced_us` is the instant of the price,
after the end. `tool_definition_tokens` are those of `input_tokens` that describe the offered tools; `cache_saved` is
the exact amount that the vendor's cache took off. `response_key` is a hash by which a response that two calls recorded
is found. `provisional` marks a row that will come again with its cost.
"""

_BINARY: Final = frozenset({"id", "parent_id", "trace_id", "span_id", "scope_run", "duplicate_of"})
_TEXT: Final = frozenset(
    {
        "tags", "amount_text", "list_amount", "cache_saved", "vendor_text", "charge_values", "raw_values", "request_id",
        "response_id", "more",
    }
)  # fmt: skip
_DIM_NUMBERS: Final = frozenset(
    {"port", "stream", "status_code", "attempt_count", "stale", "vendor_gap", "known"}
)  # fmt: skip

COLUMNS: Final = (
    "id", "parent_id", "started_at", "ended_at", "started_us", "ended_us", "duration", "time_to_first_chunk",
    "provider", "otel_provider", "model", "request_model", "response_model", "api", "operation", "host", "port",
    "region", "service_tier", "stream", "end_state", "error_type", "status_code", "finish_reasons", "response_id",
    *TOKEN_FIELDS,
    "usage", "usage_source", "usage_sources", "usage_ranges", "usage_raw", "unknown_fields", "status", "amount",
    "currency", "list_amount", "charges", "rate_id", "effective_from", "dating", "confidence", "list", "book",
    "covered_by", "priced_at", "cost_flags", "cost_reason", "cost_source", "vendor_amount", "vendor_currency",
    "attempt_count", "attempts", "tags", "scope", "trace_id", "span_id", "params", "flags", "reason", "budget_window",
    "scope_run", "account", "tool_definition_tokens", "cache_saved",
)  # fmt: skip
"""The columns of a wide row, beside `seq`."""


def _type(column: str) -> str:
    if column in _BINARY:
        return "BLOB"
    return "TEXT" if column in _TEXT else "REAL" if column == "time_to_first_chunk" else "INTEGER"


def _dim_type(column: str) -> str:
    return "INTEGER" if column in _DIM_NUMBERS else "TEXT"


PARTS: Final = ("whole", "pico")
"""The integers of an amount."""
MONEY: Final = ("amount", "vendor")
"""The amounts of a row: what the call costs, and what the vendor itself reported."""

SUMS: Final = (
    "calls", *ROLLED, "amount_whole", "amount_pico", "amount_texts", "vendor_whole", "vendor_pico", "vendor_texts",
)  # fmt: skip
"""What the roll-up sums; `texts` counts amounts that integers cannot say."""

# Calls that could not be kept (the queue was full while the file could not be written): the report names them,
# so that a sum is never taken for complete when it is not.
LOSSES: Final = """
CREATE TABLE losses (
    seq INTEGER PRIMARY KEY,
    first_us INTEGER NOT NULL,
    last_us INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    reason TEXT NOT NULL
)
"""

TABLES: Final = (
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE)",
    "CREATE TABLE tagsets (id INTEGER PRIMARY KEY, tags TEXT NOT NULL UNIQUE)",
    # Tags that are on the rows, for they have too many values: the roll-up cannot answer for them.
    "CREATE TABLE row_tags (name TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE dims (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, "
    + ", ".join(f"{name} {_dim_type(name)}" for name in DIMS)
    + ")",
    "CREATE TABLE call_rows (seq INTEGER PRIMARY KEY AUTOINCREMENT, "
    + ", ".join(f"{name} {_type(name)}" for name in ROW)
    + ")",
    "CREATE UNIQUE INDEX call_rows_id ON call_rows (id)",
    "CREATE TABLE days (day INTEGER NOT NULL, dims INTEGER NOT NULL, tagset INTEGER NOT NULL, "
    + ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in SUMS)
    + ", PRIMARY KEY (day, dims, tagset)) WITHOUT ROWID",
)
"""Statements that make the tables of a new ledger, beside `LOSSES`."""

GROWING: Final = {
    "dims": {name: _dim_type(name) for name in DIMS},
    "call_rows": {name: _type(name) for name in ROW},
    "days": dict.fromkeys(ROLLED, "INTEGER NOT NULL DEFAULT 0"),
}
"""Tables that versions add columns to: what each column is declared as."""

INDEXES: Final = {
    "call_rows_ended": "(ended_us)",
    "call_rows_response": "(response_key) WHERE response_key IS NOT NULL",
}
"""Indexes of `call_rows` by name, beside that of its ids. Each index on random values makes a commit write a page for
each row, so there is none on trace ids: a question about one trace reads the rows."""
