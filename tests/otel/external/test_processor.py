"""Spans that others made, priced: names, meanings, and one owner for each call.

The attributes are those that the packages were seen to set on spans of a call (their versions are named in
`foreign_names`), made here by a real tracer of their scope. `test_processor_packages` runs the packages themselves.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Status, StatusCode

import tokenmeter
from tests.rigs.foreign_shapes import GENAI, SHAPES, USED, WHOLE
from tests.rigs.otel_rig import points
from tests.rigs.processor_rig import NOV, Rig
from tokenmeter.otel.external.exporter import CostSpanExporter
from tokenmeter.otel.external.processor import CostSpanProcessor
from tokenmeter.record import End
from tokenmeter.testing import capture
from tokenmeter.usage import Usage


def prices(input_: str, cached: str, output: str) -> Any:
    """Cost of whole, cached and output tokens at prices per million."""

    def cost(rest: int, read: int, out: int) -> Decimal:
        return (Decimal(input_) * rest + Decimal(cached) * read + Decimal(output) * out) / 10**6

    return cost


GPT_4O = prices("2.5", "1.25", "10")


@pytest.mark.parametrize(("scope", "attributes", "provider", "usage"), SHAPES)
def test_a_span_becomes_a_record_and_says_its_cost(
    rig: Rig, scope: str, attributes: dict[str, Any], provider: str, usage: Usage
) -> None:
    (record,), found = rig.one(scope, attributes)
    assert (record.provider, record.operation, record.usage) == (provider, "chat", usage)
    cached = usage.cache_read_input_tokens or 0
    expected = GPT_4O(1000 - cached, cached, 100)
    assert record.cost.amount == expected
    assert Decimal(found["tokenmeter.cost.amount"]) == expected
    assert found["tokenmeter.cost.currency"] == "USD"
    assert found["tokenmeter.call.id"] == record.id
    assert {name: found[name] for name in attributes} == attributes, "theirs is theirs"
    assert {name for name in found if not name.startswith("tokenmeter.")} == attributes.keys()
    assert [value for _, value in rig_points(rig, "tokenmeter.cost")] == [float(expected)]
    assert rig_points(rig, "gen_ai.client.inference.usage.input_tokens") == [], "they send the standard metrics"


def rig_points(rig: Rig, name: str) -> list[tuple[dict[str, Any], Any]]:
    return points(rig.reader, name)


NO_CALLS = [
    pytest.param("opentelemetry.instrumentation.fastapi", GENAI | USED, id="another library"),
    pytest.param("pydantic-ai", GENAI | USED | {"gen_ai.operation.name": "invoke_agent"}, id="an agent's sum"),
    pytest.param("openinference.instrumentation.langchain",
                 {"openinference.span.kind": "CHAIN", "llm.token_count.prompt": 7}, id="a chain's"),
    pytest.param("ai", {"ai.operationId": "ai.generateText", "ai.model.id": "gpt-4o", "ai.usage.inputTokens": 7},
                 id="vercel's outer span"),
    pytest.param("openlit.otel.tracing", GENAI | USED | {"tokenmeter.cost.status": "priced"}, id="priced before"),
    pytest.param("openlit.otel.tracing", GENAI | USED | {"tokenmeter.call.id": "1"}, id="a call of ours"),
    pytest.param("logfire.openai", GENAI | {"logfire.span_type": "span"}, id="logfire's stream, which its log counts"),
]  # fmt: skip


@pytest.mark.parametrize(("scope", "attributes"), NO_CALLS)
def test_what_is_no_call_or_not_ours_is_left_alone(rig: Rig, scope: str, attributes: dict[str, Any]) -> None:
    assert rig.one(scope, attributes) == ([], attributes)


def test_an_error_is_a_record_that_says_so(rig: Rig) -> None:
    with capture(rig.meter) as records:
        span = rig.span("openlit.otel.tracing", GENAI | {"error.type": "RateLimitError"})
        span.set_status(Status(StatusCode.ERROR))
        span.end()
    record = records.only()
    assert (record.end, record.error_type, record.cost.amount) == (End.ERROR, "RateLimitError", None)


def test_tags_and_scopes_take_part(rig: Rig) -> None:
    with rig.meter.tags(tenant="acme"), rig.meter.scope("answer", team="search") as scope:
        records, found = rig.one("openlit.otel.tracing", GENAI | USED)
    assert dict(records[0].tags) == {"tenant": "acme", "team": "search"}
    assert found["tokenmeter.tag.team"] == "search"
    assert (scope.calls, scope.pending, scope.cost["USD"].amount) == (1, 0, GPT_4O(1000, 0, 100))
    assert records[0].scope == ("answer",)


def test_the_cost_comes_whichever_processor_was_registered_first() -> None:
    rig = Rig(before=False)
    _, found = rig.one("openlit.otel.tracing", GENAI | USED)
    assert Decimal(found["tokenmeter.cost.amount"]) == GPT_4O(1000, 0, 100)


def test_the_span_keeps_the_end_it_is_given_and_ends_once(rig: Rig) -> None:
    span = rig.span("openlit.otel.tracing", GENAI | USED)
    span.end(NOV + 5)
    span.end(NOV + 7)
    (ended,) = rig.exporter.get_finished_spans()
    assert ended.end_time == NOV + 5
    assert "end" not in vars(span)


# One owner --------------------------------------------------------------------------------------------------------


def nested(
    rig: Rig, outer: dict[str, Any], inner: list[dict[str, Any]], between: str | None = None, **key: Any
) -> None:
    """An outer span, and inner ones in it, or in a span between."""
    around = rig.tracing.get_tracer("opentelemetry.instrumentation.langchain").start_span("outer", attributes=outer)
    current = trace.set_span_in_context(around)
    for name, value in key.items():
        current = context.set_value(name.replace("_", "."), value, current)
    middle = None
    if between is not None:
        middle = rig.tracing.get_tracer(between).start_span("between", current)
        current = trace.set_span_in_context(middle, current)
    for attributes in inner:
        rig.tracing.get_tracer("com.anthropic.sdk.python").start_span("inner", current, attributes=attributes).end()
    if middle is not None:
        middle.end()
    around.end()


SHARED = {"opentelemetry_genai_client_inference_context": object()}
PRICED = "0.0035"
assert Decimal(PRICED) == GPT_4O(1000, 0, 100)
OWNERS = [
    pytest.param(GENAI | USED, [GENAI | USED], None, {}, {"inner": PRICED, "outer": None}, 1, id="the inner has it"),
    pytest.param(GENAI | USED, [GENAI | USED], "app", {}, {"inner": PRICED, "between": None, "outer": None}, 1,
                 id="through a span between"),
    pytest.param(GENAI | USED, [GENAI | USED], None, SHARED, {"inner": None, "outer": PRICED}, 1,
                 id="the shared key says the outer has it"),
    pytest.param(GENAI, [GENAI | USED], None, SHARED, {"inner": None, "outer": PRICED}, 1,
                 id="the outer has the key and no usage"),
    pytest.param(GENAI | USED, [GENAI], None, {}, {"inner": None, "outer": PRICED}, 1, id="the inner has no usage"),
    pytest.param(GENAI, [GENAI], None, {}, {"inner": None, "outer": None}, 1, id="nobody has usage: one call"),
    pytest.param({"gen_ai.operation.name": "invoke_agent"}, [GENAI | USED, GENAI | USED], None, {},
                 {"inner": PRICED, "outer": None}, 2, id="an agent's two calls"),
    pytest.param({"gen_ai.operation.name": "invoke_agent"}, [GENAI, GENAI | USED], None, {},
                 {"inner": PRICED, "outer": None}, 2, id="an agent's calls, one without usage"),
]  # fmt: skip


@pytest.mark.parametrize(("outer", "inner", "between", "key", "costs", "calls"), OWNERS)
def test_a_call_that_several_saw_is_counted_once(
    rig: Rig,
    outer: dict[str, Any],
    inner: list[dict[str, Any]],
    between: str | None,
    key: dict[str, Any],
    costs: dict[str, Any],
    calls: int,
) -> None:
    with capture(rig.meter) as records:
        nested(rig, outer, inner, between, **key)
    assert rig.costs == costs
    assert len(records) == calls
    priced = sum(one.cost.amount or 0 for one in records)
    assert priced == Decimal(PRICED) * sum(1 for one in rig.exporter.get_finished_spans() if rig_cost(one))
    followed = rig.ours._calls
    assert [len(kept) for kept in (followed._around, followed._kept_back, followed._decided)] == [0, 0, 0], (
        "spans that are over"
    )


def rig_cost(span: ReadableSpan) -> Any:
    return (span.attributes or {}).get("tokenmeter.cost.amount")


@pytest.mark.parametrize(
    ("scopes", "gap", "calls"),
    [
        pytest.param(("com.anthropic.sdk.python", "openlit"), 0, 1, id="side by side"),
        pytest.param(("openlit", "openlit"), 0, 2, id="one instrumentation: a server that repeats its ids"),
        pytest.param(("com.anthropic.sdk.python", "openlit"), 10**10, 2, id="one after the other"),
    ],
)
def test_an_answer_that_two_instrumentations_saw_is_one_call(
    rig: Rig, scopes: tuple[str, str], gap: int, calls: int
) -> None:
    attributes = GENAI | USED | {"gen_ai.response.id": "chatcmpl-1"}
    with capture(rig.meter) as records:
        for position, scope in enumerate(scopes):
            start = NOV + position * gap
            tracer = rig.tracing.get_tracer(scope)
            tracer.start_span(scope, attributes=attributes, start_time=start).end(start + 10**9)
    assert len(records) == calls


def test_without_a_meter_the_default_one_of_the_moment_takes_the_calls() -> None:
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(CostSpanProcessor())
    for _ in range(2):
        meter = tokenmeter.configure(replace=True)
        with capture() as records:
            tracing.get_tracer("openlit").start_span("x", attributes=GENAI | USED).end()
        assert len(records) == 1
        assert tokenmeter.default() is meter


def test_what_was_held_for_a_span_that_never_ends_is_counted_at_shutdown(rig: Rig) -> None:
    outer = rig.span("openlit.otel.tracing", GENAI)
    with capture(rig.meter) as records:
        rig.tracing.get_tracer("openlit").start_span("x", trace.set_span_in_context(outer), attributes=GENAI).end()
        assert list(records) == []
        rig.ours.shutdown()
        assert len(records) == 1


def test_a_call_metered_here_is_not_priced_by_its_span_again(rig: Rig) -> None:
    span = rig.span("opentelemetry.instrumentation.genai.openai", GENAI)
    ours = rig.meter.call(provider="openai", model="gpt-4o")
    with capture(rig.meter) as records, trace.use_span(span), ours as call:
        span.set_attributes(USED)
        span.end()  # theirs ends before ours does
        call.observe_usage(WHOLE)
    assert len(records) == 1
    assert sorted(rig.costs.items()) == [("theirs", None), ("tokenmeter.cost", PRICED)]


def test_our_own_span_inside_theirs_is_the_call() -> None:
    rig = Rig(spans="own")
    span = rig.span("openlit.otel.tracing", GENAI | USED)
    ours = rig.meter.call(provider="openai", model="gpt-4o")
    with capture(rig.meter) as records, trace.use_span(span, end_on_exit=True), ours as call:
        call.observe_usage(WHOLE)
    assert len(records) == 1
    assert rig.costs == {"chat gpt-4o": PRICED, "theirs": None}


# Spans that are over ----------------------------------------------------------------------------------------------


def test_an_exporter_adds_cost_to_spans_that_are_over() -> None:
    source = Rig(processor=False)
    nested(source, GENAI | USED, [GENAI | USED])
    source.span("opentelemetry.instrumentation.fastapi", {"http.route": "/"}).end()
    spans = source.exporter.get_finished_spans()
    with capture(source.meter) as records:
        inner = InMemorySpanExporter()
        exporter = CostSpanExporter(inner, source.meter)
        # The outer one may stand first in a batch, and ends last all the same.
        exporter.export(list(reversed(spans)))
        assert exporter.force_flush()
        exporter.shutdown()
    assert [(span.name, rig_cost(span)) for span in inner.get_finished_spans()] == [
        ("theirs", None), ("outer", None), ("inner", PRICED),
    ]  # fmt: skip
    assert len(records) == 1
    assert [rig_cost(span) for span in spans] == [None, None, None], "theirs are not changed"


def test_an_exporter_leaves_counting_to_the_processor_if_told() -> None:
    source = Rig(processor=False)
    source.span("openlit", GENAI | USED).end()
    with capture(source.meter) as records:
        inner = InMemorySpanExporter()
        CostSpanExporter(inner, source.meter, count=False).export(source.exporter.get_finished_spans())
    assert list(records) == []
    assert rig_cost(inner.get_finished_spans()[0]) == PRICED


def test_a_span_whose_end_is_covered_by_somebody_else_is_still_counted(rig: Rig) -> None:
    class Wrapping(CostSpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            vars(span)["end"] = lambda end_time=None: type(span).end(span, end_time)
            super().on_start(span, parent_context)

    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(Wrapping(rig.meter))
    with capture(rig.meter) as records:
        tracing.get_tracer("openlit").start_span("x", attributes=GENAI | USED).end()
    assert records.only().cost.amount == Decimal(PRICED)
