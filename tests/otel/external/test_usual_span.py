"""Spans like one before: the same records, costs and sums as each by itself, to the last digit."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenmeter
from tokenmeter.calls.usual_call import Settled, record_of
from tokenmeter.otel.external.cost_attributes import describe
from tokenmeter.otel.external.records import Recorder, call_id
from tokenmeter.otel.external.span_data import SpanData
from tokenmeter.otel.external.usual_span import UsualSpan
from tokenmeter.otel.sum_tables import EXTRA
from tokenmeter.otel.sums import Accumulator
from tokenmeter.record import Record

NOV = 1_793_491_200 * 10**9
METER = tokenmeter.Tokenmeter()
PLAIN: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.id": "a",
    "gen_ai.usage.input_tokens": 20,
    "gen_ai.usage.output_tokens": 12,
}
COUNTS = st.one_of(st.integers(-1, 40), st.integers(0, 2_000_000), st.sampled_from(["12", 3.0, None, True]))


def span(
    said: dict[str, Any], number: int = 1, *, scope: str = "openlit", failed: bool = False, **more: Any
) -> SpanData:
    return SpanData(
        number, None, scope, said, NOV, NOV + 10**9, failed, f"{1:032x}", f"{number:016x}", more.get("tags", {})
    )


@st.composite
def spans(draw: st.DrawFn) -> SpanData:
    provider, model = draw(
        st.sampled_from([("openai", "gpt-4o"), ("deepseek", "deepseek-chat"), ("anthropic", "claude-sonnet-4-5")])
    )
    operation = draw(st.sampled_from(["chat", "chat", "chat", "embeddings", "generate_content"]))
    fresh, made = draw(st.integers(0, 60)), draw(st.integers(0, 60))
    said: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
        "gen_ai.usage.input_tokens": fresh,
        "gen_ai.usage.output_tokens": made,
    }
    optional: dict[str, st.SearchStrategy[Any]] = {
        "gen_ai.response.model": st.just(model),
        "gen_ai.response.id": st.sampled_from(["a", "b", "", None, 4]),
        "gen_ai.response.finish_reasons": st.sampled_from([("stop",), ["stop"], "stop", '["stop"]']),
        "gen_ai.usage.cache_read.input_tokens": COUNTS,
        "gen_ai.usage.cache_creation.input_tokens": COUNTS,
        "gen_ai.usage.reasoning.output_tokens": COUNTS,
        "gen_ai.usage.total_tokens": st.one_of(COUNTS, st.just(fresh + made)),
        "gen_ai.usage.prompt_tokens": COUNTS,
        "gen_ai.request.stream": st.booleans(),
        "gen_ai.response.time_to_first_chunk": st.just(0.5),
        "error.type": st.just("RateLimitError"),
        "server.address": st.sampled_from(["api.openai.com", "nowhere.example"]),
        "server.port": st.just(443),
    }  # fmt: skip
    for name in draw(st.lists(st.sampled_from(sorted(optional)), unique=True, max_size=4)):
        said[name] = draw(optional[name])
    tags = draw(st.sampled_from([{}, {}, {"team": "search"}]))
    scope = draw(st.sampled_from(["openlit", "opentelemetry.instrumentation.genai.openai"]))
    return span(
        said, draw(st.integers(1, 10**9)), scope=scope, failed=draw(st.sampled_from([False, False, True])), tags=tags
    )


def shown(record: Record) -> dict[str, Any]:
    names = [name for name in Record.__dataclass_fields__ if name not in ("pricer", "_cost", "_form")]
    return {name: getattr(record, name) for name in names} | {"cost": record.cost.to_json(), "model": record.model}


def sums(settled: list[Settled]) -> dict[str, list[Any]]:
    made = Accumulator()
    for one in settled:
        made.add(one, ours=False)
    made.fold()
    return {table: sorted((str(attributes), number) for attributes, number in made.rows(table)) for table in EXTRA}


@given(st.lists(spans(), min_size=1, max_size=8))
@settings(deadline=None, max_examples=150)
def test_both_ways_say_the_same(told: list[SpanData]) -> None:
    recorder = Recorder(METER, (), None)
    usual = [recorder.record(one, call_id(one)) for one in told * 3]
    general = [Recorder(METER, (), None).record(one, call_id(one)) for one in told * 3]
    assert [one is None for one in usual] == [one is None for one in general]
    found = [one for one in usual if one is not None]
    records = [one for one in general if isinstance(one, Record)]
    assert sums(found) == sums([*records])
    assert [describe(METER, one).attributes() for one in found] == [
        describe(METER, record).attributes() for record in records
    ]
    assert [shown(record_of(one)) for one in found] == [shown(record) for record in records]


@pytest.mark.parametrize(
    ("change", "usual"),
    [
        pytest.param({}, True, id="the same"),
        pytest.param({"gen_ai.usage.input_tokens": 700, "gen_ai.response.id": "b"}, True, id="other numbers"),
        pytest.param({"gen_ai.request.model": "gpt-4o-mini"}, False, id="another model"),
        pytest.param({"gen_ai.usage.output_tokens": 0}, False, id="a zero"),
        pytest.param({"gen_ai.usage.input_tokens": "20"}, False, id="a text"),
        pytest.param({"gen_ai.response.id": None}, True, id="no id"),
        pytest.param({"error.type": "TimeoutError"}, False, id="an error"),
    ],
)
def test_a_span_is_usual_by_what_it_shares(change: dict[str, Any], usual: bool) -> None:
    recorder = Recorder(METER, (), None)
    recorder.record(span(PLAIN), "1")
    assert isinstance(recorder.record(span({**PLAIN, **change}), "2"), UsualSpan) is usual


def test_cached_tokens_beside_the_input_are_read_by_the_general_way() -> None:
    recorder = Recorder(METER, (), None)
    said = {**PLAIN, "gen_ai.provider.name": "anthropic", "gen_ai.request.model": "claude-sonnet-4-5"}
    for cached in (0, 5):
        settled = recorder.record(span({**said, "gen_ai.usage.cache_read.input_tokens": cached}), str(cached))
        assert settled is not None
        assert settled.usage.input_tokens == 20 + cached
