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

from collections.abc import Callable, Collection, Iterable
from typing import Final

from tokenmeter.components import FIELDS
from tokenmeter.cost import STALE
from tokenmeter.ledger.amounts import amount_sql
from tokenmeter.ledger.shapes import restore_sql
from tokenmeter.record import VENDOR_GAP
from tokenmeter.usage import TOKEN_FIELDS

__all__ = [
    "COLUMNS", "DIMS", "LOSSES", "MARKS", "ROLLED", "ROW", "TABLES", "WIDE_SEQ", "Restore", "triggers", "view", "wide_view",
]  # fmt: skip

DIMS: Final = (
    "provider", "otel_provider", "model", "request_model", "response_model", "api", "operation", "host", "port",
    "region", "service_tier", "stream", "end_state", "error_type", "status_code", "finish_reasons", "usage_source",
    "usage_sources", "status", "currency", "rate_id", "effective_from", "dating", "confidence", "list", "book",
    "covered_by", "cost_reason", "cost_source", "vendor_currency", "attempt_count", "stale", "vendor_gap", "known",
)  # fmt: skip
"""What calls have in common. `stale` and `vendor_gap` tell flags of the cost; `known` has a bit for each of `ROLLED`
that the call knows."""

ROLLED: Final = tuple(part.usage for part in FIELDS if part.modality is None)
"""The tokens that the roll-up sums: totals, each with its parts of no modality."""

ROW: Final = (
    "id", "response_key", "ended_us", "span_us", "duration_ns", "time_to_first_chunk", "day", "dims", "tagset", "tags",
    *TOKEN_FIELDS,
    "amount_whole", "amount_pico", "amount_text", "list_amount", "vendor_whole", "vendor_pico", "vendor_text",
    "priced_us", "charge_shape", "charge_values", "raw_shape", "raw_values", "sent_shape", "sent_us", "sent_ns",
    "request_id", "response_id", "parent_id", "trace_id", "span_id", "scope", "cost_flags", "params", "flags", "reason",
    "unknown_fields", "budget_window", "more", "duplicate_of", "provisional",
)  # fmt: skip
"""The columns of `call_rows` after `seq`, in the order in which rows are written.

`span_us` is how long before its end a call began, `sent_us` its only request; `priced_us` is the instant of the price,
after the end. `response_key` is a hash by which a response that two calls recorded is found. `provisional` marks a
row that will come again with its cost.
"""

_BINARY: Final = frozenset({"id", "parent_id", "trace_id", "span_id", "duplicate_of"})
_TEXT: Final = frozenset(
    {
        "tags", "amount_text", "list_amount", "vendor_text", "charge_values", "raw_values", "request_id", "response_id",
        "more",
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
)  # fmt: skip
"""The columns of a wide row, beside `seq`."""


def _type(column: str) -> str:
    if column in _BINARY:
        return "BLOB"
    return "TEXT" if column in _TEXT else "REAL" if column == "time_to_first_chunk" else "INTEGER"


_SUMS: Final = (
    "calls", *ROLLED, "amount_whole", "amount_pico", "amount_texts", "vendor_whole", "vendor_pico", "vendor_texts",
)  # fmt: skip

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
    + ", ".join(f"{name} {'INTEGER' if name in _DIM_NUMBERS else 'TEXT'}" for name in DIMS)
    + ")",
    "CREATE TABLE call_rows (seq INTEGER PRIMARY KEY, " + ", ".join(f"{name} {_type(name)}" for name in ROW) + ")",
    "CREATE UNIQUE INDEX call_rows_id ON call_rows (id)",
    "CREATE INDEX call_rows_ended ON call_rows (ended_us)",
    "CREATE INDEX call_rows_trace ON call_rows (trace_id) WHERE trace_id IS NOT NULL",
    "CREATE INDEX call_rows_response ON call_rows (response_key) WHERE response_key IS NOT NULL",
    "CREATE TABLE days (day INTEGER NOT NULL, dims INTEGER NOT NULL, tagset INTEGER NOT NULL, "
    + ", ".join(f"{name} INTEGER NOT NULL DEFAULT 0" for name in _SUMS)
    + ", PRIMARY KEY (day, dims, tagset)) WITHOUT ROWID",
)
"""Statements that make the tables of a new ledger, beside `LOSSES`."""


