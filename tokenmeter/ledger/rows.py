"""A record as the ledger stores it, made on the writer's thread.

Tokens and cost fail apart: a record whose pricing fails is still written, as unpriced with a reason. What a vendor
or a caller put into free-form places (raw usage, params) is kept as numbers, booleans and short identifiers only,
so that no sentence and no key can slip in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from tokenmeter._support.guard import guard
from tokenmeter.cost import Cost
from tokenmeter.ledger.amounts import NO_AMOUNT, Amount, split_amount
from tokenmeter.ledger.dimensions import NOT_YET_PRICED, dims_of
from tokenmeter.ledger.free_form import is_key, json_text, kept_text
from tokenmeter.ledger.repeated_texts import RepeatedTexts, Sent
from tokenmeter.ledger.tables import ROLLED
from tokenmeter.money import plain
from tokenmeter.record import Attempt, Record
from tokenmeter.usage import TOKEN_FIELDS, Usage

__all__ = ["NOT_YET_PRICED", "Sent", "StoredRow", "binary", "instant_us", "is_key", "is_unique", "response_key", "row"]

# Above this a number is no token count, and sums of such would leave SQLite's integers; `usage` keeps it exactly.
_MOST_TOKENS: Final = 2**48
_HEX: Final = re.compile(r"(?:[0-9a-f]{16}){1,2}")
# Vendors give ids of 22 characters and more; local servers and caches count, or give the same request the same id.
_SHORTEST_ID: Final = 22


class StoredRow(NamedTuple):
    """One call, ready for the file: texts are interned there (`row_writer.py`), and keys put for them.

    `dims` are the values of `DIMS`, `texts` those of the columns that are keys into `texts`, in the order of `ROW`.
    """

    id: bytes | str
    response_key: int | None
    ended_us: int
    span_us: int
    duration_ns: int
    time_to_first_chunk: float | None
    dims: tuple[Any, ...]
    tags: tuple[tuple[str, str], ...]
    tokens: tuple[int | None, ...]
    tool_definition_tokens: int | None
    amount: Amount
    list_amount: str | None
    cache_saved: str | None
    vendor: Amount
    priced_us: int | None
    charges: tuple[str | None, str | None]
    raw: tuple[str | None, str | None]
    sent: Sent
    response_id: str | None
    parent_id: bytes | str | None
    trace_id: bytes | str | None
    span_id: bytes | str | None
    scope_run: bytes | str | None
    texts: tuple[str | None, ...]
    more: str | None
    provisional: bool
    duplicate_of: bytes | str | None = None
    """The call that recorded the response, where that is known already."""


def binary(text: str | None) -> bytes | str | None:
    """An id as bytes, where it is written in lower-case hexadecimal digits as ours and OpenTelemetry's are."""
    if text is not None and _HEX.fullmatch(text):
        return bytes.fromhex(text)
    return kept_text(text)


def is_unique(response_id: str | None) -> bool:
    """Whether an id of a response is one that no other response has."""
    return response_id is not None and len(response_id) >= _SHORTEST_ID


def response_key(provider: str | None, response_id: str | None) -> int | None:
    """A number by which one response that two calls recorded is found; None where the vendor gives no unique id."""
    if response_id is None or not is_unique(response_id):
        return None
    name = f"{provider}\0{response_id}".encode("utf-8", "replace")
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big", signed=True)


def _time(ns: int) -> str:
    # Formatted from integers: a float of seconds would lose the last digits.
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest // 1000:06d}Z"


@lru_cache(256)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def _tokens(usage: Usage) -> tuple[tuple[int | None, ...], bool]:
    """The token columns, and whether they cannot say all: lifetimes, quantities, absurd numbers."""
    tokens = tuple([getattr(usage, name) for name in TOKEN_FIELDS])
    beyond = bool(usage.cache_writes or usage.cached_media or usage.quantities)
    for number in tokens:
        if number is not None and not -_MOST_TOKENS < number < _MOST_TOKENS:
            kept = [None if one is None or not -_MOST_TOKENS < one < _MOST_TOKENS else one for one in tokens]
            return tuple(kept), True
    return tokens, beyond


