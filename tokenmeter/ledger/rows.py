"""A record as a row of the ledger, made on the writer's thread.

Tokens and cost fail apart: a record whose pricing fails is still written, as unpriced with a reason. What a vendor
or a caller put into free-form places (raw usage, params) is kept as numbers, booleans and short identifiers only,
so that no sentence and no key can slip in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from tokenmeter._support.guard import guard
from tokenmeter.money import plain
from tokenmeter.record import Attempt, Record
from tokenmeter.usage import TOKEN_FIELDS, Usage

__all__ = ["COLUMNS", "NOT_YET_PRICED", "insert", "row"]

_COST: Final = ("rate_id", "effective_from", "dating", "confidence", "list", "book", "covered_by")

COLUMNS: Final = (
    "id", "parent_id", "started_at", "ended_at", "started_us", "ended_us", "duration", "time_to_first_chunk",
    "provider", "otel_provider", "model", "request_model", "response_model", "api", "operation", "host", "port",
    "region", "service_tier", "stream", "end_state", "error_type", "status_code", "finish_reasons", "response_id",
    *TOKEN_FIELDS,
    "usage", "usage_source", "usage_sources", "usage_ranges", "usage_raw", "unknown_fields",
    "status", "amount", "currency", "list_amount", "charges", *_COST, "priced_at", "cost_flags", "cost_reason",
    "cost_source", "vendor_amount", "vendor_currency", "attempt_count", "attempts", "tags", "scope", "trace_id",
    "span_id", "params", "flags", "reason", "budget_window",
)  # fmt: skip

NOT_YET_PRICED: Final = "the process ended before the price book was loaded"
_PRICED: Final = (
    "model", "status", "amount", "currency", "list_amount", "charges", *_COST, "priced_at", "cost_flags", "cost_reason",
    "cost_source",
)  # fmt: skip

# The same record again changes nothing (a commit whose answer was lost is repeated), but for the cost of a row that
# was written before the price book was loaded.
_INSERT: Final = f"INSERT INTO calls ({', '.join(COLUMNS)}) VALUES "  # noqa: S608  (names of our own)
_ROW: Final = f"({', '.join('?' * len(COLUMNS))})"
_AGAIN: Final = (
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _PRICED)} "
    f"WHERE calls.cost_reason = '{NOT_YET_PRICED}'"
)

# Above this a number is no token count, and sums of such would leave SQLite's integers; `usage` keeps it exactly.
_MOST_TOKENS: Final = 2**48
_NAME: Final = re.compile(r"[A-Za-z0-9_.:/+-]{1,40}")
_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/+\[\]*-]{0,99}")
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str).encode


def _json(value: Any) -> str | None:
    """Compact JSON, NULL for what is empty; a lone surrogate, which a text column refuses, is replaced."""
    return _text(_encode(value)) if value else None


def _text(value: object) -> str | None:
    if value is None:
        return None
    text = value if type(value) is str else str(value)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _time(ns: int) -> str:
    # Formatted from integers: a float of seconds would lose the last digits.
    seconds, rest = divmod(ns, 1_000_000_000)
    return f"{_second(seconds)}.{rest // 1000:06d}Z"


@lru_cache(256)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def _quantities(usage: Usage) -> dict[str, Any]:
    """The token columns, and the whole usage where they cannot say all: lifetimes, quantities, absurd numbers."""
    columns: dict[str, Any] = {}
    beyond = bool(usage.cache_writes or usage.cached_media or usage.quantities)
    for name in TOKEN_FIELDS:
        tokens: int | None = getattr(usage, name)
        if tokens is not None and not -_MOST_TOKENS < tokens < _MOST_TOKENS:
            tokens, beyond = None, True
        columns[name] = tokens
    columns["usage"] = _json(usage.to_dict()) if beyond else None
    return columns


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
        return {key: _bare(item, depth - 1) for key, item in value.items() if _is_key(key)}
    if depth and isinstance(value, list | tuple):
        return [_bare(item, depth - 1) for item in value[:100]]
    return None


def _is_key(key: object) -> bool:
    """Whether a vendor's key is a name: a sentence may stand there as well as in a value."""
    return isinstance(key, str) and _KEY.fullmatch(key) is not None and not key.startswith("sk-")


