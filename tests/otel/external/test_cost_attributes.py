"""What is kept of a description is never another call's: it equals what is worked out afresh, call after call."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tokenmeter
from tokenmeter.otel import semconv
from tokenmeter.otel.external import cost_attributes
from tokenmeter.otel.external.cost_attributes import describe
from tokenmeter.otel.external.records import Recorder, call_id
from tokenmeter.otel.external.span_data import SpanData
from tokenmeter.record import End, Record

NOV = 1_793_491_200 * 10**9
METERS = {
    "plain": tokenmeter.Tokenmeter(),
    "dialects": tokenmeter.Tokenmeter(dialects=("langfuse", "mlflow")),
    "a rate": tokenmeter.Tokenmeter(exchange="CNY=0.1400USD@2026-10-01"),
}
tokens = st.none() | st.integers(0, 2_000_000)


@st.composite
def calls(draw: st.DrawFn) -> SpanData:
    """Spans of a few models, vendors, tiers and teams, so that much is alike; every number differs."""
    provider, model = draw(
        st.sampled_from(
            [("openai", "gpt-4o"), ("deepseek", "deepseek-chat"), ("anthropic", "claude-sonnet-4-5"),
             ("zhipu", "glm-4-flash"), ("openai", "nobody-knows"), ("nobody", "gpt-4o")]
        )
    )  # fmt: skip
    said: dict[str, Any] = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": provider,
        "gen_ai.request.model": model,
    }
    for name in ("input_tokens", "output_tokens", "cache_read.input_tokens", "cache_creation.input_tokens"):
        number = draw(tokens)
        if number is not None:
            said[f"gen_ai.usage.{name}"] = number
    tier = draw(st.sampled_from([None, "priority", "flex", "default"]))
    if tier is not None:
        said["openai.response.service_tier"] = tier
    tags = {"team": draw(st.sampled_from(["search", "ads"]))} if draw(st.booleans()) else {}
    span = draw(st.integers(1, 10**9))
    return SpanData(
        span, None, "openlit", said, NOV, NOV + 10**9, draw(st.booleans()), f"{1:032x}", f"{span:016x}", tags
    )


@pytest.mark.parametrize("name", METERS)
@settings(deadline=None)
@given(told=st.lists(calls(), min_size=1, max_size=12))
def test_what_is_kept_is_what_would_be_worked_out_afresh(name: str, told: list[SpanData]) -> None:
    meter = METERS[name]
    recorder = Recorder(meter, (), None)
    cost_attributes._kept.clear()  # whichever call comes first must not matter
    for one in told + told:
        settled = recorder.record(one, call_id(one))
        assert settled is not None
        assert settled.end in (End.COMPLETE, End.ERROR)
        record = Recorder(meter, (), None).record(one, call_id(one))
        assert isinstance(record, Record)
        expected = {**meter.spans.enriching(record), semconv.CALL_ID: record.id}
        assert describe(meter, settled).attributes() == expected