_ROLLED_AT: Final = tuple((1 << bit, TOKEN_FIELDS.index(name)) for bit, name in enumerate(ROLLED))


def _attempts(attempts: tuple[Attempt, ...]) -> list[dict[str, Any]]:
    return [
        {
            "status": attempt.status,
            "error": attempt.error,
            "started_at": _time(attempt.started_ns),
            "duration": attempt.duration,
            "request_id": attempt.request_id,
            "usage": attempt.usage,
            "reason": attempt.reason,
        }
        for attempt in attempts
    ]


_remembered: Final = RepeatedTexts()
_NOTHING: Final[tuple[str | None, str | None]] = (None, None)


def _priced(record: Record) -> Cost | None:
    """The cost; None where pricing fails, which makes the call unpriced, with a reason, and is logged."""
    with guard("pricing a record for the ledger"):
        return record.cost
    return None


def row(record: Record, *, priced: bool = True) -> StoredRow:
    """What is stored of one record; without `priced`, that of an unpriced one, for lack of time."""
    cost = _priced(record) if priced else None  # first: `record.model` is the priced one afterwards
    usage = record.usage
    tokens, beyond = _tokens(usage)
    ended_us = record.ended_ns // 1000
    attempts, vendor, params, tags = record.attempts, record.vendor_cost, record.params, record.tags
    remembered = _remembered
    more: dict[str, Any] = {}
    if beyond:
        more["usage"] = usage.to_dict()
    if usage.ranges:
        more["usage_ranges"] = dict(usage.ranges)
    if len(attempts) > 1:
        more["attempts"] = _attempts(attempts)
    priced_us, charges, amount, listed, saved, flags = None, _NOTHING, NO_AMOUNT, None, None, None
    if cost is not None:
        if (at_us := instant_us(cost.at)) is None:
            more["priced_at"] = cost.at.isoformat()
        else:
            priced_us = at_us - ended_us
        charges, flags = remembered.charges(cost), cost.flags
        amount = NO_AMOUNT if cost.amount is None else split_amount(plain(cost.amount))
        listed = None if cost.list_total is None else plain(cost.list_total.amount)
        saved = None if (found := cost.cache_saved) is None else plain(found)
    known = 0
    for bit, at in _ROLLED_AT:
        if tokens[at] is not None:
            known |= bit
    return StoredRow(
        binary(record.id) or "", response_key(record.provider, record.response_id),
        ended_us, ended_us - record.started_ns // 1000, record.ended_ns - record.started_ns, record.time_to_first_chunk,
        dims_of(record, cost, known, priced=priced), _tags(tags), tokens, record.tool_definition_tokens, amount, listed,
        saved, NO_AMOUNT if vendor is None else split_amount(plain(vendor.amount)),
        priced_us, charges, remembered.raw(record.usage_raw), remembered.sent(attempts, ended_us),
        kept_text(record.response_id), binary(record.parent_id), binary(record.trace_id), binary(record.span_id),
        binary(record.scope_run),
        (
            remembered.names(record.scope), remembered.names(flags), remembered.params_text(params) if params else None,
            remembered.names(record.flags), kept_text(record.reason),
            remembered.names(record.unknown_fields, _key_names),
            json_text(dict(record.budget_window)) if record.budget_window else None,
        ),
        json_text(more), not priced,
    )  # fmt: skip


def _key_names(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if is_key(name)]


def instant_us(at: datetime) -> int | None:
    """Microseconds since the epoch of an instant in UTC; None in another zone."""
    return (at - _EPOCH) // _MICROSECOND if at.tzinfo is UTC else None


_MICROSECOND: Final = timedelta(microseconds=1)


def _tags(tags: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple([(kept_text(name) or "", kept_text(value) or "") for name, value in tags.items()]) if tags else ()
