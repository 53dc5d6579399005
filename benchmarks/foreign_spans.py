"""What pricing another instrumentation's span costs, beside the span itself, in one run.

    python benchmarks/foreign_spans.py

CPU time per span, the best of several rounds: the bare span, and what each processor adds. Nothing is exported.
"""

from __future__ import annotations

import time

from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

import tokenmeter
from tokenmeter.otel.external.processor import CostSpanProcessor
from tokenmeter.otel.trace_cost import TraceCostProcessor

ATTRIBUTES = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o",
    "gen_ai.response.id": "chatcmpl-1",
    "gen_ai.response.finish_reasons": ["stop"],
    "server.address": "api.openai.com",
    "server.port": 443,
    "gen_ai.usage.input_tokens": 1000,
    "gen_ai.usage.output_tokens": 100,
    "gen_ai.usage.cache_read.input_tokens": 400,
}
ROUNDS, SPANS = 12, 2000


def microseconds(*processors: SpanProcessor, scope: str = "opentelemetry.instrumentation.genai.openai") -> float:
    """CPU time of one span."""
    provider = TracerProvider(shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)
    tracer = provider.get_tracer(scope)
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(SPANS):
            tracer.start_span("chat gpt-4o", attributes=ATTRIBUTES).end()
        best = min(best, time.process_time() - started)
    return best / SPANS * 1e6


def main() -> None:
    meter = tokenmeter.Tokenmeter()
    bare = microseconds()
    print(f"{'a bare span of eleven attributes':40} {bare:6.1f} µs")
    for name, took in (
        ("priced, summed, told its cost", microseconds(CostSpanProcessor(meter))),
        ("another library's, passed by", microseconds(CostSpanProcessor(meter), scope="app")),
        ("trace cost on the root", microseconds(TraceCostProcessor())),
    ):
        print(f"{'  + ' + name:40} {took - bare:6.1f} µs  ×{took / bare:.2f}")


if __name__ == "__main__":
    main()
