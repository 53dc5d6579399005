"""A team's program: traced and measured by the OpenTelemetry SDK as it comes, metered by `tokenmeter.instrument()`.

    python tools/backends/app.py RECORDS [--phoenix URL] [--mlflow URL] [--otlp-metrics URL] [--scrape PORT]

It makes the calls of `calls.py` against a provider on this machine, under the vendors' own host names, writes what
tokenmeter recorded of each as a line of JSON, says `done`, and stays up to be scraped until its standard input ends.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from calls import AGENT, CALLS, Call
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import start_http_server

import tokenmeter
from tokenmeter.money import plain
from tokenmeter.prices.book import load_book
from tokenmeter.record import Record
from tokenmeter.testing import ProviderServer, provider_server
from tokenmeter.testing.faults import Faults
from tokenmeter.usage import TOKEN_FIELDS, Source, Usage


def exporters(args: argparse.Namespace) -> None:
    """The providers as the documents of the backends say, each exporter behind a batch of its own.

    MLflow takes longer over its first spans than an exporter waits by default.
    """
    resource = Resource.create({"service.name": "backends-demo", "openinference.project.name": args.project})
    tracers = TracerProvider(resource=resource)
    if args.phoenix:
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{args.phoenix}/v1/traces", timeout=60)))
    if args.mlflow:
        headers = {"x-mlflow-experiment-id": args.experiment}
        tracers.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(f"{args.mlflow}/v1/traces", headers=headers, timeout=60))
        )
    trace.set_tracer_provider(tracers)
    readers: list[MetricReader] = []
    if args.otlp_metrics:
        readers.append(PeriodicExportingMetricReader(OTLPMetricExporter(args.otlp_metrics), 2000))
    if args.scrape:
        readers.append(PrometheusMetricReader())
        start_http_server(args.scrape, "127.0.0.1")
    metrics.set_meter_provider(MeterProvider(readers, resource=resource))


class Kept:
    """A sink that keeps what was recorded of each call."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def write(self, record: Record) -> None:
        self.lines.append(described(record))

    def flush(self, timeout: float | None = None) -> bool:
        return True

    def close(self, timeout: float | None = None) -> None: ...


def described(record: Record) -> dict[str, Any]:
    """A record as the table needs it."""
    cost, usage = record.cost, record.usage
    tokens = {name: value for name in TOKEN_FIELDS if (value := getattr(usage, name)) is not None}
    reported = {name: value for name, value in tokens.items() if usage.source_of(name) is Source.REPORTED}
    part = load_book().price(
        Usage(**{"input_tokens": 0, "output_tokens": 0, **reported}), provider=record.provider or "",
        model=record.response_model or record.request_model or "", at=record.ended_at,
    )  # fmt: skip
    return {
        "call": record.tags["call"],
        "id": record.id,
        "span_id": record.span_id,
        "trace_id": record.trace_id,
        "provider": record.provider,
        "model": record.response_model or record.request_model,
        "tokens": tokens,
        "reported": reported,
        "reported_amount": None if part.amount is None or not reported else plain(part.amount),
        "status": cost.status,
        "amount": None if cost.amount is None else plain(cost.amount),
        "currency": cost.currency if cost.amount is not None else None,
        "end": str(record.end),
        "reason": cost.reason,
    }


def ask(server: ProviderServer, calls: Iterable[Call]) -> None:
    """Make these calls, the provider answering each as its row says."""
    for call in calls:
        server.serve(None if isinstance(call.answer, Faults) else call.answer)
        if isinstance(call.answer, Faults):
            server.faults = call.answer
        with tokenmeter.tags(team=call.vendor, call=call.name):
            call.make()


def ask_as_agent(server: ProviderServer, calls: Iterable[Call]) -> None:
    """The same, under the span of an agent."""
    tracer = trace.get_tracer("backends-demo")
    names = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}
    with tracer.start_as_current_span("invoke_agent planner", attributes=names):
        ask(server, calls)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("records", type=Path)
    parser.add_argument("--phoenix")
    parser.add_argument("--project", default="default")
    parser.add_argument("--mlflow")
    parser.add_argument("--experiment", default="0")
    parser.add_argument("--otlp-metrics")
    parser.add_argument("--scrape", type=int)
    args = parser.parse_args()
    exporters(args)
    kept = Kept()
    with provider_server() as server:
        # Every client goes to its vendor by name, and ends at the server here.
        os.environ["HTTP_PROXY"] = os.environ["http_proxy"] = server.origin
        tokenmeter.instrument()
        tokenmeter.add_sink(kept)
        ask(server, [call for call in CALLS if AGENT not in call.kinds])
        ask_as_agent(server, [call for call in CALLS if AGENT in call.kinds])
        tokenmeter.flush(30)
        trace.get_tracer_provider().force_flush()  # type: ignore[attr-defined]
        metrics.get_meter_provider().force_flush()  # type: ignore[attr-defined]
        args.records.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept.lines))
        print("done", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
