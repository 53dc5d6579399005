"""A record as the ledger stores it, made on the writer's thread.

Tokens and cost fail apart: a record whose pricing fails is still written, as unpriced with a reason. What a vendor
or a caller put into free-form places (raw usage, params) is kept as numbers, booleans and short identifiers only,
so that no sentence and no key can slip in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any, Final, NamedTuple

from tokenmeter._support.bounded import BoundedDict
from tokenmeter._support.guard import guard
from tokenmeter.cost import STALE, Cost
from tokenmeter.ledger.amounts import NO_AMOUNT, Amount, split_amount
from tokenmeter.ledger.shapes import CHARGES, NUMBERS, divided, encode
from tokenmeter.ledger.tables import ROLLED
from tokenmeter.money import plain
from tokenmeter.record import VENDOR_GAP, Attempt, Record
from tokenmeter.usage import TOKEN_FIELDS, Usage

__all__ = ["NOT_YET_PRICED", "Sent", "StoredRow", "binary", "instant_us", "is_key", "response_key", "row"]

NOT_YET_PRICED: Final = "the process ended before the price book was loaded"

# Above this a number is no token count, and sums of such would leave SQLite's integers; `usage` keeps it exactly.
_MOST_TOKENS: Final = 2**48
_NAME: Final = re.compile(r"[A-Za-z0-9_.:/+-]{1,40}")
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/+\[\]*-]{0,99}")
_HEX: Final = re.compile(r"(?:[0-9a-f]{16}){1,2}")
# Vendors give ids of 22 characters and more; local servers and caches count, or give the same request the same id.
_SHORTEST_ID: Final = 22


Sent = tuple[str | None, int | None, int | None, str | None]
"""The only request of a call: shape, microseconds before the end, nanoseconds it took, id."""


class StoredRow(NamedTuple):
    """One call, ready for the file: texts are interned there (`id_writer.py`), and keys put for them.

    `dims` are the values of `DIMS`, `texts` those of the columns that are keys into `texts`, in the order of `TEXTS`.
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
    amount: Amount
    list_amount: str | None
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


def _json(value: Any) -> str | None:
    """Compact JSON, NULL for what is empty; a lone surrogate, which a text column refuses, is replaced."""
    return _text(encode(value)) if value else None


def _text(value: object) -> str | None:
    if value is None:
        return None
    text = value if type(value) is str else str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def binary(text: str | None) -> bytes | str | None:
    """An id as bytes, where it is written in lower-case hexadecimal digits as ours and OpenTelemetry's are."""
    if text is not None and _HEX.fullmatch(text):
        return bytes.fromhex(text)
    return _text(text)


def response_key(provider: str | None, response_id: str | None) -> int | None:
    """A number by which one response that two calls recorded is found; None where the vendor gives no unique id."""
    if response_id is None or len(response_id) < _SHORTEST_ID:
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


def _bare(value: object, depth: int = 6) -> Any:
    """The numbers, flags and identifiers of a free-form value; everything else is left out."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, Decimal):
        return plain(value) if value.is_finite() else None
    if isinstance(value, float):
        return value if value - value == 0 else None  # NaN and infinities have no JSON form
    if isinstance(value, str):
        return value if _NAME.fullmatch(value) and not value.startswith("sk-") else None
    if depth and isinstance(value, Mapping):
        return {key: _bare(item, depth - 1) for key, item in value.items() if is_key(key)}
    if depth and isinstance(value, list | tuple):
        return [_bare(item, depth - 1) for item in value[:100]]
    return None


def is_key(key: object) -> bool:
    """Whether a vendor's key is a name: a sentence may stand there as well as in a value."""
    return isinstance(key, str) and _KEY.fullmatch(key) is not None and not key.startswith("sk-")


