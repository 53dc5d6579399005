"""Reads the rows that `tokenmeter ledger export` writes: each becomes the row that it was, with its id and its cost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from tokenmeter.ledger.exporting import JSON_COLUMNS
from tokenmeter.ledger.imports.fields import BadField
from tokenmeter.ledger.rows import StoredRow
from tokenmeter.ledger.shapes import encode
from tokenmeter.ledger.tables import COLUMNS
from tokenmeter.ledger.wide_rows import stored_of_wide
from tokenmeter.usage import TOKEN_FIELDS

__all__ = ["own_row"]

_WHOLE: Final = frozenset(
    {
        "started_us", "ended_us", "port", "stream", "status_code", "attempt_count", *TOKEN_FIELDS,
        "tool_definition_tokens",
    }
)  # fmt: skip
_NUMBERS: Final = frozenset({"duration", "time_to_first_chunk"})
_MONEY: Final = frozenset({"amount", "list_amount", "cache_saved", "vendor_amount"})
_NEEDED: Final = ("id", "started_us", "ended_us", "duration", "operation", "end_state", "status", "usage_source")
_KNOWN: Final = frozenset((*COLUMNS, "duplicate_of"))
_LONGEST: Final = 2**63


def own_row(row: Any) -> StoredRow:
    """The stored row of one exported call. Raises BadField naming what is missing, unknown or of another type."""
    if not isinstance(row, Mapping):
        raise BadField("", "is no object")
    for name in _NEEDED:
        if row.get(name) is None:
            raise BadField(name, "is missing")
    values: dict[str, Any] = dict.fromkeys(_KNOWN)
    values["tags"] = "{}"
    for name, value in row.items():
        if name not in _KNOWN:
            raise BadField(str(name), "is no column of a ledger of this version")
        if value is not None:
            values[name] = _value(name, value)
    return stored_of_wide(values)


def _value(name: str, value: Any) -> Any:
    if name in JSON_COLUMNS:
        if not isinstance(value, dict | list):
            raise BadField(name, "is no object and no list")
        if name == "tags" and not (isinstance(value, dict) and all(isinstance(one, str) for one in value.values())):
            raise BadField(name, "is no object of texts")
        return encode(value)
    if name in _WHOLE:
        if type(value) is not int or not -_LONGEST <= value < _LONGEST:
            raise BadField(name, f"{value!r:.40} is no integer")
    elif name in _NUMBERS:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e10:
            raise BadField(name, f"{value!r:.40} is no number of seconds")
        return float(value)
    elif not isinstance(value, str):
        raise BadField(name, f"{value!r:.40} is no text")
    elif name in _MONEY:
        _check_money(name, value)
    elif name == "priced_at":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise BadField(name, f"{value[:40]!r} is no instant") from None
    return value


def _check_money(name: str, value: str) -> None:
    try:
        if Decimal(value).is_finite() and "e" not in value.lower():
            return
    except InvalidOperation:
        pass
    raise BadField(name, f"{value[:40]!r} is no amount in plain notation")
