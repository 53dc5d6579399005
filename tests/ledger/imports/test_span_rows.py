"""Records of rows that are spans: each call once, whatever traced it; ids, attributes and costs as they stand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.rigs.foreign_calls import PHOENIX, changed, otlp, otlp_span
from tests.rigs.importing import pricing
from tokenmeter.ledger.imports.fields import BadField
from tokenmeter.ledger.imports.import_format import load_format
from tokenmeter.ledger.imports.span_rows import SpanRows
from tokenmeter.otel import semconv
from tokenmeter.record import End, Record


def reader(form: str = "otlp", provider: str | None = None) -> SpanRows:
    return SpanRows(load_format(form), pricing(), provider=provider)


def read(document: Any, form: str = "otlp", provider: str | None = None) -> list[Record]:
    spans = reader(form, provider)
    for place, row, around in load_format(form).items(document):
        spans.add(row, around, place)
        assert list(spans.take()) == []  # a page is not full
    return list(spans.finish())


def test_a_span_becomes_the_record_that_the_collector_makes_of_it() -> None:
    (record,) = read(otlp(otlp_span()))
    assert (record.started_ns, record.ended_ns) == (1795168800000000001, 1795168802000000001)
    assert (record.trace_id, record.span_id) == ("0a" * 16, "0b" * 8)
    assert dict(record.tags) == {"user": "u1", "service": "shop"}
    assert record.flags == ("imported=otlp",)
    # 2026-11-20T10:00:00Z in milliseconds, then bits of both ids
    assert record.id.startswith(f"{1795168800000:012x}8")


def test_two_spans_of_one_call_are_one_record() -> None:
    inner = otlp_span("0c" * 8, parent="0b" * 8)
    assert [record.span_id for record in read(otlp(otlp_span(), inner))] == ["0c" * 8]


def test_an_agents_span_is_no_call() -> None:
    agent = otlp_span("0d" * 8, gen_ai__operation__name="invoke_agent")
    assert [record.span_id for record in read(otlp(agent, otlp_span(parent="0d" * 8)))] == ["0b" * 8]


def test_spans_of_other_scopes_are_calls_if_they_say_so() -> None:
    assert len(read(otlp(otlp_span(), scope="shop.own"))) == 1
    assert read(otlp(otlp_span(gen_ai__operation__name="checkout"), scope="shop.own")) == []


def test_a_call_that_tokenmeter_metered_is_not_imported_again() -> None:
    spans = reader()
    metered = otlp_span("0c" * 8, parent="0b" * 8, **{semconv.CALL_ID: "ab" * 16, semconv.USAGE_SOURCE: "reported"})
    for place, row, around in load_format("otlp").items(otlp(otlp_span(), metered)):
        spans.add(row, around, place)
    assert (list(spans.finish()), spans.metered) == ([], 1)


def test_a_span_without_usage_is_a_call_of_unknown_cost() -> None:
    bare = otlp_span()
    for name in ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens", "gen_ai.usage.cache_read.input_tokens"):
        bare["attributes"] = [one for one in bare["attributes"] if one["key"] != name]
    (record,) = read(otlp(bare))
    assert (record.cost.status, record.usage.input_tokens) == ("unpriced", None)


@pytest.mark.parametrize(
    ("attributes", "cost"),
    [
        ({"gen_ai__usage__cost": 0.00015}, ("0.00015", "USD")),
        ({"gen_ai__usage__cost__amount": 0.5, "gen_ai__usage__cost__currency": "cny"}, ("0.5", "CNY")),
        ({"gen_ai__usage__cost": 0.0}, None),
        ({}, None),
    ],
)
def test_the_cost_that_a_span_states(attributes: dict[str, Any], cost: tuple[str, str] | None) -> None:
    (record,) = read(otlp(otlp_span(**attributes)))
    vendor = record.vendor_cost
    assert (None if vendor is None else (str(vendor.amount), vendor.currency)) == cost
    assert record.cost.amount == Decimal("0.00015")


def test_a_failed_span_ended_in_an_error() -> None:
    (record,) = read(otlp(otlp_span() | {"status": {"code": "STATUS_CODE_ERROR"}}))
    assert record.end is End.ERROR
    (record,) = read({"data": [changed(PHOENIX, status_code="ERROR")]}, "phoenix")
    assert record.end is End.ERROR


def test_phoenix_says_the_kind_beside_the_attributes() -> None:
    assert len(read({"data": [PHOENIX]}, "phoenix")) == 1
    assert read({"data": [changed(PHOENIX, span_kind="AGENT")]}, "phoenix") == []
    nested = changed(PHOENIX, attributes={"llm": {"model_name": "gpt-4o-mini", "token_count": {"prompt": 7}}})
    (record,) = read({"data": [nested]}, "phoenix", provider="openai")
    assert (record.provider, record.request_model, record.usage.input_tokens) == ("openai", "gpt-4o-mini", 7)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"traceId": ""}, "traceId"),
        ({"spanId": "0000000000000000"}, "spanId"),
        ({"traceId": "xyz"}, "traceId"),
        ({"endTimeUnixNano": None}, "endTimeUnixNano"),
        ({"endTimeUnixNano": "1795168700000000000"}, "endTimeUnixNano"),
        ({"startTimeUnixNano": "soon"}, "startTimeUnixNano"),
    ],
)
def test_a_bad_span_is_named(change: dict[str, Any], field: str) -> None:
    with pytest.raises(BadField) as found:
        read(otlp(otlp_span() | change))
    assert found.value.field == f"resourceSpans[0].scopeSpans[0].spans[0].{field}"


def test_attributes_of_any_shape_are_passed_over() -> None:
    odd = otlp_span()
    odd["attributes"] += [
        {"key": "gen_ai.response.model"},
        {"key": ["x"]},
        "x",
        {"key": "gen_ai.response.id", "value": 7},
    ]
    odd["attributes"] += [{"key": "gen_ai.response.finish_reasons", "value": {"arrayValue": {"values": [
        {"stringValue": "stop"}
    ]}}}]  # fmt: skip
    (record,) = read(otlp(odd))
    assert (record.finish_reasons, record.response_model, record.response_id) == (("stop",), None, None)