class _Remembered:
    """Texts that were made before, by what they were made of: most calls of a program repeat them."""

    def __init__(self) -> None:
        self.params: BoundedDict[Any, str | None] = BoundedDict(1000)
        self.shapes: BoundedDict[Any, str] = BoundedDict(1000)
        self._dims: BoundedDict[tuple[Any, ...], tuple[Any, ...]] = BoundedDict(5000)

    def dims(self, record: Record, cost: Cost | None, known: int, *, priced: bool) -> tuple[Any, ...]:
        """The values of `DIMS`, made once for each combination of what they depend on."""
        usage, vendor = record.usage, record.vendor_cost
        offer = None if cost is None else cost.offer
        key = (
            _common(record), record.usage_source, known, len(record.attempts), priced,
            tuple(usage.sources.items()) if usage.sources else None, None if vendor is None else vendor.currency,
            None if cost is None or offer is None else (
                cost.status, offer.model, offer.book, offer.json, cost.amount is None, cost.covered_by, cost.reason,
                cost.source, cost.flags,
            ),
        )  # fmt: skip
        return self._dims.get(key) or self._dims.put(key, _dims(record, cost, known, priced=priced))

    def names(self, names: tuple[str, ...] | None, kept: Callable[[tuple[str, ...]], Any] = tuple) -> str | None:
        """The JSON of some names, of those that are `kept`."""
        if not names:
            return None
        key = (names, kept)
        found = self.params.get(key, self)
        return self.params.put(key, _json(kept(names))) if found is self else found  # type: ignore[return-value]

    def bare(self, value: Mapping[str, Any]) -> str | None:
        """The JSON of a free-form mapping."""
        try:
            key = tuple([(name, type(item), item) for name, item in value.items()])
            found = self.params.get(key, self)
        except TypeError:  # a value that is a list or a mapping
            return _json(_bare(value))
        return self.params.put(key, _json(_bare(value))) if found is self else found  # type: ignore[return-value]

    def raw(self, usage: Any) -> tuple[str | None, str | None]:
        """A vendor's usage object, divided into shape and numbers."""
        key: list[Any] = []
        numbers: list[int] = []
        if not usage:
            return None, None
        if _walk(usage, key, numbers):
            names = tuple(key)
            found = f"[{','.join(map(str, numbers))}]"
            if (known := self.shapes.get(names)) is not None:
                return known, found
            shape, values = divided(_json(_bare(usage)) or "null", NUMBERS)
            if values == found:
                self.shapes.put(names, shape)
            return shape, values
        text = _json(_bare(usage))
        return (None, None) if text is None else divided(text, NUMBERS)

    def charges(self, cost: Cost) -> tuple[str | None, str | None]:
        """The charges of a cost, divided into shape and what is of this call: quantities and amounts."""
        lines = cost.lines
        if not lines:
            return None, None
        key = tuple([price.shown for price, _, _ in lines])
        shape = self.shapes.get(key)
        if shape is None:
            made = [charge.to_dict() for charge in cost.charges]
            shape, _ = divided(encode(made), CHARGES)
            self.shapes.put(key, shape)
        values = [
            f'{quantity},"{plain(amount)}"' if type(quantity) is int else f'"{plain(quantity)}","{plain(amount)}"'
            for _, quantity, amount in lines
        ]
        return shape, f"[{','.join(values)}]"

    def sent(
        self, attempts: tuple[Attempt, ...], ended_us: int
    ) -> tuple[str | None, int | None, int | None, str | None]:
        """The only request of a call: the shape of its JSON, how long before the end it was sent, for how long."""
        if len(attempts) != 1:
            return None, None, None, None
        status, error, started_ns, duration_ns, request_id, usage, reason = attempts[0]
        key = (status, error, usage, reason)
        shape = self.shapes.get(key) or self.shapes.put(key, _sent_shape(attempts[0]))
        return shape, ended_us - started_ns // 1000, duration_ns, _text(request_id)


def _sent_shape(attempt: Attempt) -> str:
    tail = encode({"usage": attempt.usage, "reason": attempt.reason})[1:]
    head = encode({"status": attempt.status, "error": attempt.error})[:-1]
    return _text(encode([f'[{head},"started_at":"', '","duration":', ',"request_id":', f",{tail}]"])) or ""


def _walk(value: Any, key: list[Any], numbers: list[int]) -> bool:
    """Note the structure of a JSON value and its whole numbers; False where it holds what has no short form."""
    kind = type(value)
    if kind is int:
        if not -(10**15) < value < 10**15:
            return False
        key.append(int)
        numbers.append(value)
    elif kind is dict:
        key.append(dict)
        for name, item in value.items():
            key.append(name)
            if not _walk(item, key, numbers):
                return False
        key.append(None)
    elif value is None or kind is bool or (kind is str and len(value) <= 40):  # longer than a name
        key.append((kind, value))
    else:
        return False
    return True


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


