"""Calls that another instrumentation traces too: one span has the tokens, and the cost comes to it.

The spans here are made by a real tracer of the other's scope name, with the attributes that the real packages were
seen to have set when the request goes out (genai-openai 1.3b0, OpenLLMetry 0.62, OpenInference 0.1.66, Logfire 5.2).
"""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from tests.rigs.made_records import record
from tests.rigs.otel_rig import Rig
from tokenmeter.otel.external.model_calls import is_genai_scope
from tokenmeter.record import End

GENAI = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
STANDARD = ("gen_ai.client.inference.usage.input_tokens", "gen_ai.client.inference.duration")


def theirs(rig: Rig, scope: str, attributes: dict[str, Any]) -> trace.Span:
    return rig.tracing.get_tracer(scope, "1").start_span("theirs", attributes=attributes)


MODEL_CALLS = [
    pytest.param("opentelemetry.instrumentation.genai.openai", GENAI, id="official"),
    pytest.param("opentelemetry.instrumentation.openai_v2", GENAI, id="official, before"),
    pytest.param("opentelemetry.instrumentation.openai.v1", GENAI | {"gen_ai.is_streaming": False}, id="openllmetry"),
    pytest.param("openinference.instrumentation.openai", {"openinference.span.kind": "LLM"}, id="openinference"),
    pytest.param("logfire.openai", GENAI | {"logfire.span_type": "span"}, id="logfire"),
    pytest.param("com.anthropic.sdk.python", GENAI, id="anthropic's own"),
    pytest.param("openlit.instrumentation.openai", GENAI, id="openlit"),
    pytest.param("gcp.vertex.agent", GENAI | {"gen_ai.operation.name": "generate_content"}, id="google-adk"),
    pytest.param("strands.telemetry.tracer", {"gen_ai.operation.name": "chat"}, id="strands"),
    pytest.param("our.own.framework", GENAI, id="a scope that no table has"),
]


@pytest.mark.parametrize(("scope", "attributes"), MODEL_CALLS)
def test_the_cost_comes_to_their_span(scope: str, attributes: dict[str, Any]) -> None:
    rig = Rig()
    span = theirs(rig, scope, attributes)
    with trace.use_span(span):
        call = rig.open(tags={"team": "search"})
    rig.lifecycle.settle(call, End.COMPLETE)
    span.end()
    (only,) = rig.spans
    found = dict(only.attributes or {})
    assert found["tokenmeter.cost.amount"] == "0.0012"
    assert found["tokenmeter.cost.currency"] == "CNY"
    assert found["tokenmeter.tag.team"] == "search"
    assert {name for name in found if not name.startswith("tokenmeter.")} == attributes.keys(), "theirs is theirs"
    assert len(rig.points("tokenmeter.calls")) == 1
    assert [rig.points(name) for name in STANDARD] == [[], []], "they send the standard metrics"


@pytest.mark.parametrize(
    ("scope", "attributes"),
    [
        pytest.param("pydantic-ai", {"gen_ai.operation.name": "invoke_agent"}, id="agent"),
        pytest.param("opentelemetry.instrumentation.langchain", {"gen_ai.operation.name": "execute_tool"}, id="tool"),
        pytest.param("openinference.instrumentation.langchain", {"openinference.span.kind": "CHAIN"}, id="chain"),
        pytest.param("logfire", {"logfire.msg": "my own span"}, id="a user's span"),
        pytest.param("gcp.vertex.agent", {"gen_ai.operation.name": "execute_tool"}, id="a tool of google-adk"),
        pytest.param("tokenmeter", GENAI, id="a span of tokenmeter"),
        pytest.param("our.own.framework", {"gen_ai.operation.name": "plan"}, id="an operation that no table has"),
        pytest.param("our.own.framework", {"gen_ai.operation.name": ("chat",)}, id="an operation that is no text"),
        pytest.param("opentelemetry.instrumentation.openai_v2x", {"gen_ai.request.model": "gpt-4o"}, id="a name alike"),
    ],
)
def test_other_spans_are_parents_only(scope: str, attributes: dict[str, Any]) -> None:
    rig = Rig()
    span = theirs(rig, scope, attributes)
    with trace.use_span(span):
        rig.lifecycle.settle(rig.open(), End.COMPLETE)
    span.end()
    ours, outer = rig.spans
    assert ours.name == "chat deepseek-chat"
    assert ours.parent is not None
    assert ours.parent.span_id == span.get_span_context().span_id
    assert dict(outer.attributes or {}) == attributes
    assert len(rig.points(STANDARD[0])) == 1


