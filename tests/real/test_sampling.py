"""Trace sampling at 1 %: nearly no span leaves, and metrics and ledger sum to all of the calls, to the last digit.

The same several hundred calls, by the real SDK over real HTTP, run once with every trace sampled and once with one in a
hundred. Some are read to the end, some abandoned by the caller, some cut off by the server, some refused.
"""

from __future__ import annotations

import itertools
from collections import Counter
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

import tokenmeter
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.testing import FixedClock, ProviderServer, provider_server

openai = pytest.importorskip("openai", reason="calls are made with the openai SDK")

CALLS = 350
MESSAGES: list[Any] = [{"role": "user", "content": "What does a call cost that nobody traces?"}]
VENDORS = (("deepseek", "deepseek-chat"), ("openai", "gpt-4o"))


class Sums(NamedTuple):
    """Of one run, by currency: what each of the three says."""

    ledger: dict[str, Decimal]
    metrics: dict[str, Decimal]
    records: dict[str, Decimal]
    ends: Counter[str]
    tokens: dict[str, int]
    tokens_in_metrics: int
    calls_in_metrics: int
    unpriced: tuple[int, int]
    spans: list[ReadableSpan]


class Collector:
    """A sink of the test's own."""

    def __init__(self) -> None:
        self.records: list[tokenmeter.Record] = []

    def write(self, record: tokenmeter.Record) -> None:
        self.records.append(record)

    def flush(self, timeout: float = 5.0) -> bool:
        return True

    def close(self, timeout: float = 5.0) -> None:
        """Nothing to close."""


def one_call(client: Any, model: str, number: int) -> None:
    """One of seven ways that a call can go."""
    create = client.chat.completions.create
    way = number % 7
    if way in (0, 1):
        create(model=f"{model};in={100 + number};out=20", messages=MESSAGES)
    elif way == 2:
        list(create(model=f"{model};in={100 + number};out=20", messages=MESSAGES, stream=True))
    elif way == 3:
        with create(model=f"{model};chunks=40", messages=MESSAGES, stream=True) as stream:
            list(itertools.islice(stream, 5))
    elif way == 4:
        with suppress(Exception):  # which one depends on the SDK's version
            list(create(model=f"{model};drop=4", messages=MESSAGES, stream=True))
    elif way == 5:
        with suppress(openai.APIStatusError):
            create(model=f"{model};status=503", messages=MESSAGES)
    else:
        create(model=f"{model};fail=1;in=50;out=5", messages=[{"role": "user", "content": f"again {number}"}])


def run(server: ProviderServer, path: Path, ratio: float, calls: int = CALLS) -> Sums:
    exporter, reader, collector = InMemorySpanExporter(), InMemoryMetricReader(), Collector()
    tracing = TracerProvider(sampler=ParentBased(TraceIdRatioBased(ratio)), shutdown_on_exit=False)
    tracing.add_span_processor(BatchSpanProcessor(exporter))
    metering = MeterProvider([reader], shutdown_on_exit=False)
    meter = tokenmeter.Tokenmeter(
        tracer_provider=tracing,
        meter_provider=metering,
        ledger=path,
        sinks=[collector],
        clock=FixedClock("2026-11-20T12:00:00+08:00"),
    )
    clients = [
        (
            meter.wrap(openai.OpenAI(base_url=server.url(vendor), api_key="any", max_retries=1), provider=vendor),
            model,
        )
        for vendor, model in VENDORS
    ]
    tracer = tracing.get_tracer("app")
    for number in range(calls):
        client, model = clients[number % 2]
        with tracer.start_as_current_span("request"), meter.tags(team=f"team-{number % 3}"):
            one_call(client, model, number)
    meter.shutdown(timeout=60)
    tracing.force_flush()
    points = _points(reader)
    tracing.shutdown()
    metering.shutdown()

    report = ask(str(path), Question(by=(), zone=Zone.named("UTC")))
    in_records: dict[str, Decimal] = {}
    for record in collector.records:
        if record.cost.total is not None:
            currency = record.cost.total.currency
            in_records[currency] = in_records.get(currency, Decimal(0)) + record.cost.total.amount
    in_metrics: dict[str, Decimal] = {}
    for attributes, value in points["tokenmeter.cost"]:
        currency = attributes["tokenmeter.cost.currency"]
        in_metrics[currency] = in_metrics.get(currency, Decimal(0)) + Decimal(str(value))
    return Sums(
        ledger={row.currency: row.cost for row in report.totals if row.currency and row.cost is not None},
        metrics=in_metrics,
        records=in_records,
        ends=Counter(str(record.end) for record in collector.records),
        tokens={
            name: sum(row.tokens[name] or 0 for row in report.totals) for name in ("input_tokens", "output_tokens")
        },
        tokens_in_metrics=sum(value for _, value in points["tokenmeter.usage"]),
        calls_in_metrics=sum(value for _, value in points["tokenmeter.calls"]),
        unpriced=(
            sum(row.calls for row in report.totals if row.currency is None),
            sum(value for _, value in points["tokenmeter.calls.unpriced"]),
        ),
        spans=list(exporter.get_finished_spans()),
    )


def _points(reader: InMemoryMetricReader) -> dict[str, list[tuple[dict[str, Any], Any]]]:
    found: dict[str, list[tuple[dict[str, Any], Any]]] = {"tokenmeter.calls.unpriced": []}
    data = reader.get_metrics_data()
    assert data is not None
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                points = found.setdefault(metric.name, [])
                points += [(dict(p.attributes or {}), getattr(p, "value", None)) for p in metric.data.data_points]
    return found


def test_metrics_and_ledger_sum_to_all_calls_whatever_the_sampler_keeps(tmp_path: Path) -> None:
    with provider_server() as server:
        whole = run(server, tmp_path / "whole.db", 1.0)
        sampled = run(server, tmp_path / "sampled.db", 0.01)

    assert len(whole.spans) == 2 * CALLS, "the application's span and the call's, each"
    assert len(sampled.spans) < CALLS * 0.2, "of 350 traces three or four are kept"
    for sums in (whole, sampled):
        assert sums.ledger.keys() == {"CNY", "USD"}
        assert sums.ledger == sums.metrics == sums.records
        assert sums.ends.total() == sums.calls_in_metrics == CALLS
        assert sum(sums.tokens.values()) == sums.tokens_in_metrics
        assert sums.unpriced[0] == sums.unpriced[1]
    assert set(whole.ends) >= {"complete", "closed_early", "error"}
    for said in Sums._fields[:-1]:
        assert getattr(sampled, said) == getattr(whole, said), said


def test_with_every_trace_kept_the_spans_say_what_the_ledger_says(tmp_path: Path) -> None:
    with provider_server() as server:
        sums = run(server, tmp_path / "spend.db", 1.0, calls=42)
    on_spans: dict[str, Decimal] = {}
    for span in sums.spans:
        said = span.attributes or {}
        if "tokenmeter.cost.amount" in said:
            currency = str(said["tokenmeter.cost.currency"])
            on_spans[currency] = on_spans.get(currency, Decimal(0)) + Decimal(str(said["tokenmeter.cost.amount"]))
    assert on_spans == sums.ledger