WIDE_SEQ: Final = 2**52
"""How far below the others the `seq` of wide rows stand in the view: they are older."""


def triggers(*, wide: bool = False) -> dict[str, str]:
    """Statements, by the names of their triggers, that keep `days` equal to `call_rows`, and delete by the view."""
    moves = ("day", "dims", "tagset", *ROLLED, "amount_whole", "amount_pico", "amount_text", "vendor_whole",
             "vendor_pico", "vendor_text")  # fmt: skip
    changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in moves)
    added, taken = _rolled("NEW", "+"), _rolled("OLD", "-")
    delete = "DELETE FROM call_rows WHERE seq = OLD.seq"
    if wide:
        delete += f"; DELETE FROM wide_calls WHERE seq = OLD.seq + {WIDE_SEQ}"
    bodies = {
        "call_rows_insert": f"AFTER INSERT ON call_rows BEGIN {added}",
        "call_rows_delete": f"AFTER DELETE ON call_rows BEGIN {taken}",
        "call_rows_update": f"AFTER UPDATE ON call_rows WHEN {changed} BEGIN {taken}; {added}",
        "calls_delete": f"INSTEAD OF DELETE ON calls BEGIN {delete}",
    }
    return {name: f"CREATE TRIGGER {name} {body}; END" for name, body in bodies.items()}


def _rolled(row: str, sign: str) -> str:
    """The statement that adds a row to its day, or takes it away."""
    values = {
        "calls": "1",
        **{name: f"coalesce({row}.{name}, 0)" for name in ROLLED},
        **{f"{of}_{part}": f"coalesce({row}.{of}_{part}, 0)" for of in ("amount", "vendor") for part in _PARTS},
        **{f"{of}_texts": f"({row}.{of}_text IS NOT NULL)" for of in ("amount", "vendor")},
    }
    news = ", ".join(f"{'-' if sign == '-' else ''}{values[name]}" for name in _SUMS)
    # Parts of 10⁻¹² are carried over, or their sum would leave SQLite's integers after nine million calls.
    sets = {name: f"{name} + excluded.{name}" for name in _SUMS}
    for of in ("amount", "vendor"):
        pico = f"({of}_pico + excluded.{of}_pico)"
        sets[f"{of}_whole"] += f" + {pico} / 1000000000000"
        sets[f"{of}_pico"] = f"{pico} % 1000000000000"
    return (
        f"INSERT INTO days (day, dims, tagset, {', '.join(_SUMS)}) "
        f"VALUES ({row}.day, {row}.dims, {row}.tagset, {news}) ON CONFLICT DO UPDATE SET "
        + ", ".join(f"{name} = {value}" for name, value in sets.items())
    )


_PARTS: Final = ("whole", "pico")
MARKS: Final = {"stale": f'"{STALE}"', "vendor_gap": VENDOR_GAP}
"""Dimensions that tell flags of the cost, and how the flag begins."""
_MONEY: Final = tuple(f"{of}_{part}" for of in ("amount", "vendor") for part in (*_PARTS, "text"))

Restore = Callable[[str, str], str]
"""How a divided text is put together again: SQL for the id of its shape and for its values to SQL for the text."""


def _hex(column: str) -> str:
    return f"CASE typeof(c.{column}) WHEN 'blob' THEN lower(hex(c.{column})) ELSE c.{column} END"


def _time(us: str) -> str:
    return f"strftime('%Y-%m-%dT%H:%M:%S', ({us}) / 1000000, 'unixepoch') || printf('.%06dZ', ({us}) % 1000000)"


def _zoned(us: str) -> str:
    """As Python writes an instant of UTC: with a fraction only where there is one."""
    fraction = f"CASE ({us}) % 1000000 WHEN 0 THEN '' ELSE printf('.%06d', ({us}) % 1000000) END"
    return f"strftime('%Y-%m-%dT%H:%M:%S', ({us}) / 1000000, 'unixepoch') || {fraction} || '+00:00'"


def _more(name: str) -> str:
    return f"json_extract(c.more, '$.{name}')"


