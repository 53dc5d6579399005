"""The instrumentations that are compared: how each is switched on, and what its spans say of tokens and cost.

Each one gets a tracer provider with the batch processor that programs have, and an exporter that keeps the last spans
and sends nothing. Nothing else of its settings is changed.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import openai
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

ATTRIBUTES: Final[Mapping[str, Any]] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "server.address": "api.openai.com",
    "tokenmeter.provider": "openai",
    "gen_ai.response.model": "gpt-4o-2024-08-06",
    "tokenmeter.end": "complete",
    "tokenmeter.usage.source": "reported",
    "tokenmeter.cost.status": "priced",
    "tokenmeter.cost.currency": "USD",
    "tokenmeter.cost.dating": "official",
    "tokenmeter.cost.effective_from": "2024-10-02T00:00:00+00:00",
    "tokenmeter.cost.book": "2026-11-21+0123456789ab",
    "tokenmeter.cost.model": "gpt-4o",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 90,
    "gen_ai.usage.cache_read.input_tokens": 800,
    "gen_ai.usage.reasoning.output_tokens": 0,
    "tokenmeter.cost": 0.0029,
    "tokenmeter.cost.amount": "0.0029",
}
"""What a span of ours has for the call of `calls.py`: five at the start, the rest at the end."""
LABELS: Final = {name: ATTRIBUTES[name] for name in list(ATTRIBUTES)[:4]} | {"gen_ai.response.model": "gpt-4o"}
BUCKETS: Final = [0.01 * 2**step for step in range(14)]


class Kept(SpanExporter):
    """Keeps the last spans."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.spans = [*self.spans, *spans][-50:]
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        return None


class Providers(NamedTuple):
    """OpenTelemetry's SDK as a program has it."""

    tracing: TracerProvider
    metering: MeterProvider
    kept: Kept


def providers() -> Providers:
    """New ones. The batch is sent only when asked: sending is in no figure."""
    kept = Kept()
    tracing = TracerProvider(shutdown_on_exit=False)
    queue = {"max_queue_size": 200_000, "max_export_batch_size": 200_000, "schedule_delay_millis": 10_000_000}
    tracing.add_span_processor(BatchSpanProcessor(kept, **queue))
    return Providers(tracing, MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False), kept)


def global_providers() -> Providers:
    """New ones that are OpenTelemetry's global ones."""
    made = providers()
    trace.set_tracer_provider(made.tracing)
    metrics.set_meter_provider(made.metering)
    return made


def sdk(client: Any, otel: Providers) -> Any:
    """The client with the SDK's own span of 22 attributes and one histogram around each request."""
    tracer, inner = otel.tracing.get_tracer("sdk"), client.request
    record = otel.metering.get_meter("sdk").create_histogram(
        "duration", "s", explicit_bucket_boundaries_advisory=BUCKETS
    )
    first = dict(list(ATTRIBUTES.items())[:5])
    rest = dict(list(ATTRIBUTES.items())[5:])

    def request(*args: Any, **kwargs: Any) -> Any:
        span = tracer.start_span("chat gpt-4o", kind=SpanKind.CLIENT, attributes=first)
        answered = inner(*args, **kwargs)
        span.set_attributes(rest)
        span.end()
        record.record(0.1, LABELS)
        return answered

    client.request = request
    return client


# The instrumentations of others --------------------------------------------------------------------------------------


def _openinference() -> Kept:
    from openinference.instrumentation.openai import OpenAIInstrumentor

    otel = global_providers()
    OpenAIInstrumentor().instrument(tracer_provider=otel.tracing)
    return otel.kept


def _official() -> Kept:
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    otel = global_providers()
    OpenAIInstrumentor().instrument(tracer_provider=otel.tracing, meter_provider=otel.metering)
    return otel.kept


def _openllmetry() -> Kept:
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    otel = global_providers()
    OpenAIInstrumentor().instrument(tracer_provider=otel.tracing, meter_provider=otel.metering)
    return otel.kept


