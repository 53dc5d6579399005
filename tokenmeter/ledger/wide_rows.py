"""Makes what is stored of a call from a wide row, as the view `calls` and the first schema have it.

For files of the first schema that are copied, and for calls that come from another ledger.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from tokenmeter.ledger.amounts import split_amount
from tokenmeter.ledger.calls_view import MARKS
from tokenmeter.ledger.rows import NOT_YET_PRICED, Sent, StoredRow, binary, instant_us, response_key
from tokenmeter.ledger.shapes import CHARGES, NUMBERS, divided, encode
from tokenmeter.ledger.tables import DIMS, ROLLED
from tokenmeter.usage import TOKEN_FIELDS

__all__ = ["stored_of_wide"]

_MORE: Final = ("usage", "usage_ranges")
_TEXTS: Final = ("scope", "cost_flags", "params", "flags", "reason", "unknown_fields", "budget_window")
_ONE_REQUEST: Final = re.compile(
    r'(\[\{"status":[^"]*?,"error":(?:null|"[^"\\]*"),"started_at":")([^"]+)(","duration":)([0-9.e-]+)'
    r'(,"request_id":)(null|"[^"\\]*")(,"usage":(?:true|false),"reason":(?:null|"(?:[^"\\]|\\.)*")\}\])'
)


def stored_of_wide(row: Mapping[str, Any]) -> StoredRow:
    """One wide row, with all columns of `COLUMNS` and perhaps `duplicate_of`; the text of its JSON and money stays."""
    more = {name: row[name] for name in _MORE if row[name] is not None}
    ended_us = row["ended_us"]
    sent = _sent(row["attempts"], ended_us)
    if sent is None:
        more["attempts"] = row["attempts"]
    priced_us = _priced_us(row["priced_at"])
    if row["priced_at"] is not None and priced_us is None:
        more["priced_at"] = encode(row["priced_at"])
    return StoredRow(
        binary(row["id"]) or "", response_key(row["provider"], row["response_id"]), ended_us,
        ended_us - row["started_us"], round(row["duration"] * 1e9), row["time_to_first_chunk"], _dims(row), _tags(row),
        tuple([row[name] for name in TOKEN_FIELDS]), row["tool_definition_tokens"], split_amount(row["amount"]),
        row["list_amount"], row["cache_saved"], split_amount(row["vendor_amount"]),
        None if priced_us is None else priced_us - ended_us,
        _divided(row["charges"], CHARGES), _divided(row["usage_raw"], NUMBERS), sent or (None, None, None, None),
        row["response_id"], binary(row["parent_id"]), binary(row["trace_id"]), binary(row["span_id"]),
        binary(row["scope_run"]),
        tuple([row[name] for name in _TEXTS]),
        "{" + ",".join(f'"{name}":{text}' for name, text in more.items()) + "}" if more else None,
        row["cost_reason"] == NOT_YET_PRICED, binary(row.get("duplicate_of")),
    )  # fmt: skip


def _dims(row: Mapping[str, Any]) -> tuple[Any, ...]:
    flags = row["cost_flags"] or ""
    made = {name: int(text in flags) for name, text in MARKS.items()}
    made["known"] = sum(1 << bit for bit, name in enumerate(ROLLED) if row[name] is not None)
    return tuple([made[name] if name in made else row[name] for name in DIMS])


def _tags(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    text = row["tags"]
    return () if text == "{}" else tuple(json.loads(text).items())


def _divided(text: str | None, holes: re.Pattern[str]) -> tuple[str | None, str | None]:
    return (None, None) if text is None else divided(text, holes)


def _sent(text: str | None, ended_us: int) -> Sent | None:
    """The only request of a call; None where there were several, or it is written in another way."""
    if text is None:
        return None, None, None, None
    found = _ONE_REQUEST.fullmatch(text)
    if found is None:
        return None
    head, started, between, seconds, then, request_id, tail = found.groups()
    started_us = instant_us(datetime.fromisoformat(started))
    if started_us is None:
        return None
    name = None if request_id == "null" else request_id[1:-1]
    return encode([head, between, then, tail]), ended_us - started_us, round(float(seconds) * 1e9), name


def _priced_us(text: str | None) -> int | None:
    return instant_us(datetime.fromisoformat(text)) if text is not None and text.endswith("+00:00") else None