def test_own_makes_ours_beside_theirs_and_enrich_never_does() -> None:
    for mode, expected in (("own", ["chat deepseek-chat", "theirs"]), ("enrich", ["theirs"])):
        rig = Rig(mode)
        span = theirs(rig, "openlit", GENAI)
        with trace.use_span(span):
            rig.lifecycle.settle(rig.open(), End.COMPLETE)
        span.end()
        assert [one.name for one in rig.spans] == expected
        rig.lifecycle.settle(rig.open(), End.COMPLETE)
        assert len(rig.spans) == len(expected) + (mode == "own"), "without a span of theirs"


def test_a_span_that_ended_before_the_stream_did_gets_a_child_with_the_cost_and_no_tokens() -> None:
    rig = Rig()
    span = theirs(rig, "opentelemetry.instrumentation.genai.openai", GENAI)
    with trace.use_span(span):
        call = rig.open(stream=True)
    span.end()
    rig.lifecycle.settle(call, End.COMPLETE)
    first, late = rig.spans
    assert first.name == "theirs"
    assert late.parent is not None
    assert late.parent.span_id == span.get_span_context().span_id
    found = dict(late.attributes or {})
    assert found["tokenmeter.cost.amount"] == "0.0012"
    assert not [name for name in found if name.startswith("gen_ai.")], "they have counted the tokens"
    assert late.start_time == call.started_ns


def test_two_calls_under_one_span_do_not_overwrite_each_other() -> None:
    rig = Rig()
    span = theirs(rig, "openlit", GENAI)
    with trace.use_span(span):
        calls = [rig.open(), rig.open()]
    for call in calls:
        rig.lifecycle.settle(call, End.COMPLETE)
    span.end()
    assert [one.name for one in rig.spans] == ["tokenmeter.cost", "theirs"]
    assert [(one.attributes or {})["tokenmeter.cost.amount"] for one in rig.spans] == ["0.0012", "0.0012"]


def test_the_official_context_key_means_that_somebody_owns_the_call() -> None:
    rig = Rig(sampler=ALWAYS_OFF)
    token = context.attach(context.set_value("opentelemetry.genai.client.inference.context", object()))
    rig.lifecycle.settle(rig.open(), End.COMPLETE)
    context.detach(token)
    assert [rig.points(name) for name in STANDARD] == [[], []]
    assert rig.points("tokenmeter.cost")[0][1] == 0.0012


def test_logfire_suppresses_what_runs_inside_its_span_and_still_gets_the_cost() -> None:
    rig = Rig()
    span = theirs(rig, "logfire.openai", GENAI)
    with trace.use_span(span):
        token = context.attach(context.set_value("suppress_instrumentation", True))
        call = rig.open()
        context.detach(token)
    rig.lifecycle.settle(call, End.COMPLETE)
    span.end()
    assert (rig.spans[0].attributes or {})["tokenmeter.cost.amount"] == "0.0012"
    assert len(rig.points("tokenmeter.calls")) == 1


def test_a_delegated_call_leaves_nothing_but_its_end() -> None:
    rig = Rig()
    span = theirs(rig, "openlit", GENAI)
    with trace.use_span(span):
        handle = rig.open().span
    assert handle is not None
    span.end()
    handle.finish(record(end=End.DELEGATED))
    assert [one.name for one in rig.spans] == ["theirs"]


@pytest.mark.parametrize(
    ("scope", "known"),
    [
        pytest.param("openinference.instrumentation.anthropic", True, id="below"),
        pytest.param("openinference", True, id="itself"),
        pytest.param("openinferences", False, id="longer"),
        pytest.param("opentelemetry.instrumentation", False, id="above"),
        pytest.param("tokenmeter", False, id="ours"),
        pytest.param("", False, id="empty"),
    ],
)
def test_known_scopes(scope: str, known: bool) -> None:
    assert is_genai_scope(scope) is known
