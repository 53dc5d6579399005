"""A line of JSON per call, through the standard library's logging.

    tokenmeter.configure(log="json")          # or TOKENMETER_LOG=json

Lines go to the logger `tokenmeter.calls` at level INFO, so the program's own logging decides where they end up and
what else they carry; where nothing is configured they go to standard error, bare. The fields are in the record's
`tokenmeter` attribute too, for handlers that make JSON themselves, and the call's own span is current while the line
is written, so that handlers which add trace ids (OpenTelemetry's among them) add the right ones.

Like every record, a line holds numbers, names and tags, and no text of a prompt. Names can be anything that a vendor or
a user sent: they are bounded, and half characters replaced, since a handler that writes UTF-8 would lose the line.
"""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, Final

from opentelemetry import context as contexts
from opentelemetry import trace

from tokenmeter.money import plain
from tokenmeter.otel.attributes import text
from tokenmeter.record import Record

__all__ = ["FORMATS", "LOGGER", "Log", "line_of"]

FORMATS: Final = ("json",)
LOGGER: Final = "tokenmeter.calls"
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=str).encode


class Log:
    """The sink that logs each call as one line."""

    makes_calls: Final = False
    """It calls no model, so it also gets the records of calls that other sinks make."""

    def __init__(self, logger: logging.Logger | None = None) -> None:
        self._logger = logger if logger is not None else logging.getLogger(LOGGER)
        if self._logger.level == logging.NOTSET and not self._logger.isEnabledFor(logging.INFO):
            self._logger.setLevel(logging.INFO)  # asked for: the root's default of WARNING was not chosen by the user

    def write(self, record: Record) -> None:
        """Log a record, unless the program has turned this logger off."""
        logger = self._logger
        if not logger.isEnabledFor(logging.INFO):
            return
        fields = line_of(record)
        line = _encode(fields)
        if not logger.hasHandlers():
            sys.stderr.write(line + "\n")
            return
        before = contexts.get_current()
        contexts.attach(_context_of(record, before))
        try:
            logger.info("%s", line, extra={"tokenmeter": fields})
        finally:
            contexts.attach(before)

    def flush(self, timeout: float = 5.0) -> bool:
        """Flush the handlers that are this logger's own; others flush themselves."""
        for handler in self._logger.handlers:
            handler.flush()
        return True

    def close(self, timeout: float = 5.0) -> None:
        """Nothing to close."""


def line_of(record: Record) -> dict[str, Any]:
    """The fields of a line: what is not known is absent, but for the cost, which is null."""
    cost = record.cost
    fields: dict[str, Any] = {
        "event": "llm.call",
        "time": record.ended_at.isoformat().replace("+00:00", "Z"),
        "id": record.id,
        "provider": record.provider,
        "model": record.model,
        "request_model": record.request_model,
        "operation": record.operation,
        "end": str(record.end),
        "error_type": record.error_type,
        "duration": round(record.duration, 6),
        "time_to_first_chunk": record.time_to_first_chunk,
        "attempts": len(record.attempts) or None,
        "usage": record.usage.to_dict() or None,
        "usage_source": str(record.usage_source),
        "cost_status": cost.status,
        "cost_reason": cost.reason if cost.status == "unpriced" else None,
        "rate_id": cost.rate_id,
        "service_tier": record.service_tier,
        "response_id": record.response_id,
        "tags": dict(record.tags) or None,
        "scope": list(record.scope) or None,
        "flags": list(record.flags) or None,
        "trace_id": record.trace_id,
        "span_id": record.span_id,
    }
    known = {name: _sayable(value) for name, value in fields.items() if value is not None}
    amount = cost.amount
    known["cost"] = None if amount is None else {"amount": plain(amount), "currency": cost.currency}
    return known


def _sayable(value: Any) -> Any:
    """A value in which every text is bounded and can be encoded."""
    if type(value) is str:
        return text(value)
    if type(value) is dict:
        return {text(key): _sayable(part) for key, part in value.items()}
    if type(value) is list:
        return [_sayable(part) for part in value]
    return value


def _context_of(record: Record, before: contexts.Context) -> contexts.Context:
    """The context in which the call's own span is current; as it was, where the call has none."""
    if record.trace_id is None or record.span_id is None:
        return before
    where = trace.SpanContext(
        int(record.trace_id, 16),
        int(record.span_id, 16),
        is_remote=False,
        trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED),
    )
    return trace.set_span_in_context(trace.NonRecordingSpan(where), before)