def _attempts(attempts: Iterable[Attempt]) -> list[dict[str, Any]]:
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


def _cost(record: Record) -> dict[str, Any]:
    """The columns of the cost; a failure of pricing makes the call unpriced, with a reason, and is logged."""
    with guard("pricing a record for the ledger"):
        cost = record.cost
        answer = cost.to_dict()
        money = answer.get("cost") or {}
        listed = cost.list_total
        return {name: _text(answer.get(name)) for name in _COST} | {
            "status": str(answer["status"]),
            "amount": money.get("amount"),
            "currency": money.get("currency"),
            "list_amount": None if listed is None else plain(listed.amount),
            "charges": _json(answer.get("charges")),
            "priced_at": _text(answer.get("at")),
            "cost_flags": _json(answer.get("flags")),
            "cost_reason": _text(answer.get("reason")),
            "cost_source": None if cost.amount is None else cost.source,
        }
    return {"status": "unpriced", "cost_reason": "pricing failed; the log says why"}


@lru_cache
def insert(rows: int) -> str:
    """The statement that inserts so many rows, given the values of all of them in one sequence."""
    return _INSERT + ", ".join([_ROW] * rows) + _AGAIN


def row(record: Record, *, priced: bool = True) -> tuple[Any, ...]:
    """The values of `COLUMNS` for one record; without `priced`, those of an unpriced one, for lack of time."""
    usage = record.usage
    cost = (
        _cost(record) if priced else {"status": "unpriced", "cost_reason": NOT_YET_PRICED}
    )  # first: `record.model` is the priced one afterwards
    vendor = record.vendor_cost
    values: dict[str, Any] = {
        "id": record.id,
        "parent_id": record.parent_id,
        "started_at": _time(record.started_ns),
        "ended_at": _time(record.ended_ns),
        "started_us": record.started_ns // 1000,
        "ended_us": record.ended_ns // 1000,
        "duration": record.duration,
        "time_to_first_chunk": record.time_to_first_chunk,
        "provider": record.provider,
        "otel_provider": record.otel_provider,
        "model": _text(record.model),
        "request_model": _text(record.request_model),
        "response_model": _text(record.response_model),
        "api": record.api,
        "operation": record.operation,
        "host": _text(record.host),
        "port": record.port,
        "region": _text(record.region),
        "service_tier": _text(record.service_tier),
        "stream": int(record.stream),
        "end_state": str(record.end),
        "error_type": _text(record.error_type),
        "status_code": record.status_code,
        "finish_reasons": _json(record.finish_reasons),
        "response_id": _text(record.response_id),
        "usage_source": str(record.usage_source),
        "usage_sources": _json(usage.sources and dict(usage.sources)),
        "usage_ranges": _json(usage.ranges and dict(usage.ranges)),
        "usage_raw": _json(_bare(record.usage_raw)),
        "unknown_fields": _json([name for name in record.unknown_fields if _is_key(name)]),
        "vendor_amount": None if vendor is None else plain(vendor.amount),
        "vendor_currency": None if vendor is None else vendor.currency,
        "attempt_count": len(record.attempts) or None,  # made by hand: how often it was sent is unknown
        "attempts": _json(record.attempts and _attempts(record.attempts)),
        "tags": _json(dict(record.tags)) or "{}",
        "scope": _json(record.scope),
        "trace_id": record.trace_id,
        "span_id": record.span_id,
        "params": _json(_bare(record.params)),
        "flags": _json(record.flags),
        "reason": _text(record.reason),
        "budget_window": _json(dict(record.budget_window)),
    }
    values |= _quantities(usage)
    values |= cost
    get = values.get
    return tuple([get(name) for name in COLUMNS])
