"""The queries by which a copy of calls is read from ClickHouse into the narrow tables of a file (`fleet/copied.py`).

A row of ClickHouse is whole, and a file's names small tables by keys: the key of what calls have in common, or of a
text, is a hash of it, which the connection numbers as it comes. Two contents of one hash would have one key, which
SQLite refuses. Tags of few values are in sets again, those of many on the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tokenmeter.ledger.fleet.clickhouse.columns import PRICED
from tokenmeter.ledger.fleet.source_file import KEYED
from tokenmeter.ledger.tables import DIMS, ROLLED, ROW

__all__ = ["copies"]

_PICO: Final = 1_000_000_000_000
_KNOWN: Final = " + ".join(f"{1 << bit} * isNotNull({name})" for bit, name in enumerate(ROLLED))
_DIMS: Final = ", ".join(f"toInt64({_KNOWN}) AS known" if name == "known" else name for name in DIMS)
_PLAIN_DIMS: Final = ", ".join(_KNOWN if name == "known" else name for name in DIMS)


def _key(text: str) -> str:
    return f"cityHash64({text})"


def _amount(of: str, column: str) -> dict[str, str]:
    """The integers of an amount, both with its sign."""
    parts = f"reinterpretAsInt128({column})"
    return {
        f"{of}_whole": f"if(isNull({column}), NULL, toInt64(intDiv({parts}, {_PICO})))",
        f"{of}_pico": f"if(isNull({column}), NULL, toInt64({parts} % {_PICO}))",
    }


_MANY: Final = "WITH (SELECT groupArray(name) FROM row_tags) AS many "
_SET: Final = "mapSort(mapFilter((name, value) -> NOT has(many, name), tags))"
_OWN: Final = "mapSort(mapFilter((name, value) -> has(many, name), tags))"

_SHOWN: Final = {
    "response_key": "NULL",
    "ended_us": "toUnixTimestamp64Micro(ended_at)",
    "day": "toInt64(toInt32(day))",
    "dims": _key(f"toString(tuple({_PLAIN_DIMS}))"),
    "tagset": f"if(empty({_SET}), toUInt64(0), {_key(f'toJSONString({_SET})')})",
    "tags": f"if(empty({_OWN}), NULL, toJSONString({_OWN}))",
    "provisional": f"if(precedence < {PRICED}, 1, NULL)",
    **_amount("amount", "amount"),
    **_amount("vendor", "vendor_amount"),
    **{name: f"if(isNull({name}), NULL, {_key(f'assumeNotNull({name})')})" for name in KEYED["texts"]},
}
_CALLS: Final = f"{_MANY}SELECT {', '.join(f'{_SHOWN.get(name, name)} AS {name}' for name in ROW)} FROM call_rows"
_NO_ROLLUP: Final = (
    "SELECT 0 AS day, 0 AS dims, 0 AS tagset, 0 AS calls, 1 AS amount_texts"  # reports read the rows of the copy then
)


def copies(since_us: int | None, until_us: int | None) -> Mapping[str, tuple[tuple[str, ...], str, list[Any]]]:
    """By table of a file: the columns that are filled, and the query with its values that answers them.

    Calls and their texts are those that ended from the one instant on and before the other.
    """
    at = "fromUnixTimestamp64Micro(?, 'UTC')"
    bounds = [(f"ended_at >= {at}", since_us), (f"ended_at < {at}", until_us)]
    where = " AND ".join([text for text, us in bounds if us is not None] or ["1"])
    values: list[Any] = [us for _, us in bounds if us is not None]
    texts = " UNION DISTINCT ".join(
        f"SELECT DISTINCT toString(assumeNotNull({name})) AS text FROM call_rows WHERE isNotNull({name}) AND {where}"
        for name in KEYED["texts"]
    )
    key = _SHOWN["dims"]
    dims = f"SELECT DISTINCT {key} AS key, toString({key}) AS digest, {_DIMS} FROM call_rows WHERE {where}"
    whole = "sum(calls), toUnixTimestamp64Micro(min(first_at)), toUnixTimestamp64Micro(max(last_at))"
    return {
        "call_rows": (ROW, f"{_CALLS} WHERE {where}", values),
        "texts": (("id", "text"), f"SELECT {_key('text')}, text FROM ({texts})", values * len(KEYED["texts"])),
        "dims": (("id", "digest", *DIMS), dims, values),
        "tagsets": (
            ("id", "tags"),
            f"{_MANY}SELECT DISTINCT {_SHOWN['tagset']} AS key, toJSONString({_SET}) FROM calls "
            "UNION DISTINCT SELECT toUInt64(0), '{}'", [],
        ),
        "days": (("day", "dims", "tagset", "calls", "amount_texts"), _NO_ROLLUP, []),
        "settings": (("name", "value"), "SELECT name, value FROM settings WHERE name = 'zone'", []),
        "row_tags": (("name",), "SELECT name FROM row_tags", []),
        "losses": (
            ("first_us", "last_us", "calls", "reason"),
            "SELECT first_us, last_us, calls, reason FROM losses ORDER BY file, seq", [],
        ),
        "whole": (("calls", "first_us", "last_us"), f"SELECT {whole} FROM days", []),
    }  # fmt: skip