def _langfuse() -> Kept:
    otel = global_providers()
    os.environ |= {
        "LANGFUSE_PUBLIC_KEY": "pk-lf-x",
        "LANGFUSE_SECRET_KEY": "sk-lf-x",
        "LANGFUSE_HOST": "http://127.0.0.1:9",
        "LANGFUSE_BASE_URL": "http://127.0.0.1:9",
        "LANGFUSE_FLUSH_AT": "1000",
        "LANGFUSE_FLUSH_INTERVAL": "100000",
    }
    from langfuse import openai as traced

    CLASSES.update(sync=traced.OpenAI, asynchronous=traced.AsyncOpenAI)
    return otel.kept


def _logfire() -> Kept:
    import logfire

    kept = Kept()
    queue = {"max_queue_size": 200_000, "max_export_batch_size": 200_000, "schedule_delay_millis": 10_000_000}
    logfire.configure(
        send_to_logfire=False, console=False, additional_span_processors=[BatchSpanProcessor(kept, **queue)]
    )
    logfire.instrument_openai()
    return kept


def _openlit() -> Kept:
    import openlit

    otel = global_providers()
    # Its price list comes from the network, which a benchmark must not need: the same prices, in its format.
    prices = Path(tempfile.mkdtemp()) / "prices.json"
    gpt = {"promptPrice": 0.0025, "completionPrice": 0.01, "cacheReadPrice": 0.00125}
    prices.write_text(json.dumps({"chat": {"gpt-4o": gpt}}))
    openlit.init(pricing_json=str(prices))
    return otel.kept


CLASSES: Final[dict[str, type]] = {"sync": openai.OpenAI, "asynchronous": openai.AsyncOpenAI}
"""The classes of clients, where an instrumentation brings its own."""
PEERS: Final[Mapping[str, Callable[[], Kept]]] = {
    "openinference": _openinference,
    "official": _official,
    "openllmetry": _openllmetry,
    "langfuse": _langfuse,
    "logfire": _logfire,
    "openlit": _openlit,
}


# What a span says ----------------------------------------------------------------------------------------------------


def recorded(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """Tokens, cost and currency of the last span that speaks of tokens, by the names its attributes have."""
    for span in reversed(spans):
        told = {name: value for name, value in (span.attributes or {}).items() if _tells(name)}
        if told:
            return _read(told)
    return {}


def _tells(name: str) -> bool:
    return any(word in name for word in ("usage", "token", "cost", "currency"))


def _read(told: Mapping[str, Any]) -> dict[str, Any]:
    def first(*names: str) -> Any:
        return next((told[name] for name in names if told.get(name) is not None), None)

    details: dict[str, Any] = json.loads(told.get("langfuse.observation.usage_details", "{}"))
    costs: dict[str, Any] = json.loads(told.get("langfuse.observation.cost_details", "{}"))
    cached = first(
        "gen_ai.usage.cache_read.input_tokens",
        "gen_ai.usage.cache_read_input_tokens",
        "gen_ai.usage.details.cache_read_tokens",
        "gen_ai.usage.details.cached_tokens",
        "llm.token_count.prompt_details.cache_read",
    )
    found = (details.get("prompt_tokens_details") or {}).get("cached_tokens", details.get("input_cached_tokens"))
    cost = first("tokenmeter.cost.amount", "gen_ai.usage.cost", "operation.cost", "llm.cost.total")
    return {
        "input": first("gen_ai.usage.input_tokens", "llm.token_count.prompt", "gen_ai.usage.prompt_tokens")
        or details.get("prompt_tokens", details.get("input")),
        "cached": cached if cached is not None else found,
        "output": first("gen_ai.usage.output_tokens", "llm.token_count.completion", "gen_ai.usage.completion_tokens")
        or details.get("completion_tokens", details.get("output")),
        "cost": cost if cost is not None else costs.get("total"),
        "currency": first("tokenmeter.cost.currency", "gen_ai.usage.cost.currency"),
        "attributes": {name: str(value)[:200] for name, value in told.items()},
    }
