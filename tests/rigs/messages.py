"""Spans as senders of any language write them, made by hand field by field."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.rigs.collector_rig import NOV
from tokenmeter.collector.signals import TRACES

GENAI = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
USED = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
PRICED = "0.0035"
OFFICIAL = "opentelemetry.instrumentation.genai.openai"


def value(of: Any) -> AnyValue:
    if isinstance(of, bool):
        return AnyValue(bool_value=of)
    if isinstance(of, int):
        return AnyValue(int_value=of)
    if isinstance(of, float):
        return AnyValue(double_value=of)
    if isinstance(of, bytes):
        return AnyValue(bytes_value=of)
    if isinstance(of, list):
        answer = AnyValue()
        answer.array_value.values.extend(value(one) for one in of)
        return answer
    return AnyValue(string_value=of)


def span(own: int, attributes: dict[str, Any] | None = None, *, around: int = 0, trace: int = 1, **more: Any) -> Span:
    """A span; `own` and `around` are numbers that become ids. Inner spans last shorter."""
    more = {"name": f"span {own}", "start_time_unix_nano": NOV, "end_time_unix_nano": NOV + 10**9 - own, **more}
    return Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=own.to_bytes(8, "big"),
        parent_span_id=around.to_bytes(8, "big") if around else b"",
        attributes=[KeyValue(key=name, value=value(of)) for name, of in (attributes or {}).items()],
        **more,
    )


def request(*spans: tuple[str, Span], resource: dict[str, Any] | None = None) -> Any:
    """An export request of spans with the names of their scopes, in this order."""
    answer = TRACES.request()
    holder = answer.resource_spans.add()
    holder.resource.attributes.extend(KeyValue(key=name, value=value(of)) for name, of in (resource or {}).items())
    for scope, one in spans:
        if not holder.scope_spans or holder.scope_spans[-1].scope.name != scope:
            holder.scope_spans.add().scope.name = scope
        holder.scope_spans[-1].spans.append(one)
    return answer


def calls(first: int, count: int, *, trace: int = 7) -> Any:
    """A request of so many calls to a model."""
    return request(*((OFFICIAL, span(first + one, GENAI | USED, trace=trace)) for one in range(count)))
