"""A span made when its call is over is the span that would have started with the call, to whoever looks."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_ON,
    Decision,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)
from opentelemetry.trace import SpanContext, TraceFlags, TraceState

from tests.rigs.made_records import priced
from tests.rigs.otel_rig import ROUTE
from tokenmeter.calls.lifecycle import Lifecycle
from tokenmeter.calls.opencall import OpenCall
from tokenmeter.otel.call_span import LateSpan, LiveSpan
from tokenmeter.otel.spans import CallSpans
from tokenmeter.record import End
from tokenmeter.usage import Usage

PARENT = SpanContext(
    0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331, True, TraceFlags(3), TraceState([("vendor", "1")])
)
UNSAMPLED = SpanContext(PARENT.trace_id, PARENT.span_id, False, TraceFlags(0))


class Watching(SimpleSpanProcessor):
    """A processor of somebody's own: it might act when a span starts, so spans start when their calls do."""


class Adding(Sampler):
    """A sampler that adds attributes of its own, one of them of a kind that the SDK mends."""

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, kind: Any = None, attributes: Any = None, *rest: Any
    ) -> SamplingResult:
        return SamplingResult(Decision.RECORD_AND_SAMPLE, {**attributes, "sampled.by": ["rule", "7"]})

    def get_description(self) -> str:
        return "Adding"