def _text_of(column: str) -> str:
    return f"(SELECT texts.text FROM texts WHERE texts.id = c.{column})"


def _sent() -> str:
    """The JSON of the only request of a call, of which `sent_shape` holds the four pieces."""
    piece = "json_extract(texts.text, '$[{}]')".format
    return (
        f"(SELECT {piece(0)} || {_time('c.ended_us - c.sent_us')} || {piece(1)} || (c.sent_ns / 1e9) || {piece(2)} || "
        f"coalesce(json_quote(c.request_id), 'null') || {piece(3)} FROM texts WHERE texts.id = c.sent_shape)"
    )


def _shown(restore: Restore) -> dict[str, str]:
    """Each wide column as SQL over `call_rows AS c`, `dims AS d` and `tagsets AS t`."""
    texts = ("scope", "cost_flags", "params", "flags", "reason", "unknown_fields", "budget_window")
    return {
        **{name: f"c.{name}" for name in (*TOKEN_FIELDS, "ended_us", "time_to_first_chunk", "response_id")},
        **{name: f"d.{name}" for name in DIMS if name in COLUMNS},
        **{name: _hex(name) for name in ("id", "parent_id", "trace_id", "span_id")},
        **{name: _text_of(name) for name in texts},
        **{name: _more(name) for name in ("usage", "usage_ranges")},
        "started_us": "c.ended_us - c.span_us",
        "started_at": _time("c.ended_us - c.span_us"),
        "ended_at": _time("c.ended_us"),
        "duration": "c.duration_ns / 1e9",
        "amount": amount_sql("c.amount"),
        "list_amount": "c.list_amount",
        "vendor_amount": amount_sql("c.vendor"),
        "charges": restore("c.charge_shape", "c.charge_values"),
        "usage_raw": restore("c.raw_shape", "c.raw_values"),
        "priced_at": f"CASE WHEN c.priced_us IS NULL THEN {_more('priced_at')} "
        f"ELSE {_zoned('c.ended_us + c.priced_us')} END",
        "attempts": f"CASE WHEN c.sent_shape IS NULL THEN {_more('attempts')} ELSE {_sent()} END",
        "tags": "CASE WHEN c.tags IS NULL THEN t.tags WHEN t.id = 1 THEN c.tags ELSE json_patch(t.tags, c.tags) END",
    }


def view(*, wide: Iterable[str] = (), missing: Iterable[str] = (), restore: Restore = restore_sql) -> str:
    """The SELECT that shows every call as a wide row, and the parts of its amounts for exact sums.

    `wide` are the columns of `wide_calls`, where the file has rows of the first schema; `missing` are columns that
    `call_rows` lacks, because an older version made it.
    """
    shown = _shown(restore) | dict.fromkeys(missing, "NULL")
    narrow = ", ".join(
        [
            "c.seq AS seq",
            *(f"{shown[name]} AS {name}" for name in COLUMNS),
            *(f"c.{name} AS {name}" for name in _MONEY),
            f"{_hex('duplicate_of')} AS duplicate_of",
            *(f"d.{name} AS {name}" for name in MARKS),
            "1 AS calls",
        ]
    )
    query = f"SELECT {narrow} FROM call_rows AS c JOIN dims AS d ON d.id = c.dims JOIN tagsets AS t ON t.id = c.tagset"
    known = set(wide)
    return f"{query} UNION ALL {wide_view(known, 'wide_calls')}" if known else query


def wide_view(known: Collection[str], table: str) -> str:
    """The SELECT that shows the wide rows of a table with these columns as `view` shows the others."""
    texts = {"amount_text": "amount", "vendor_text": "vendor_amount"}
    shown = ", ".join(
        [
            f"seq - {WIDE_SEQ} AS seq",
            *(f"{name if name in known else 'NULL'} AS {name}" for name in COLUMNS),
            *(f"{texts.get(name, 'NULL')} AS {name}" for name in _MONEY),
            "NULL AS duplicate_of",
            *(f"coalesce(instr(cost_flags, '{text}') > 0, 0) AS {name}" for name, text in MARKS.items()),
            "1 AS calls",
        ]
    )
    return f"SELECT {shown} FROM {table}"
