"""What the OpenTelemetry sink adds to one call, against the SDK's own span and histogram with as many attributes.

    python benchmarks/sinks.py [--calls 4000] [--rounds 9] [--cold]

Every row is measured in the same run, rounds interleaved, in CPU time of the calling thread, so that the exporting
thread is in none of them. The least round is what the code costs, the median what it costs beside whatever else this
machine does. The batch processor hands spans to an exporter that throws them away, so serialising and sending are not
part of any row. Records are made outside the clock and are priced already: pricing has a benchmark of its own.

`--cold` reads 16 MB between two calls, outside the clock, as the work of a program between two answers of a vendor
does: what is measured then is mostly memory, the SDK's as well as ours.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, set_span_in_context

from tokenmeter.otel.dialects import DIALECTS
from tokenmeter.otel.metrics import DEFAULT_HISTOGRAMS, Metrics
from tokenmeter.otel.spans import CallSpan, CallSpans
from tokenmeter.prices.book import load_book
from tokenmeter.record import Attempt, End, Record
from tokenmeter.usage import Usage

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
        trace_id="0" * 31 + "1",
        span_id="0" * 15 + "1",
        pricer=lambda record: load_book().price(record.usage, provider="deepseek", model="deepseek-chat"),
    )
    assert record.cost.total is not None
    return record


def traced() -> tuple[TracerProvider, Nowhere]:
    """A tracer provider as programs have it: batch processor, one exporter."""
    exporter = Nowhere()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider, exporter


def one(spans: CallSpans | None, metrics: Metrics | None, call: Call, record: Record) -> None:
    """The sink's part of one call, in the order of the lifecycle."""
    handle: CallSpan | None = None
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
    parser.add_argument("--cold", action="store_true", help="read 16 MB between two calls")
    arguments = parser.parse_args()

    call = Call(time.time_ns())
    record = record_of(call)
    provider, exporter = traced()
    one(CallSpans(provider), None, call, record)
    provider.force_flush()
    assert exporter.last is not None
    attributes = dict(exporter.last.attributes or {})

    default = metering(*DEFAULT_HISTOGRAMS)
    off = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    no_spans = CallSpans(off)
    both, nobody, nobody_metrics = CallSpans(traced()[0]), CallSpans(), Metrics()
    rows: dict[str, Callable[[], None]] = {
        f"bare SDK: a span, {len(attributes)} attributes": bare_span(attributes),
        "bare SDK: a histogram with an exemplar": bare_histogram(record),
        "default set: span, sums, one histogram": lambda: one(both, default, call, record),
        "our span": with_spans(call, record),
        "our sums and one histogram": with_metrics(call, record, *DEFAULT_HISTOGRAMS),
        "our sums alone": with_metrics(call, record),
        "our sums and two histograms": with_metrics(call, record, *DEFAULT_HISTOGRAMS, "operation.duration"),
        **{f"our span, dialect {name}": with_spans(call, record, name) for name in DIALECTS},
        "sampled out, spans only": lambda: one(no_spans, None, call, record),
        "nobody listens, sums kept": lambda: one(nobody, nobody_metrics, call, record),
    }
    times = measured(rows, arguments.calls, arguments.rounds, cold=arguments.cold)
    show(times)


def metering(*histograms: str) -> Metrics:
    """Our metrics with a provider of their own."""
    return Metrics(MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False), histograms=histograms)


def with_metrics(call: Call, record: Record, *histograms: str) -> Callable[[], None]:
    """Our sums and these histograms."""
    metrics = metering(*histograms)
    return lambda: one(None, metrics, call, record)


def with_spans(call: Call, record: Record, *dialects: str) -> Callable[[], None]:
    """A span of ours, in these dialects."""
    spans = CallSpans(traced()[0], dialects=dialects)
    return lambda: one(spans, None, call, record)


def bare_span(attributes: Mapping[str, Any]) -> Callable[[], None]:
    """A span of the SDK with the same attributes, all there at its start."""
    tracer = traced()[0].get_tracer("bare")

    def run() -> None:
        tracer.start_span("chat deepseek-chat", kind=SpanKind.CLIENT, attributes=attributes).end()

    return run


def bare_histogram(record: Record) -> Callable[[], None]:
    """A histogram of the SDK, recorded within the context of a sampled span."""
    histogram = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False).get_meter("bare").create_histogram("h")
    where = SpanContext(1, 1, False, TraceFlags(TraceFlags.SAMPLED))
    context = set_span_in_context(NonRecordingSpan(where), Context())
    labels = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "deepseek", "server.port": 443}
    labels |= {"gen_ai.request.model": "deepseek-chat", "server.address": "api.deepseek.com"}
    return lambda: histogram.record(record.duration, labels, context)


def measured(rows: Mapping[str, Callable[[], None]], calls: int, rounds: int, *, cold: bool) -> dict[str, list[float]]:
    """Microseconds a call, round by round."""
    memory = bytearray(16_000_000)
    times: dict[str, list[float]] = {name: [] for name in rows}
    clock = time.thread_time_ns
    for _ in range(rounds):
        for name, run in rows.items():
            spent = 0
            if cold:
                for _ in range(calls // 20):
                    memory.count(7)
                    started = clock()
                    run()
                    spent += clock() - started
                times[name].append(spent / (calls // 20) / 1000)
            else:
                started = clock()
                for _ in range(calls):
                    run()
                times[name].append((clock() - started) / calls / 1000)
            time.sleep(0.02)  # the exporting thread gets its turn outside of the clock
    return times


def show(times: Mapping[str, Sequence[float]]) -> None:
    """A row for each, and the differences that have a bar."""
    print(f"{'':44} least µs   median µs")
    for name, found in times.items():
        print(f"{name:44} {min(found):8.1f} {statistics.median(found):11.1f}")
    least = {name: min(found) for name, found in times.items()}
    span, histogram = list(least.values())[:2]
    ours = least["default set: span, sums, one histogram"]
    print()
    print(
        f"default set {ours:41.1f}   the bar is 60; the SDK's own span and histogram are {span + histogram:.1f} of it"
    )
    more = least["our sums and two histograms"] - least["our sums and one histogram"]
    print(f"one further synchronous instrument           {more:8.1f}   the bar is 15")
    for name in DIALECTS:
        more = least[f"our span, dialect {name}"] - least["our span"]
        print(f"dialect {name:36} {more:8.1f}   the bar is 10")


if __name__ == "__main__":
    main()
