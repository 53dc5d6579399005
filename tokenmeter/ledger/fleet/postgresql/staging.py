"""How calls go into PostgreSQL, as SQL: staged by COPY, inserted with their roll-up.

A call is known by its id and its end: the same one again changes nothing, but that the program's own record takes the
place of one that was made of the call's span. What is inserted is summed into `days` by
the same statement, so that the roll-up is equal to the rows whoever ships, and however often.
"""

from __future__ import annotations

from typing import Final

from tokenmeter.ledger.fleet.source_file import IDS, SHIPPED
from tokenmeter.ledger.tables import ROLLED
from tokenmeter.record import FROM_SPAN_TEXT

__all__ = ["COPY", "FULLER", "INSERT", "INSTANT", "REPLACED", "TABLE"]

_TEXTS: Final = (
    *IDS, "tags", "amount_text", "list_amount", "cache_saved", "vendor_text", "charge_values", "raw_values",
    "request_id", "response_id", "more",
)  # fmt: skip

INSTANT: Final = "timestamptz 'epoch' + {} * interval '1 microsecond'"
"""Microseconds since the epoch as an instant: exact, as long as a double holds them."""


TABLE: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS staged ("
    + ", ".join(
        f"{name} {'text' if name in _TEXTS else 'double precision' if name == 'time_to_first_chunk' else 'bigint'}"
        for name in SHIPPED
    )
    + ") ON COMMIT DELETE ROWS"
)
COPY: Final = f"COPY pg_temp.staged ({', '.join(SHIPPED)}) FROM STDIN"

_AMOUNTS: Final = {
    of: f"s.{part}_whole + s.{part}_pico * 0.000000000001"
    for of, part in (("amount", "amount"), ("vendor_amount", "vendor"))
}
_INTO: Final = {
    **{name: f"s.{name}" for name in SHIPPED if not name.endswith(("_whole", "_pico")) and name != "ended_us"},
    "ended_at": INSTANT.format("s.ended_us"),
    "day": "date '1970-01-01' + s.day::integer",
    "tags": "s.tags::jsonb",
    "list_amount": "s.list_amount::numeric",
    "cache_saved": "s.cache_saved::numeric",
    **_AMOUNTS,
    "provisional": "s.provisional IS NOT NULL",
}

SUMS: Final = {
    "calls": "{sign}count(*)",
    **{name: f"{{sign}}coalesce(sum({name}), 0)" for name in ROLLED},
    "amount": "{sign}coalesce(sum(coalesce(amount, amount_text::numeric)), 0)",
    "vendor_amount": "{sign}coalesce(sum(coalesce(vendor_amount, vendor_text::numeric)), 0)",
    "first_at": "min(ended_at)",
    "last_at": "max(ended_at)",
}
_SUMMED: Final = (
    "day", "dims", "tagset", "ended_at", *ROLLED, "amount", "amount_text", "vendor_amount", "vendor_text",
)  # fmt: skip


def _rolled(rows: str, sign: str) -> str:
    """The statement that adds rows to their days, or takes them away; in one order, against deadlocks."""
    added = (name for name in SUMS if not name.endswith("_at"))
    sums = ", ".join(f"{sql.format(sign=sign)} AS {name}" for name, sql in SUMS.items())
    return (
        f"INSERT INTO tokenmeter.days AS d (day, dims, tagset, {', '.join(SUMS)}) "
        f"SELECT day, dims, tagset, {sums} FROM {rows} GROUP BY 1, 2, 3 ORDER BY 1, 2, 3 "
        "ON CONFLICT (day, dims, tagset) DO UPDATE SET "
        + ", ".join(f"{name} = d.{name} + excluded.{name}" for name in added)
        + ", first_at = least(d.first_at, excluded.first_at), last_at = greatest(d.last_at, excluded.last_at)"
    )


INSERT: Final = (
    f"WITH fresh AS (INSERT INTO tokenmeter.call_rows ({', '.join(_INTO)}) "
    f"SELECT {', '.join(_INTO.values())} FROM pg_temp.staged AS s ORDER BY s.id "
    f"ON CONFLICT (id, ended_at) DO NOTHING RETURNING {', '.join(_SUMMED)}), "
    f"rolled AS ({_rolled('fresh', '')}) SELECT count(*) FROM fresh"
)
"""Inserts what is staged, and answers how many calls were new."""


def _gone(where: str) -> str:
    """The statement that takes away calls that are staged and of which something holds."""
    return (
        "WITH gone AS (DELETE FROM tokenmeter.call_rows AS c USING pg_temp.staged AS s "
        f"WHERE c.id = s.id AND c.ended_at = {INSTANT.format('s.ended_us')} AND {where} "
        f"RETURNING {', '.join(f'c.{name}' for name in _SUMMED)}) {_rolled('gone', '-')}"
    )


_OF_SPAN: Final = (
    f"EXISTS (SELECT 1 FROM tokenmeter.texts AS t WHERE t.id = {{}}.flags AND strpos(t.text, '{FROM_SPAN_TEXT}') > 0)"
)

REPLACED: Final = _gone("c.provisional AND s.provisional IS NULL")
"""Takes away the calls that were shipped without their cost and are staged with it."""
FULLER: Final = _gone(f"{_OF_SPAN.format('c')} AND NOT {_OF_SPAN.format('s')}")
"""Takes away the calls that were made of spans and are staged as the program that made them recorded them."""
