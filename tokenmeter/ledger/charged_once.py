"""Charges a response once that two calls recorded: which call is charged, and what is stored of the other one.

A gateway and its client, or a log that is imported, record a response in the same moments. The call that is written
first is charged; the other one is stored as delegated to it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from tokenmeter.ledger.amounts import NO_AMOUNT
from tokenmeter.ledger.rows import StoredRow
from tokenmeter.ledger.tables import DIMS
from tokenmeter.usage import TOKEN_FIELDS

__all__ = ["UNCHARGED", "RecordingCall", "delegated", "delegated_dims", "recorded_by", "recorder_of"]

_DUPLICATE: Final = {
    **dict.fromkeys(DIMS[DIMS.index("usage_sources") : DIMS.index("attempt_count")]),
    "end_state": "delegated", "usage_source": "none", "status": "unpriced", "stale": 0, "vendor_gap": 0, "known": 0,
    "cost_reason": "the response was recorded already by another call",
}  # fmt: skip
"""The dimensions of a call whose response another one recorded, where they are not its own."""


UNCHARGED: Final = (
    *TOKEN_FIELDS, "tool_definition_tokens", "amount_whole", "amount_pico", "amount_text", "list_amount", "cache_saved",
    "vendor_whole", "vendor_pico", "vendor_text", "priced_us", "charge_shape", "charge_values",
)  # fmt: skip
"""The columns of `call_rows` that such a call does not have."""


class RecordingCall(NamedTuple):
    """A call that recorded a response, from its start to its end."""

    id: bytes | str
    started_us: int
    ended_us: int


def recorder_of(call: StoredRow) -> RecordingCall:
    """A call as one that recorded a response."""
    return RecordingCall(call.id, call.ended_us - call.span_us, call.ended_us)


def recorded_by(call: RecordingCall, firsts: Iterable[RecordingCall]) -> bytes | str | None:
    """The id of the first of these calls that overlaps with a call in time; None if it is that call itself."""
    for first in firsts:
        if first.id == call.id:
            return None
        if first.started_us <= call.ended_us and call.started_us <= first.ended_us:
            return first.id
    return None


def delegated_dims(dims: Iterable[Any]) -> tuple[Any, ...]:
    """The dimensions of a call, of `DIMS`, that is not charged because another one recorded its response."""
    return tuple([_DUPLICATE.get(name, value) for name, value in zip(DIMS, dims, strict=True)])


def delegated(call: StoredRow) -> StoredRow:
    """A call as it is stored when another one is charged for its response."""
    return call._replace(
        dims=delegated_dims(call.dims), tokens=(None,) * len(TOKEN_FIELDS), tool_definition_tokens=None,
        amount=NO_AMOUNT, list_amount=None, cache_saved=None, vendor=NO_AMOUNT, priced_us=None, charges=(None, None),
    )  # fmt: skip
