"""Records of rows that are spans: each call once, whatever traced it; ids, attributes and costs as they stand."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.rigs.foreign_calls import PHOENIX, changed, otlp, otlp_span
from tests.rigs.foreign_shapes import MEANINGS, SHAPES
from tests.rigs.importing import pricing
from tests.rigs.otlp_requests import JAVASCRIPT
from tokenmeter.collector.price_spans import SpanPricer
from tokenmeter.ledger.imports.fields import BadField
from tokenmeter.ledger.imports.import_format import load_format
from tokenmeter.ledger.imports.span_rows import SpanRows
from tokenmeter.otel import semconv
from tokenmeter.otel.external.batches import EndedCalls
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


def test_a_long_file_is_read_in_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tokenmeter.ledger.imports.span_rows.SPANS_AT_ONCE", 2)
    spans, found = reader(), []
    for number in range(5):
        one = otlp_span(f"{number + 1:016x}", gen_ai__usage__cost=0.5) | {"traceId": f"{number + 1:032x}"}
        for place, row, around in load_format("otlp").items(otlp(one)):
            spans.add(row, around, place)
        found.append([record.vendor_cost is not None for record in spans.take()])
    assert found == [[], [True, True], [], [True, True], []]
    assert len(list(spans.finish())) == 1


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


def as_json(message: Any) -> Any:
    """An export request as OTLP JSON, in which ids are hexadecimal and not base64."""
    document = MessageToDict(message, use_integers_for_enums=True)
    for resource in document["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in {"traceId", "spanId", "parentSpanId"} & span.keys():
                    span[name] = base64.b64decode(span[name]).hex()
    return document


@pytest.mark.parametrize(
    ("scope", "said"),
    [
        pytest.param(*param.values[:2], id=f"{position}: {param.id}")
        for position, param in enumerate([*SHAPES, *MEANINGS])
    ],
)
def test_a_span_in_a_file_is_the_call_that_the_collector_sees(scope: str, said: dict[str, Any]) -> None:
    exporter = InMemorySpanExporter()
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.get_tracer(scope).start_span("call", attributes=said).end()
    message = encode_spans(exporter.get_finished_spans())
    document, seen = as_json(message), pricing()
    calls = EndedCalls(seen, ("our.llm",), clock=lambda: 0.0)  # a file's span of any scope may say that it is a call
    SpanPricer(calls, {}).price(message)
    calls.release()
    records = read(document)
    for one, other in zip(seen.gathered, records, strict=True):
        assert (one.id, one.usage, one.provider, one.operation) == (
            other.id,
            other.usage,
            other.provider,
            other.operation,
        )
        assert (one.request_model, one.response_model, one.response_id) == (
            other.request_model, other.response_model, other.response_id,
        )  # fmt: skip
        if other.vendor_cost is None:
            assert (one.cost.amount, one.cost.currency) == (other.cost.amount, other.cost.currency)


def test_what_the_exporter_for_javascript_writes_is_read() -> None:
    (record,) = read(JAVASCRIPT)
    assert (record.request_model, record.usage.input_tokens, record.usage.output_tokens) == ("gpt-4o", 1000, 100)