_remembered: Final = _Remembered()
_NOTHING: Final[tuple[str | None, str | None]] = (None, None)
_common: Final = attrgetter(
    "provider", "otel_provider", "request_model", "response_model", "api", "operation", "host", "port", "region",
    "service_tier", "stream", "end", "error_type", "status_code", "finish_reasons",
)  # fmt: skip
"""The fields of a record that are dimensions as they are."""


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
    priced_us, charges, amount, listed, flags = None, _NOTHING, NO_AMOUNT, None, None
    if cost is not None:
        if (at_us := instant_us(cost.at)) is None:
            more["priced_at"] = cost.at.isoformat()
        else:
            priced_us = at_us - ended_us
        charges, flags = remembered.charges(cost), cost.flags
        amount = NO_AMOUNT if cost.amount is None else split_amount(plain(cost.amount))
        listed = None if cost.list_total is None else plain(cost.list_total.amount)
    known = 0
    for bit, at in _ROLLED_AT:
        if tokens[at] is not None:
            known |= bit
    return StoredRow(
        binary(record.id) or "", response_key(record.provider, record.response_id),
        ended_us, ended_us - record.started_ns // 1000, record.ended_ns - record.started_ns, record.time_to_first_chunk,
        remembered.dims(record, cost, known, priced=priced), _tags(tags), tokens, amount, listed,
        NO_AMOUNT if vendor is None else split_amount(plain(vendor.amount)),
        priced_us, charges, remembered.raw(record.usage_raw), remembered.sent(attempts, ended_us),
        _text(record.response_id), binary(record.parent_id), binary(record.trace_id), binary(record.span_id),
        binary(record.scope_run),
        (
            remembered.names(record.scope), remembered.names(flags), remembered.bare(params) if params else None,
            remembered.names(record.flags), _text(record.reason), remembered.names(record.unknown_fields, _key_names),
            _json(dict(record.budget_window)) if record.budget_window else None,
        ),
        _json(more), not priced,
    )  # fmt: skip


def _dims(record: Record, cost: Cost | None, known: int, *, priced: bool) -> tuple[Any, ...]:
    """The values of `DIMS`."""
    usage, vendor = record.usage, record.vendor_cost
    if cost is None:
        reason = "pricing failed; the log says why" if priced else NOT_YET_PRICED
        flags: tuple[str, ...] = ()
        answer: tuple[Any, ...] = ("unpriced", *[None] * 8, reason, None)
    else:
        flags, sure, start = cost.flags, cost.amount is not None, cost.effective_from
        answer = (
            cost.status, cost.currency if sure else None, _text(cost.rate_id),
            None if start is None else start.isoformat(), cost.dating, cost.confidence, _text(cost.list),
            _text(cost.book), _text(cost.covered_by), _text(cost.reason), cost.source if sure else None,
        )  # fmt: skip
    return (
        record.provider, record.otel_provider, _text(record.model), _text(record.request_model),
        _text(record.response_model), record.api, record.operation, _text(record.host), record.port,
        _text(record.region), _text(record.service_tier), int(record.stream), str(record.end), _text(record.error_type),
        record.status_code, _json(record.finish_reasons), str(record.usage_source),
        _json(usage.sources and dict(usage.sources)), *answer,
        None if vendor is None else vendor.currency,
        len(record.attempts) or None,  # made by hand: how often it was sent is unknown
        int(STALE in flags), int(any(VENDOR_GAP in flag for flag in flags)), known,
    )  # fmt: skip


def _key_names(names: tuple[str, ...]) -> list[str]:
    return [name for name in names if is_key(name)]


def instant_us(at: datetime) -> int | None:
    """Microseconds since the epoch of an instant in UTC; None in another zone."""
    return (at - _EPOCH) // _MICROSECOND if at.tzinfo is UTC else None


_MICROSECOND: Final = timedelta(microseconds=1)


def _tags(tags: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple([(_text(name) or "", _text(value) or "") for name, value in tags.items()]) if tags else ()