class Only(Sampler):
    """A sampler that records what it sees and samples by it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, Any], int | None]] = []

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, kind: Any = None, attributes: Any = None, *rest: Any
    ) -> SamplingResult:
        where = trace.get_current_span(parent_context).get_span_context()
        self.seen.append((name, dict(attributes), where.trace_id if where.is_valid else None))
        return SamplingResult(Decision.RECORD_ONLY, attributes)

    def get_description(self) -> str:
        return "Only"


class World:
    """A tracer provider, spans on it, and a lifecycle that opens calls with them."""

    def __init__(self, *, late: bool, sampler: Sampler = ALWAYS_ON, limits: SpanLimits | None = None, **options: Any):
        self.kind = LateSpan if late else LiveSpan
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, span_limits=limits, shutdown_on_exit=False)
        self.provider.add_span_processor((SimpleSpanProcessor if late else Watching)(self.exporter))
        self.spans = CallSpans(self.provider, **options)
        cost = priced("0.0012")
        self.lifecycle = Lifecycle(spans=self.spans, price=lambda record: cost, clock=lambda: 10**18, monotonic=int)

    def open(self, tags: Mapping[str, str]) -> OpenCall:
        call = self.lifecycle.open(ROUTE, "deepseek-chat", tags=tags)
        call.usage_override = Usage(input_tokens=1000, output_tokens=100)
        assert isinstance(call.span, self.kind)
        return call


def told(spans: Sequence[ReadableSpan], *, root: bool) -> list[dict[str, Any]]:
    """All that an exporter can see of spans, but for the ids that were drawn."""
    answer = []
    for span in spans:
        shown = json.loads(span.to_json())
        assert shown["context"].pop("span_id")
        if root:
            assert shown["context"].pop("trace_id")
        drawn = shown["attributes"].pop("tokenmeter.call.id", None)
        assert drawn is not None or span.dropped_attributes
        answer.append(
            shown
            | {
                "types": {
                    name: repr(value) for name, value in (span.attributes or {}).items() if name != "tokenmeter.call.id"
                },
                "flags": int(span.context.trace_flags) if span.context else None,
                "dropped": (span.dropped_attributes, span.dropped_events, span.dropped_links),
                "scope": span.instrumentation_scope,
                "class": type(span),
            }
        )
    return answer


CASES: Mapping[str, dict[str, Any]] = {
    "plain": {},
    "the SDK's default": {"sampler": DEFAULT_ON},
    "limited in number": {"limits": SpanLimits(max_span_attributes=9)},
    "limited in length": {"limits": SpanLimits(max_span_attribute_length=5)},
    "dialects": {"dialects": ["openinference", "langfuse"]},
    "sampled out": {"sampler": ALWAYS_OFF},
    "by the parent": {"sampler": ParentBased(ALWAYS_OFF)},
    "by a ratio": {"sampler": TraceIdRatioBased(1.0)},
    "with attributes of the sampler's": {"sampler": Adding()},
}


@pytest.mark.parametrize("end", [End.COMPLETE, End.ERROR])
@pytest.mark.parametrize("parent", [None, PARENT, UNSAMPLED])
@pytest.mark.parametrize("tags", [{}, {"team": "搜索", "n": "1"}, {f"t{n}": str(n) for n in range(150)}])
@pytest.mark.parametrize("case", CASES)
def test_an_exporter_sees_no_difference(
    case: str, tags: Mapping[str, str], parent: SpanContext | None, end: End
) -> None:
    seen = []
    for late in (False, True):
        world = World(late=late, **CASES[case])
        token = context.attach(
            trace.set_span_in_context(trace.NonRecordingSpan(parent)) if parent is not None else context.Context()
        )
        try:
            call = world.open(tags)
            assert call.span is not None
            call.span.attach()
            call.span.detach()
            world.lifecycle.settle(call, end)
        finally:
            context.detach(token)
        spans = world.exporter.get_finished_spans()
        encoded = [span for one in encode_spans(spans).resource_spans for two in one.scope_spans for span in two.spans]
        flags = [(span.flags, span.kind, span.status.code) for span in encoded]
        seen.append((told(spans, root=parent is None), flags))
    assert seen[0] == seen[1]


def test_the_sampler_is_asked_the_same() -> None:
    asked = []
    for late in (False, True):
        sampler = Only()
        world = World(late=late, sampler=sampler)
        world.lifecycle.settle(world.open({"team": "a"}), End.COMPLETE)
        asked.append(sampler.seen)
    assert len(asked[0]) == 1
    assert asked[0] == asked[1]


@pytest.mark.parametrize("late", [False, True])
def test_spans_that_start_meanwhile_are_its_children(late: bool) -> None:
    world = World(late=late)
    call = world.open({})
    assert call.span is not None
    call.span.attach()
    with world.provider.get_tracer("http").start_as_current_span("POST"):
        pass
    current = trace.get_current_span()
    assert isinstance(current, Span)
    assert current.is_recording()
    current.set_attribute("seen", 1)
    current.add_event("retried")
    assert current.name == "chat deepseek-chat"
    assert dict(current.attributes or {})["gen_ai.request.model"] == "deepseek-chat"
    call.span.detach()
    world.lifecycle.settle(call, End.COMPLETE)
    child, own = world.exporter.get_finished_spans()
    assert child.parent is not None
    assert own.context is not None
    assert child.parent.span_id == own.context.span_id
    assert dict(own.attributes or {})["seen"] == 1
    assert [event.name for event in own.events] == ["retried"]
    assert (call.span.trace_id, call.span.span_id) == (
        f"{own.context.trace_id:032x}",
        f"{own.context.span_id:016x}",
    )


def test_whoever_asks_when_it_is_over_finds_the_same_span_ended() -> None:
    world = World(late=True)
    call = world.open({})
    assert call.span is not None
    call.span.attach()
    current = trace.get_current_span()
    call.span.detach()
    world.lifecycle.settle(call, End.COMPLETE)
    (own,) = world.exporter.get_finished_spans()
    assert current.get_span_context() == own.context
    assert not current.is_recording()
    with world.provider.get_tracer("task").start_as_current_span("late", trace.set_span_in_context(current)):
        pass
    child = world.exporter.get_finished_spans()[-1]
    assert child.parent == own.context


def test_threads_that_ask_at_once_get_one_span() -> None:
    world = World(late=True)
    for _ in range(30):
        call = world.open({})
        assert call.span is not None
        call.span.attach()
        current = trace.get_current_span()
        call.span.detach()
        ready, found = threading.Barrier(5), []

        def ask(current: trace.Span = current, ready: threading.Barrier = ready, found: list[int] = found) -> None:
            ready.wait()
            found.append(current.get_span_context().span_id)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        ready.wait()
        world.lifecycle.settle(call, End.COMPLETE)
        for thread in threads:
            thread.join()
        own = world.exporter.get_finished_spans()[-1].context
        assert own is not None
        assert set(found) == {own.span_id}
    assert len(world.exporter.get_finished_spans()) == 30


def test_a_processor_that_is_added_later_sees_spans_start() -> None:
    world = World(late=True)
    world.lifecycle.settle(world.open({}), End.COMPLETE)
    started: list[str] = []

    class Noting(SimpleSpanProcessor):
        def on_start(self, span: Span, parent_context: Any = None) -> None:
            started.append(span.name)

    world.provider.add_span_processor(Noting(InMemorySpanExporter()))
    call = world.lifecycle.open(ROUTE, "deepseek-chat")
    assert started == ["chat deepseek-chat"]
    world.lifecycle.settle(call, End.COMPLETE)
    assert len(world.exporter.get_finished_spans()) == 2


def test_spans_are_with_the_batch_processor_when_the_call_is_over() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=3_600_000))
    lifecycle = Lifecycle(spans=CallSpans(provider), price=lambda record: priced("1"))
    lifecycle.settle(lifecycle.open(ROUTE, "deepseek-chat"), End.COMPLETE)
    provider.force_flush()
    assert len(exporter.get_finished_spans()) == 1
    provider.shutdown()
