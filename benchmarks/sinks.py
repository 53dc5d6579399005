"""What the OpenTelemetry sink adds to one call, against a bare span of the SDK with as many attributes.

    python benchmarks/sinks.py [--calls 4000] [--rounds 9]

Every row is measured in the same run, rounds interleaved, medians shown, in CPU time of the calling thread, so that
neither other programs nor the exporting thread blur them. The batch processor hands spans to an
exporter that throws them away, so serialising and sending are not part of any row. Records are made outside the
clock, and priced by a fixed cost: pricing has a benchmark of its own.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind

from tokenmeter.pricing import Cost, Offer
from tokenmeter.record import Attempt, End, Record
from tokenmeter.sinks.metrics import Metrics
from tokenmeter.sinks.otel import SpanHandle, Spans
from tokenmeter.usage import Usage

OFFER = Offer(
    provider="deepseek",
    model="deepseek-chat",
    effective_from=datetime(2026, 1, 1, tzinfo=UTC),
    dating="official",
    list="USD",
    book="2026.11.22",
)
ATTEMPTS = (Attempt(200, None, 1_795_305_600_000_000_000, 100_000_000, None, True),)
USAGE = Usage(input_tokens=1200, output_tokens=90, cache_read_input_tokens=800, reasoning_output_tokens=30)


class Nowhere(SpanExporter):
    """Takes spans and drops them; keeps the last, to count its attributes."""

    last: ReadableSpan | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.last = spans[-1]
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        return None


@dataclass
class Call:
    """A call that opens, as far as a span needs it."""

    started_ns: int
    provider: str | None = "deepseek"
    otel_provider: str | None = "deepseek"
    operation: str = "chat"
    request_model: str | None = "deepseek-chat"
    host: str | None = "api.deepseek.com"
    port: int | None = 443
    stream: bool = False
    tags: dict[str, str] = field(default_factory=lambda: {"team": "search"})


def record_of(call: Call) -> Record:
    """A settled call whose cost is known at once."""
    record = Record(
        id="0",
        provider=call.provider,
        otel_provider=call.otel_provider,
        api="openai.chat",
        operation=call.operation,
        request_model=call.request_model,
        response_model="deepseek-chat",
        started_ns=call.started_ns,
        ended_ns=call.started_ns + 900_000_000,
        end=End.COMPLETE,
        host=call.host,
        port=call.port,
        usage=USAGE,
        attempts=ATTEMPTS,
        tags=call.tags,
        finish_reasons=("stop",),
        response_id="chatcmpl-123",
        pricer=lambda record: Cost(OFFER, "priced", Decimal("0.00134"), (), datetime(2026, 11, 22, tzinfo=UTC)),
    )
    assert record.cost.total is not None
    return record


def traced() -> tuple[TracerProvider, Nowhere]:
    """A tracer provider as programs have it: batch processor, one exporter."""
    exporter = Nowhere()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider, exporter


def one(spans: Spans | None, metrics: Metrics | None, call: Call, record: Record) -> None:
    """The sink's part of one call, in the order of the lifecycle."""
    handle: SpanHandle | None = None
    if spans is not None:
        handle = spans.start(call)
        if handle is not None:
            handle.attach()
            handle.detach()
            handle.finish(record)
    if metrics is not None:
        metrics.write(record)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()

    call = Call(time.time_ns())
    record = record_of(call)
    provider, exporter = traced()
    one(Spans(provider), None, call, record)
    provider.force_flush()
    assert exporter.last is not None
    attributes = dict(exporter.last.attributes or {})

    bare, _ = traced()
    tracer = bare.get_tracer("bare")

    def bare_span() -> None:
        span = tracer.start_span("chat deepseek-chat", kind=SpanKind.CLIENT, attributes=attributes)
        span.end()

    def metering() -> Metrics:
        return Metrics(MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False))

    off = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    span_only, metrics_only, both, both_metrics = Spans(traced()[0]), metering(), Spans(traced()[0]), metering()
    sampled_out, nobody, nobody_metrics = Spans(off), Spans(), Metrics()
    mlflow = Spans(traced()[0], dialects=["mlflow"])
    openinference = Spans(traced()[0], dialects=["openinference"])
    no_histogram = Metrics(MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False), histograms=())
    rows: dict[str, Callable[[], None]] = {
        f"bare SDK span, {len(attributes)} attributes": bare_span,
        "our span": lambda: one(span_only, None, call, record),
        "our default metrics": lambda: one(None, metrics_only, call, record),
        "our counters alone": lambda: one(None, no_histogram, call, record),
        "our span and default metrics": lambda: one(both, both_metrics, call, record),
        "our span, dialect mlflow": lambda: one(mlflow, None, call, record),
        "our span, dialect openinference": lambda: one(openinference, None, call, record),
        "sampled out, spans only": lambda: one(sampled_out, None, call, record),
        "nobody listens, spans only": lambda: one(nobody, None, call, record),
        "nobody listens, metrics still summed": lambda: one(nobody, nobody_metrics, call, record),
    }
    times: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(arguments.rounds):
        for name, run in rows.items():
            started = time.thread_time_ns()
            for _ in range(arguments.calls):
                run()
            times[name].append((time.thread_time_ns() - started) / arguments.calls / 1000)
        provider.force_flush()
    first = []
    for _ in range(arguments.rounds * 20):
        fresh = Metrics()
        started = time.thread_time_ns()
        for _ in range(256):
            one(nobody, fresh, call, record)
        first.append((time.thread_time_ns() - started) / 256 / 1000)
    times["nobody listens, first 256 calls"] = first
    base = statistics.median(next(iter(times.values())))
    print(f"{'':38} µs per call   to a bare span")
    for name, found in times.items():
        median = statistics.median(found)
        print(f"{name:38} {median:11.2f} {median / base:15.2f} x")


if __name__ == "__main__":
    main()
