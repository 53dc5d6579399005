"""Dialects: what single backends read. Their own reading code is asked in test_mappings.py."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry import trace

from tests.rigs.made_records import NOON, record, unpriced
from tests.rigs.otel_rig import Rig
from tests.rigs.spoken import USAGE, cost, spoken
from tokenmeter import ExchangeRates, Tokenmeter
from tokenmeter.cost import Cost
from tokenmeter.errors import ConfigurationError
from tokenmeter.otel.dialects import DIALECTS
from tokenmeter.otel.external.processor import CostSpanProcessor
from tokenmeter.otel.spans import CallSpans
from tokenmeter.usage import Source, Usage


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        pytest.param(
            "otel",
            {
                "gen_ai.usage.cache_write.input_tokens": 100,
                "gen_ai.usage.cache_creation.input_tokens": None,
                "gen_ai.usage.audio.input_tokens": 7,
            },
            id="otel",
        ),
        pytest.param(
            "openinference",
            {
                "openinference.span.kind": "LLM",
                "llm.model_name": "deepseek-chat",
                "llm.token_count.prompt": 1000,
                "llm.token_count.completion": 100,
                "llm.token_count.total": 1100,
                "llm.token_count.prompt_details.cache_read": 600,
                "llm.token_count.prompt_details.cache_write": 100,
                "llm.token_count.completion_details.reasoning": 40,
                "llm.cost.prompt": 0.75,
                "llm.cost.completion": 1.25,
                "llm.cost.total": 2.01,
                "user.id": "u1",
                "session.id": "s1",
            },
            id="openinference",
        ),
        pytest.param("logfire", {"operation.cost": 2.01}, id="logfire"),
        pytest.param("openlit", {"gen_ai.usage.cost": 2.01, "gen_ai.usage.total_tokens": 1100}, id="openlit"),
        pytest.param(
            "datadog",
            {
                "gen_ai.usage.total_tokens": 1100,
                "gen_ai.usage.cache_read_input_tokens": 600,
                "gen_ai.usage.cache_write_input_tokens": 100,
                "gen_ai.usage.reasoning_output_tokens": 40,
                "gen_ai.conversation.id": "s1",
            },
            id="datadog",
        ),
        pytest.param("langfuse", {"gen_ai.usage.cost": 2.01, "user.id": "u1", "session.id": "s1"}, id="langfuse"),
    ],
)
def test_each_dialect_says_its_names(dialect: str, expected: dict[str, Any]) -> None:
    found = spoken(record(cost("USD"), usage=USAGE, tags={"user": "u1", "session": "s1"}), dialect)
    assert {name: found.get(name) for name in expected} == expected
    assert found["tokenmeter.cost.amount"] == "2.01", "the exact amount stays beside it"


DOLLAR_NAMES = {row.attribute for dialect in DIALECTS.values() for row in dialect.rows if row.dollars}


@pytest.mark.parametrize("currency", ["CNY", "EUR"])
def test_no_other_currency_wears_a_name_of_dollars(currency: str) -> None:
    found = spoken(record(cost(currency), usage=USAGE), *DIALECTS)
    assert not DOLLAR_NAMES & found.keys()
    assert found["tokenmeter.cost.currency"] == currency
    assert spoken(record(cost("USD"), usage=USAGE), *DIALECTS).keys() >= DOLLAR_NAMES


@pytest.mark.parametrize(
    ("paid", "model"),
    [
        pytest.param(cost("CNY"), "deepseek-chat (CNY)", id="in yuan: MLflow's own table has no such name"),
        pytest.param(cost("USD"), None, id="in dollars: the cost is sent"),
        pytest.param(unpriced(), None, id="unknown to us"),
        pytest.param(Cost(cost("CNY").offer, "free", Decimal(0), (), NOON), None, id="free in any currency"),
    ],
)
def test_mlflow_is_kept_from_pricing_in_dollars_what_is_billed_in_something_else(paid: Cost, model: str | None) -> None:
    found = spoken(record(paid, usage=USAGE), "mlflow")
    assert found.get("mlflow.llm.model") == model
    assert ("mlflow.llm.cost" in found) == (model is None and paid.amount is not None)
    assert "mlflow.llm.model" not in spoken(record(paid, usage=USAGE), "mlflow", exchange=RATES)


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        pytest.param("mistral", "mistralai", id="OpenInference's word"),
        pytest.param("alibaba-intl", "alibaba-intl", id="sites that bill apart stay apart"),
        pytest.param("google", "google", id="not OpenTelemetry's name"),
    ],
)
def test_openinference_says_who_bills_in_its_own_words(provider: str, said: str) -> None:
    found = spoken(record(cost("USD"), usage=USAGE, provider=provider), "openinference")
    assert found["llm.provider"] == said


RATES = ExchangeRates.of("CNY=0.1400USD@2026-11-01", "a bank")
CONVERTED = "tokenmeter.cost.converted."


def test_a_cost_in_yuan_becomes_dollars_only_by_the_users_rate_and_says_so() -> None:
    found = spoken(record(cost("CNY"), usage=USAGE), *DIALECTS, exchange=RATES)
    assert found.keys() >= DOLLAR_NAMES
    for name in ("gen_ai.usage.cost", "llm.cost.total", "operation.cost"):
        assert found[name] == 0.2814, "2.01 yuan at 0.14"
    assert (found["llm.cost.prompt"], found["llm.cost.completion"]) == (0.105, 0.175)
    assert json.loads(found["langfuse.observation.cost_details"]) == {"input": 0.105, "output": 0.175, "total": 0.2814}
    assert json.loads(found["mlflow.llm.cost"]) == {"input_cost": 0.105, "output_cost": 0.175, "total_cost": 0.2814}
    assert {name.removeprefix(CONVERTED): said for name, said in found.items() if name.startswith(CONVERTED)} == {
        "amount": "0.2814",
        "currency": "USD",
        "rate": "0.14",
        "pair": "CNY/USD",
        "rate_date": "2026-11-01",
        "rate_source": "a bank",
    }
    original = {name: found[f"tokenmeter.cost{name}"] for name in ("", ".amount", ".currency")}
    assert original == {"": 2.01, ".amount": "2.01", ".currency": "CNY"}, "what the vendor bills stays beside it"


@pytest.mark.parametrize(
    ("currency", "ended", "rates"),
    [
        pytest.param("CNY", NOON - timedelta(days=1), RATES, id="a call of the day before"),
        pytest.param("CNY", NOON.replace(hour=0) - timedelta(microseconds=1), RATES, id="the last instant before"),
        pytest.param("EUR", NOON, RATES, id="another currency"),
        pytest.param("CNY", NOON, ExchangeRates.of("CNY=0.13EUR@2026-11-01"), id="rates into another currency"),
    ],
)
def test_no_rate_is_applied_that_the_user_did_not_give(currency: str, ended: datetime, rates: ExchangeRates) -> None:
    found = spoken(record(cost(currency), usage=USAGE, ended=ended), *DIALECTS, exchange=rates)
    assert not DOLLAR_NAMES & found.keys()
    assert not [name for name in found if name.startswith(CONVERTED)]


def test_a_cost_in_dollars_is_not_converted() -> None:
    rates = ExchangeRates.of("CNY=0.14USD@2026-11-01,USD=0.9EUR@2026-11-01")
    found = spoken(record(cost("USD"), usage=USAGE), *DIALECTS, exchange=rates)
    assert found["gen_ai.usage.cost"] == 2.01
    assert not [name for name in found if name.startswith(CONVERTED)]


def test_without_a_dialect_the_converted_cost_is_there_for_who_wants_to_add_up() -> None:
    assert spoken(record(cost("CNY"), usage=USAGE), exchange=RATES)[f"{CONVERTED}amount"] == "0.2814"
    assert not [name for name in spoken(record(unpriced()), *DIALECTS, exchange=RATES) if name.startswith(CONVERTED)]


def test_an_unpriced_call_costs_nothing_anywhere() -> None:
    assert not DOLLAR_NAMES & spoken(record(unpriced(), usage=USAGE), *DIALECTS).keys()


def test_estimates_stay_out_unless_they_are_exported() -> None:
    estimated = record(cost("USD"), usage=Usage(input_tokens=5, output_tokens=2, source=Source.ESTIMATED))
    found = spoken(estimated, *DIALECTS)
    assert not [
        name
        for name in found
        if name.startswith(("llm.token_count", "gen_ai.usage.total", "langfuse.observation.usage"))
    ]
    assert spoken(estimated, "openinference", export_estimates=True)["llm.token_count.total"] == 7


def test_langfuse_buckets_are_disjoint_and_add_up() -> None:
    found = spoken(record(cost("USD"), usage=USAGE), "langfuse")
    usage = json.loads(found["langfuse.observation.usage_details"])
    total = usage.pop("total")
    assert usage == {
        "input": 300,
        "input_cached_tokens": 600,
        "input_cache_creation": 100,
        "output": 60,
        "output_reasoning_tokens": 40,
    }
    assert sum(usage.values()) == total == 1100
    assert json.loads(found["langfuse.observation.cost_details"]) == {"input": 0.75, "output": 1.25, "total": 2.01}


def test_on_a_span_of_somebody_else_only_the_cost_is_said() -> None:
    rig = Rig()
    rig.lifecycle.spans = CallSpans(rig.tracing, dialects=DIALECTS)
    span = rig.tracing.get_tracer("openlit").start_span("theirs", attributes={"gen_ai.operation.name": "chat"})
    with trace.use_span(span):
        handle = rig.open().span
    assert handle is not None
    handle.finish(record(cost("USD"), usage=USAGE))
    span.end()
    found = dict(rig.spans[0].attributes or {})
    lacking = {row.attribute for dialect in DIALECTS.values() for row in dialect.rows if row.always}
    said = {name for name in found if not name.startswith("tokenmeter.")}
    assert said - lacking == DOLLAR_NAMES | {"gen_ai.operation.name"}


def test_dialects_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENMETER_DIALECTS", "logfire, mlflow,logfire")
    assert CallSpans().dialects == (DIALECTS["logfire"], DIALECTS["mlflow"])
    assert CallSpans(dialects=()).dialects == ()
    monkeypatch.setenv("TOKENMETER_DIALECTS", "phoenix")
    with pytest.raises(ConfigurationError, match=r"TOKENMETER_DIALECTS: 'phoenix' is not a dialect; there are otel, "):
        CallSpans()


def test_a_span_of_somebody_else_gets_the_users_dollars_too() -> None:
    rig = Rig()
    meter = Tokenmeter(tracer_provider=rig.tracing, dialects=["mlflow"], exchange="CNY=0.1400USD@2024-01-01")
    rig.tracing.add_span_processor(CostSpanProcessor(meter))
    attributes = {
        "gen_ai.operation.name": "chat", "gen_ai.provider.name": "deepseek", "gen_ai.request.model": "deepseek-chat",
        "server.address": "api.deepseek.com", "gen_ai.usage.input_tokens": 10**6, "gen_ai.usage.output_tokens": 0,
    }  # fmt: skip
    rig.tracing.get_tracer("openlit").start_span("theirs", attributes=attributes).end()
    (span,) = rig.spans
    said = dict(span.attributes or {})
    assert said["tokenmeter.cost.currency"] == "CNY"
    dollars = Decimal(str(said["tokenmeter.cost.amount"])) * Decimal("0.14")
    assert Decimal(str(said[f"{CONVERTED}amount"])) == dollars
    assert json.loads(str(said["mlflow.llm.cost"]))["total_cost"] == float(dollars)
