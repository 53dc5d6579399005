"""The dimensions of a call, made once for each combination of what they depend on."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

from tokenmeter._support.bounded import BoundedDict
from tokenmeter.cost import STALE, Cost
from tokenmeter.ledger.free_form import json_text, kept_text
from tokenmeter.record import VENDOR_GAP, Record

__all__ = ["NOT_YET_PRICED", "dims_of"]

NOT_YET_PRICED: Final = "the process ended before the price book was loaded"

_common: Final = attrgetter(
    "provider", "otel_provider", "request_model", "response_model", "api", "operation", "host", "port", "region",
    "account", "service_tier", "stream", "end", "error_type", "status_code", "finish_reasons",
)  # fmt: skip
"""The fields of a record that are dimensions as they are."""
_remembered: Final[BoundedDict[tuple[Any, ...], tuple[Any, ...]]] = BoundedDict(5000)


def dims_of(record: Record, cost: Cost | None, known: int, *, priced: bool) -> tuple[Any, ...]:
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
    return _remembered.get(key) or _remembered.put(key, _dims(record, cost, known, priced=priced))


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
            cost.status, cost.currency if sure else None, kept_text(cost.rate_id),
            None if start is None else start.isoformat(), cost.dating, cost.confidence, kept_text(cost.list),
            kept_text(cost.book), kept_text(cost.covered_by), kept_text(cost.reason), cost.source if sure else None,
        )  # fmt: skip
    return (
        record.provider, record.otel_provider, kept_text(record.model), kept_text(record.request_model),
        kept_text(record.response_model), record.api, record.operation, kept_text(record.host), record.port,
        kept_text(record.region), kept_text(record.account), kept_text(record.service_tier), int(record.stream),
        str(record.end), kept_text(record.error_type), record.status_code,
        json_text(record.finish_reasons), str(record.usage_source),
        json_text(usage.sources and dict(usage.sources)), *answer,
        None if vendor is None else vendor.currency,
        len(record.attempts) or None,  # made by hand: how often it was sent is unknown
        int(STALE in flags), int(any(VENDOR_GAP in flag for flag in flags)), known,
    )  # fmt: skip
