"""A call that was metered elsewhere, read from its span: what the span says is what the program's record says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry import context as contexts
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tokenmeter.meter import Tokenmeter
from tokenmeter.money import Money, plain
from tokenmeter.otel import semconv
from tokenmeter.otel.external.metered_calls import carries_call, metered_call
from tokenmeter.otel.external.processor import CostSpanProcessor
from tokenmeter.otel.external.span_data import SpanData, attributes_at_once
from tokenmeter.record import FROM_SPAN, Record
from tokenmeter.usage import TOKEN_FIELDS, Source, Usage

FOREIGN = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
SAME = (
    "id", "provider", "otel_provider", "operation", "host", "port", "stream", "started_ns", "ended_ns", "end",
    "error_type", "reason", "vendor_cost", "service_tier", "tags",
)  # fmt: skip


class Gathered(list[Record]):
    """A sink."""

    def write(self, record: Record) -> None:
        self.append(record)

    def flush(self, timeout: float = 0.0) -> bool:
        return True

    def close(self, timeout: float = 0.0) -> None:
        pass


class Program:
    """A program with a meter, and a receiver of its spans that knows nothing else of it."""

    def __init__(self, **settings: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing = TracerProvider(shutdown_on_exit=False)
        self.sink = Gathered()
        self.meter = Tokenmeter(tracer_provider=self.tracing, sinks=(self.sink,), **settings)
        self.tracing.add_span_processor(CostSpanProcessor(self.meter))
        self.tracing.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.foreign = self.tracing.get_tracer("opentelemetry.instrumentation.openai")

    def made(self) -> tuple[list[Record], list[ReadableSpan]]:
        """The records and spans since it was asked last."""
        self.meter.flush(10)
        records, spans = list(self.sink), self.exporter.get_finished_spans()
        self.sink.clear()
        self.exporter.clear()
        return records, list(spans)


PROGRAM = Program()
RECEIVER = Tokenmeter(spans="none")


def read(spans: list[ReadableSpan]) -> list[Record]:
    """The calls that spans carry, as another process reads them."""
    found = []
    for span in spans:
        scope = span.instrumentation_scope
        data = SpanData.of(span, scope.name if scope else "", attributes_at_once(span), span.end_time or 0)
        if carries_call(data.attributes):
            record = metered_call(data, RECEIVER)
            assert record is not None
            found.append(record)
    return found


def told(usage: Usage) -> dict[str, Any]:
    """What a usage says, however it is written."""
    counts = {name: (getattr(usage, name), usage.source_of(name)) for name in TOKEN_FIELDS}
    return {**counts, "quantities": dict(usage.quantities), "ranges": dict(usage.ranges)}


def assert_same(found: Record, made: Record) -> None:
    assert {name: getattr(found, name) for name in SAME} == {name: getattr(made, name) for name in SAME}
    assert told(found.usage) == told(made.usage)
    one, other = found.cost, made.cost
    assert (one.total, one.status, one.book, one.effective_from, one.covered_by, one.reason) == (
        other.total, other.status, other.book, other.effective_from, other.covered_by, other.reason,
    )  # fmt: skip
    assert found.flags == (*made.flags, FROM_SPAN)


COUNTS = st.integers(0, 10**7)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usage of a call, reported, counted or mixed, with parts inside their totals."""
    fresh, said = draw(COUNTS), draw(COUNTS)
    source = draw(st.sampled_from([Source.REPORTED, Source.COUNTED, Source.ESTIMATED]))
    mixed = source is Source.REPORTED and draw(st.booleans())
    return Usage(
        input_tokens=fresh,
        output_tokens=draw(st.none() | st.just(said)) if source is Source.REPORTED else said,
        cache_read_input_tokens=draw(st.none() | st.integers(0, fresh)),
        reasoning_output_tokens=draw(st.none() | st.integers(0, said)),
        quantities=draw(st.dictionaries(st.sampled_from(["web_search_calls", "images"]), COUNTS, max_size=2)),
        source=source,
        sources={"input_tokens": Source.ESTIMATED} if mixed else {},
        ranges=draw(st.just({}) if source is Source.REPORTED else st.just({"input_tokens": (fresh, fresh + 5)})),
    )


