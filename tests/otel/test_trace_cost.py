"""The cost of a trace on its local root span, and the ids of conversations."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import tokenmeter
from tokenmeter.otel.external.processor import CostSpanProcessor
from tokenmeter.otel.trace_cost import ConversationProcessor, TraceCostProcessor
from tokenmeter.usage import Usage

GENAI = {
    "gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o",
    "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100,
}  # fmt: skip
MILLION = Usage(input_tokens=10**6, output_tokens=0)


class Rig:
    def __init__(self, *, rollup_first: bool = False) -> None:
        self.exporter = InMemorySpanExporter()
        self.tracing = TracerProvider(shutdown_on_exit=False)
        self.meter = tokenmeter.Tokenmeter(tracer_provider=self.tracing)
        self.rollup = TraceCostProcessor()
        both = [CostSpanProcessor(self.meter), self.rollup]
        for one in (*(reversed(both) if rollup_first else both), ConversationProcessor()):
            self.tracing.add_span_processor(one)
        self.tracing.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.tracing.get_tracer("app")

    def call(self, provider: str, model: str) -> None:
        with self.meter.call(provider=provider, model=model) as call:
            call.observe_usage(MILLION)

    def found(self, name: str) -> dict[str, Any]:
        (span,) = [one for one in self.exporter.get_finished_spans() if one.name == name]
        return attributes(span)

    def sums(self, name: str) -> dict[str, Any]:
        return {key: value for key, value in self.found(name).items() if key.startswith("tokenmeter.trace.")}


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@pytest.mark.parametrize("rollup_first", [False, True])
def test_the_root_says_what_everything_below_cost(rollup_first: bool) -> None:
    rig = Rig(rollup_first=rollup_first)
    with rig.tracer.start_as_current_span("request"):
        with rig.tracer.start_as_current_span("step"), rig.meter.scope("answer"):
            rig.call("openai", "gpt-4o")
            rig.call("deepseek", "no-such-model")
        rig.tracing.get_tracer("openlit").start_span("theirs", attributes=GENAI).end()
    expected = {
        "tokenmeter.trace.calls": 3,
        "tokenmeter.trace.unpriced": 1,
        "tokenmeter.trace.cost.USD": "2.5035",
        "tokenmeter.trace.cost_number.USD": 2.5035,
    }
    assert rig.sums("request") == expected
    assert rig.sums("step") == rig.sums("answer") == {}, "on the root only"
    assert len(rig.rollup._traces) == 0


def test_currencies_stay_apart() -> None:
    rig = Rig()
    with rig.tracer.start_as_current_span("request"):
        rig.call("openai", "gpt-4o")
        rig.call("alibaba", "qwen-plus")
    sums = rig.sums("request")
    assert sums["tokenmeter.trace.cost.USD"] == "2.5"
    assert "tokenmeter.trace.cost.CNY" in sums


@pytest.mark.parametrize("rollup_first", [False, True])
def test_a_root_that_is_the_call_says_the_same(rollup_first: bool) -> None:
    rig = Rig(rollup_first=rollup_first)
    rig.tracing.get_tracer("openlit").start_span("theirs", attributes=GENAI).end()
    rig.call("openai", "gpt-4o")
    assert rig.sums("theirs")["tokenmeter.trace.cost.USD"] == rig.found("theirs")["tokenmeter.cost.amount"] == "0.0035"
    assert rig.sums("chat gpt-4o")["tokenmeter.trace.cost.USD"] == "2.5"


def test_a_remote_parent_makes_a_local_root_and_a_trace_without_calls_says_nothing() -> None:
    rig = Rig()
    remote = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    above = trace.set_span_in_context(trace.NonRecordingSpan(remote))
    with rig.tracer.start_as_current_span("request", above):
        rig.call("openai", "gpt-4o")
    with rig.tracer.start_as_current_span("health"):
        pass
    assert rig.sums("request")["tokenmeter.trace.calls"] == 1
    assert rig.sums("health") == {}


def test_conversations_come_from_tags_or_baggage_and_do_not_replace() -> None:
    rig = Rig()
    context = baggage.set_baggage("session.id", "s1", baggage.set_baggage("user.id", "other"))
    with rig.meter.tags(conversation="c1", user="u1"), rig.tracer.start_as_current_span("request", context):
        rig.tracer.start_span("own", attributes={"gen_ai.conversation.id": "theirs"}).end()
    ids = {name: rig.found("request").get(name) for name in ("gen_ai.conversation.id", "session.id", "user.id")}
    assert ids == {"gen_ai.conversation.id": "c1", "session.id": "s1", "user.id": "u1"}
    assert rig.found("own")["gen_ai.conversation.id"] == "theirs"
