"""Usage in foreign spans: inclusive totals, whatever an instrumentation means by its names."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.rigs.foreign_shapes import GENAI, MEANINGS
from tests.rigs.processor_rig import Rig
from tokenmeter.otel.external.billing_provider import billing_provider
from tokenmeter.otel.external.names import NAMES
from tokenmeter.otel.external.span_data import SpanData, layout_of
from tokenmeter.otel.external.usage import StatedUsage, usage_of
from tokenmeter.providers.registry import load_providers
from tokenmeter.usage import TOKEN_FIELDS, Source, Usage


@pytest.mark.parametrize(("scope", "attributes", "usage", "flags"), MEANINGS)
def test_totals_are_inclusive_whatever_the_instrumentation_means(
    rig: Rig, scope: str, attributes: dict[str, Any], usage: Usage, flags: tuple[str, ...]
) -> None:
    (record,), _ = rig.one(scope, attributes)
    assert record.usage == usage
    assert record.flags == flags
    assert record.cost.status == "priced"


BAD = [
    pytest.param({"gen_ai.usage.input_tokens": float("nan")}, id="not a number"),
    pytest.param({"gen_ai.usage.input_tokens": True, "gen_ai.usage.output_tokens": "many"}, id="no counts"),
    pytest.param({"gen_ai.usage.raw": "{" * 10_000}, id="raw usage that is no JSON"),
    pytest.param({"gen_ai.usage.input_token_details": "__import__('os')"}, id="details that are code"),
    pytest.param({"gen_ai.response.finish_reasons": "[oops"}, id="finish reasons cut short"),
    pytest.param({}, id="none"),
]


@pytest.mark.parametrize("more", BAD)
def test_a_call_without_readable_usage_is_a_call_of_unknown_cost(rig: Rig, more: dict[str, Any]) -> None:
    (record,), found = rig.one("openlit.otel.tracing", GENAI | more)
    assert record.usage.source is Source.NONE
    assert record.cost.amount is None
    assert found["tokenmeter.cost.status"] == "unpriced"
    assert "carries no usage" in found["tokenmeter.cost.reason"]


def test_embeddings_have_no_output(rig: Rig) -> None:
    attributes = {
        "openinference.span.kind": "EMBEDDING", "llm.system": "openai",
        "embedding.model_name": "text-embedding-3-small", "llm.token_count.prompt": 1000, "llm.token_count.total": 1000,
    }  # fmt: skip
    (record,), _ = rig.one("openinference.instrumentation.openai", attributes)
    assert (record.operation, record.usage) == ("embeddings", Usage(input_tokens=1000, output_tokens=0))
    assert record.cost.amount == Decimal("0.02") * 1000 / 10**6


def test_every_token_field_has_a_name_but_video_which_no_one_sends() -> None:
    assert set(TOKEN_FIELDS) - NAMES.keys() == {"video_input_tokens"}
    names = [name for group in NAMES.values() for name in group]
    assert len(names) == len(set(names)), "an attribute carries one fact"


def stated(scope: str, attributes: dict[str, Any]) -> StatedUsage:
    span = SpanData(1, None, scope, attributes, 0, 1, False, None, None, {})
    layout = layout_of(attributes)
    facts = layout.values(layout.facts, attributes)
    operation = layout.operation(attributes)
    assert operation is not None
    return usage_of(span, layout, facts, billing_provider(facts, load_providers()), operation)


@pytest.mark.parametrize(("operation", "input_tokens"), [("embeddings", 70), ("rerank", 70), ("chat", None)])
def test_a_lone_total_is_the_input_of_what_has_no_output(operation: str, input_tokens: int | None) -> None:
    usage = stated("langsmith", GENAI | {"gen_ai.operation.name": operation, "gen_ai.usage.total_tokens": 70}).usage
    assert usage.input_tokens == input_tokens
    assert usage.source is (Source.NONE if input_tokens is None else Source.REPORTED)


def test_a_cost_in_the_vendors_own_usage_is_kept() -> None:
    raw = '{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,"cost":0.0042}'
    answer = stated("logfire.openai", GENAI | {"server.address": "openrouter.ai", "gen_ai.usage.raw": raw})
    assert answer.vendor_cost is not None
    assert (answer.vendor_cost.amount, answer.vendor_cost.currency) == (Decimal("0.0042"), "USD")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (1000, 100)


def test_zero_lifetimes_alone_are_no_usage() -> None:
    details = "{'ephemeral_5m_input_tokens': 0, 'ephemeral_1h_input_tokens': 0}"
    assert stated("langsmith", GENAI | {"gen_ai.usage.input_token_details": details}).usage.source is Source.NONE
