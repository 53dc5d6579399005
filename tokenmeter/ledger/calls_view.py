"""The view `calls`, as SQL: each call as one wide row, whatever its table is.

Instants are RFC 3339 text, money is exact text, JSON is text. The view of a file needs nothing but SQLite with JSON;
a connection of ours has one of its own, which restores divided texts in Python. `calls` is 1 in every row, and the
integers of the amounts are there too, for exact sums.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Final

from tokenmeter.cost import STALE
from tokenmeter.ledger.amounts import amount_sql
from tokenmeter.ledger.shapes import restore_sql
from tokenmeter.ledger.tables import COLUMNS, DIMS, MONEY, PARTS
from tokenmeter.record import VENDOR_GAP
from tokenmeter.usage import TOKEN_FIELDS

__all__ = ["MARKS", "Restore", "view", "wide_view"]

MARKS: Final = {"stale": f'"{STALE}"', "vendor_gap": VENDOR_GAP}
"""Dimensions that tell flags of the cost, and how the flag begins."""
_PLAIN: Final = (
    *TOKEN_FIELDS, "tool_definition_tokens", "cache_saved", "ended_us", "time_to_first_chunk", "response_id",
)  # fmt: skip
_MONEY: Final = tuple(f"{of}_{part}" for of in MONEY for part in (*PARTS, "text"))

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
        **{name: f"c.{name}" for name in _PLAIN},
        **{name: f"d.{name}" for name in DIMS if name in COLUMNS},
        **{name: _hex(name) for name in ("id", "parent_id", "trace_id", "span_id", "scope_run")},
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
            "seq",
            *(f"{name if name in known else 'NULL'} AS {name}" for name in COLUMNS),
            *(f"{texts.get(name, 'NULL')} AS {name}" for name in _MONEY),
            "NULL AS duplicate_of",
            *(f"coalesce(instr(cost_flags, '{text}') > 0, 0) AS {name}" for name, text in MARKS.items()),
            "1 AS calls",
        ]
    )
    return f"SELECT {shown} FROM {table}"
