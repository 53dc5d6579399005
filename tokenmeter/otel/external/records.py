"""`Recorder`: makes the record of a span and hands it to the meter. Read this first.

`Recorder.record` is the whole way, in order: attribute layout and operation (`span_data`), provider that bills
(`billing_provider`), usage (`usage`), record. Which of several spans counts is decided by the drivers, `processor` and
`batches`, with `Recorder.is_counted` for spans of two instrumentations beside one another (`same_call`).
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from tokenmeter._support.empty import EMPTY
from tokenmeter._support.guard import guard
from tokenmeter.calls import marks
from tokenmeter.calls.usual_call import record_of
from tokenmeter.errors import ConfigurationError
from tokenmeter.otel.attributes import call_attributes
from tokenmeter.otel.external.billing_provider import billing_provider
from tokenmeter.otel.external.cost_attributes import CostAttributes, describe
from tokenmeter.otel.external.model_calls import is_genai_scope
from tokenmeter.otel.external.same_call import CountedCalls
from tokenmeter.otel.external.span_data import layout_of, text
from tokenmeter.otel.external.usage import is_cache_beside, is_stated_elsewhere, usage_of
from tokenmeter.otel.external.usual_span import UsualSpan, UsualSpans
from tokenmeter.providers.registry import load_providers
from tokenmeter.record import End, Record
from tokenmeter.usage import Source

if TYPE_CHECKING:
    from tokenmeter.calls.scope import Scope
    from tokenmeter.calls.usual_call import Settled
    from tokenmeter.otel.external.receiver import Receiver
    from tokenmeter.otel.external.span_data import SpanData

__all__ = ["Recorder", "call_id"]


class Recorder:
    """Makes records of spans and hands them on.

    `meter` takes the calls; None means the default meter at the time of the call. `scopes` are further instrumentation
    scopes. `providers` maps the name on a span without an address to the provider that bills. Raises ConfigurationError
    for a provider that the catalog does not have.
    """

    def __init__(self, meter: Receiver | None, scopes: Iterable[str], providers: Mapping[str, str] | None) -> None:
        self._meter = meter
        if meter is None:
            importlib.import_module("tokenmeter.meter")  # loaded now, and not while the first span ends
        self._renamed = {name.lower(): provider for name, provider in (providers or {}).items()}
        known = load_providers() if self._renamed else None
        for provider in self._renamed.values():
            if known is not None and known.get(provider) is None:
                raise ConfigurationError(f"providers: there is no provider {provider!r}; give an id such as 'deepseek'")
        self._scopes = frozenset(scopes)
        self._usual = UsualSpans()
        self._counted = CountedCalls()
        self.is_counted = self._counted.include

    def knows(self, scope: str) -> bool:
        """Whether spans of this instrumentation scope may be model calls."""
        return is_genai_scope(scope) or scope in self._scopes

    def meter(self) -> Receiver:
        """The meter that takes the calls now."""
        if self._meter is not None:
            return self._meter.latest()
        return cast("Receiver", marks.default_meter())

    def record(self, span: SpanData, id: str) -> Settled | None:
        """The call of a span; None if it is no model call, is priced already, or its usage comes on another span."""
        meter = self.meter()
        attributes = span.attributes
        layout = layout_of(attributes)
        usual = self._usual.read(meter, layout, span, id)
        if usual is not None:
            return usual
        operation = layout.operation(attributes)
        if operation is None:
            return None
        facts = layout.values(layout.facts, attributes)
        billing = billing_provider(facts, meter.providers, self._renamed)
        usage, flags, vendor_cost = usage_of(span, layout, facts, billing, operation)
        get = facts.get
        error_type = text(get("error_type"))
        failed = span.failed or error_type is not None
        if usage.source is Source.NONE and not failed and is_stated_elsewhere(span.scope):
            return None
        provider, region = billing.provider, billing.region
        record = Record._make(
            {
                "id": id,
                "provider": provider.id if provider is not None else None,
                "otel_provider": provider.otel_name if provider is not None else None,
                "api": None,
                "operation": operation,
                "host": billing.host,
                "port": billing.port,
                "region": region,
                "request_model": text(get("request_model")),
                "response_model": text(get("response_model")),
                "response_id": text(get("response_id")),
                "finish_reasons": _texts(get("finish_reasons")),
                "service_tier": text(get("service_tier")),
                "stream": get("stream") is True,
                "time_to_first_chunk": _seconds(get("time_to_first_chunk")),
                "started_ns": span.started_ns,
                "ended_ns": span.ended_ns,
                "end": End.ERROR if failed else End.COMPLETE,
                "error_type": error_type,
                "usage": usage,
                "flags": flags,
                "vendor_cost": vendor_cost,
                "reason": None if usage.source is not Source.NONE else f"the span of {span.scope} carries no usage",
                "params": {"region": region} if region is not None else EMPTY,
                "tags": span.tags,
                "budget_window": EMPTY,
                "trace_id": span.trace_id,
                "span_id": span.span_id,
                "telemetry": "enriched",
                "pricer": meter.price_record,
            }
        )
        self._usual.learn(meter, layout, span, record, beside=is_cache_beside(span, billing.named))
        return record

    def count(
        self, record: Settled, span: SpanData | None = None, scope: Scope | None = None, *, to_sinks: bool = True
    ) -> CostAttributes:
        """Hand a record to the scope and the sinks. Returns the attributes for its span.

        With `span` the call is remembered, so that `is_counted` finds further spans of it.
        """
        if span is not None:
            self._counted.add(span, record)
        if scope is not None:
            if isinstance(record, UsualSpan):
                record.scope = scope.path
            else:
                record = record_of(record)._replace(scope=scope.path)
        meter = self.meter()
        if to_sinks:
            meter.take(record, scope=scope)
        answer = describe(meter, record)
        if span is not None and (record.ended_ns, record.started_ns) != (span.ended_ns, span.started_ns):
            answer.own.update(call_attributes(record_of(record)))  # the record is that of a span inside
        return answer


def call_id(span: SpanData) -> str:
    """The id of a span's call: the same each time the span arrives, so that a store can drop the second.

    A UUID of version 8 (RFC 9562): 48 bits of Unix milliseconds, as ids of version 7 begin, then bits of both ids.
    """
    trace, own = span.trace_id or "", span.span_id or ""
    milliseconds = span.started_ns // 1_000_000 & 0xFFFF_FFFF_FFFF
    return f"{milliseconds:012x}8{trace[-3:]:0>3}{'89ab'[int(own[:1] or '0', 16) & 3]}{own[1:]:0>15}"


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, float | int) and not isinstance(value, bool) and value >= 0 else None


def _texts(value: object) -> tuple[str, ...]:
    """Several texts: as a sequence, as one text, or (Logfire) as a JSON array."""
    if isinstance(value, str) and value.startswith("["):
        with guard("reading finish reasons"):
            try:
                value = json.loads(value)
            except ValueError:
                return ()
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Sequence):
        return tuple(part for part in value if isinstance(part, str))
    return ()