@settings(deadline=None)
@given(usages(), st.sampled_from(["deepseek-chat", "no-such-model"]), st.dictionaries(
    st.text(min_size=1, max_size=8), st.text(max_size=8), max_size=2))  # fmt: skip
def test_our_own_span_says_what_the_record_says(usage: Usage, model: str, tags: dict[str, str]) -> None:
    with PROGRAM.meter.tags(**tags), PROGRAM.meter.call("deepseek", model) as call:
        call.observe_usage(usage)
    (made,), spans = PROGRAM.made()
    (found,) = read(spans)
    encodable = {name.encode("utf-8", "replace").decode(): one.encode("utf-8", "replace").decode()
                 for name, one in tags.items()}  # fmt: skip
    assert_same(found._replace(tags=made.tags), made)
    assert found.tags == encodable
    assert found.cost.charges == made.cost.charges


@pytest.mark.parametrize("ended", [False, True], ids=["in place", "on a span below it"])
def test_a_span_of_another_instrumentation_carries_our_call_and_its_times(ended: bool) -> None:
    attributes = FOREIGN | {"gen_ai.usage.input_tokens": 7}
    with (
        PROGRAM.foreign.start_as_current_span("sdk", attributes=attributes) as span,
        PROGRAM.meter.call("openai", "gpt-4o") as call,
    ):
        call.observe_usage(Usage(input_tokens=1000, output_tokens=100, cache_read_input_tokens=900))
        if ended:
            span.end()
    (made,), spans = PROGRAM.made()
    assert len(spans) == 1 + ended
    (found,) = read(spans)
    assert_same(found, made)
    assert plain(found.cost.amount or Decimal(-1)) == "0.002375"


def test_two_calls_inside_one_span_are_two() -> None:
    with PROGRAM.foreign.start_as_current_span("sdk", attributes=FOREIGN):
        for tokens in (10, 20):
            with PROGRAM.meter.call("openai", "gpt-4o") as call:
                call.observe_usage(Usage(input_tokens=tokens, output_tokens=1))
    made, spans = PROGRAM.made()
    found = read(spans)
    for one, other in zip(sorted(found, key=lambda one: one.id), sorted(made, key=lambda one: one.id), strict=True):
        assert_same(one, other)


def test_a_span_that_a_processor_priced_carries_its_call() -> None:
    used = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100, "gen_ai.response.id": "chatcmpl-1"}
    PROGRAM.foreign.start_span("sdk", attributes=FOREIGN | used).end()
    (made,), spans = PROGRAM.made()
    (found,) = read(spans)
    assert_same(found, made)
    assert found.response_id == "chatcmpl-1"


def test_a_call_whose_inner_span_was_kept_back_has_the_times_of_that() -> None:
    used = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
    with PROGRAM.foreign.start_as_current_span("outer", attributes=FOREIGN):
        inside = contexts.set_value(semconv.INFERENCE_CONTEXT, {"gen_ai.operation.name": "chat"})
        PROGRAM.foreign.start_span("inner", inside, attributes=FOREIGN | used).end()
    (made,), spans = PROGRAM.made()
    (found,) = read(spans)
    assert_same(found, made)
    assert found.usage.input_tokens == 1000


def test_the_programs_own_price_stands() -> None:
    with PROGRAM.meter.call("openai", "gpt-4o") as call:
        call.observe_usage(Usage(input_tokens=1000, output_tokens=100))
    _, (span,) = PROGRAM.made()
    data = SpanData.of(span, "tokenmeter", attributes_at_once(span), span.end_time or 0)
    data.attributes = {**data.attributes, "tokenmeter.cost.amount": "0.001", "tokenmeter.cost.list_amount": "0.0035"}
    found = metered_call(data, RECEIVER)
    assert found is not None
    assert (found.cost.total, found.cost.list_total) == (Money("0.001", "USD"), Money("0.0035", "USD"))
    assert (found.cost.charges, found.cost.rate_id) == ((), None)
