"""Spans of our own: names, values and their types, context, and what happens when nobody listens."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from decimal import Decimal
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from tests.rigs.made_records import priced, record, unpriced
from tests.rigs.otel_rig import Rig, in_production
from tokenmeter.money import Money
from tokenmeter.otel import attributes, semconv
from tokenmeter.otel.metrics import Metrics
from tokenmeter.otel.spans import CallSpans
from tokenmeter.record import Attempt, End, Record
from tokenmeter.usage import Source, Usage


def attributes_of(finished: Record, rig: Rig | None = None) -> dict[str, Any]:
    """What a span of ours says of a record."""
    rig = rig if rig is not None else Rig()
    handle = rig.made.start(rig.open())
    assert handle is not None
    handle.finish(finished)
    return dict(rig.spans[-1].attributes or {})


def test_a_call_is_one_client_span_named_after_operation_and_model() -> None:
    rig = Rig()
    call = rig.open(tags={"team": "search"}, stream=True)
    rig.lifecycle.settle(call, End.COMPLETE)
    (span,) = rig.spans
    assert span.name == "chat deepseek-chat"
    assert span.kind is SpanKind.CLIENT
    assert span.status.status_code is StatusCode.UNSET
    assert span.start_time == call.started_ns
    assert span.end_time is not None
    assert span.end_time >= span.start_time
    assert span.instrumentation_scope is not None
    assert (span.instrumentation_scope.name, span.instrumentation_scope.schema_url) == (
        "tokenmeter",
        semconv.SCHEMA_URL,
    )
    assert span.instrumentation_scope.version
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "deepseek",
        "gen_ai.request.model": "deepseek-chat",
        "gen_ai.request.stream": True,
        "server.address": "api.deepseek.com",
        "server.port": 443,
        "tokenmeter.provider": "deepseek",
        "tokenmeter.tag.team": "search",
        "gen_ai.usage.input_tokens": 1000,
        "gen_ai.usage.output_tokens": 100,
        "tokenmeter.cost": 0.0012,
        "tokenmeter.cost.amount": "0.0012",
        "tokenmeter.cost.currency": "CNY",
        "tokenmeter.cost.status": "priced",
        "tokenmeter.cost.dating": "official",
        "tokenmeter.cost.effective_from": "2026-01-01T00:00:00+00:00",
        "tokenmeter.cost.book": "test-book",
        "tokenmeter.cost.model": "deepseek-chat",
        "tokenmeter.call.id": call.id,
        "tokenmeter.end": "complete",
        "tokenmeter.usage.source": "reported",
    }
    assert dict(span.attributes or {}) == expected
    assert {name: type(value) for name, value in (span.attributes or {}).items()} == {
        name: type(value) for name, value in expected.items()
    }


NONE_OF = object()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(
            {"usage": Usage(input_tokens=100, output_tokens=9, cache_read_input_tokens=64, cache_write_input_tokens=8)},
            {
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.cache_read.input_tokens": 64,
                # Both names at once are counted twice by Langfuse; this one is the one that is read.
                "gen_ai.usage.cache_creation.input_tokens": 8,
                "gen_ai.usage.cache_write.input_tokens": NONE_OF,
            },
            id="cache",
        ),
        pytest.param(
            {"usage": Usage(input_tokens=100, output_tokens=90, reasoning_output_tokens=80, audio_input_tokens=7)},
            {
                "gen_ai.usage.reasoning.output_tokens": 80,
                # Langfuse would make a bucket of it, on top of the input that holds it.
                "gen_ai.usage.audio.input_tokens": NONE_OF,
                "tokenmeter.usage.audio_input_tokens": 7,
            },
            id="subsets",
        ),
        pytest.param(
            {
                "usage": Usage(
                    input_tokens=100,
                    output_tokens=20,
                    sources={"output_tokens": Source.ESTIMATED},
                    ranges={"output_tokens": (15, 25)},
                )
            },
            {
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.output_tokens": NONE_OF,
                "tokenmeter.usage.estimated.output_tokens": 20,
                "tokenmeter.usage.estimated.low.output_tokens": 15,
                "tokenmeter.usage.estimated.high.output_tokens": 25,
                "tokenmeter.usage.source": "estimated",
            },
            id="output estimated",
        ),
        pytest.param(
            {"usage": Usage(input_tokens=5, output_tokens=3, source=Source.COUNTED)},
            {"gen_ai.usage.input_tokens": NONE_OF, "tokenmeter.usage.estimated.input_tokens": 5},
            id="counted is not reported",
        ),
        pytest.param(
            {"usage": Usage(input_tokens=5, output_tokens=3, sources={"output_tokens": Source.PARTIAL})},
            {"gen_ai.usage.output_tokens": NONE_OF, "tokenmeter.usage.partial.output_tokens": 3},
            id="partial is a lower bound",
        ),
        pytest.param(
            {"usage": Usage(source=Source.NONE), "reason": "the stream broke off"},
            {
                "gen_ai.usage.input_tokens": NONE_OF,
                "gen_ai.usage.output_tokens": NONE_OF,
                "tokenmeter.usage.source": "none",
                "tokenmeter.reason": "the stream broke off",
            },
            id="unknown is absent, not zero",
        ),
        pytest.param(
            {"usage": Usage(input_tokens=0, output_tokens=0)},
            {"gen_ai.usage.input_tokens": 0, "gen_ai.usage.output_tokens": 0},
            id="zero that was reported",
        ),
        pytest.param(
            {"operation": "embeddings", "usage": Usage(input_tokens=5, output_tokens=0)},
            {"gen_ai.usage.input_tokens": 5, "gen_ai.usage.output_tokens": NONE_OF},
            id="embeddings have no output",
        ),
        pytest.param(
            {
                "usage": Usage(
                    input_tokens=1, output_tokens=1, quantities={"audio_seconds": Decimal("1.50"), "images": 2}
                )
            },
            {"tokenmeter.usage.quantity.audio_seconds": "1.5", "tokenmeter.usage.quantity.images": 2},
            id="quantities",
        ),
        pytest.param(
            {
                "response_model": "deepseek-chat-0324",
                "response_id": "chatcmpl-1",
                "finish_reasons": ("stop", "length"),
                "time_to_first_chunk": 0.25,
            },
            {
                "gen_ai.response.model": "deepseek-chat-0324",
                "gen_ai.response.id": "chatcmpl-1",
                "gen_ai.response.finish_reasons": ("stop", "length"),
                "gen_ai.response.time_to_first_chunk": 0.25,
            },
            id="response",
        ),
        pytest.param(
            {
                "attempts": tuple(Attempt(429, None, record().started_ns, 100_000_000) for _ in range(3)),
                "flags": ("a", "b"),
            },
            {"tokenmeter.attempts": 3, "tokenmeter.flags": ("a", "b")},
            id="attempts and flags",
        ),
        pytest.param(
            {"scope": ("nightly", "answer"), "service_tier": "priority"},
            {
                "tokenmeter.scope.name": "answer",
                "tokenmeter.scope.path": ("nightly", "answer"),
                "tokenmeter.service_tier": "priority",
            },
            id="scope",
        ),
        pytest.param(
            {"vendor_cost": Money(Decimal("0.00120"), "USD")},
            {"tokenmeter.cost.vendor.amount": "0.0012", "tokenmeter.cost.vendor.currency": "USD"},
            id="the vendor's own cost",
        ),
        pytest.param(
            {"end": End.DELEGATED, "usage": Usage(source=Source.NONE)},
            {"tokenmeter.end": "delegated", "tokenmeter.cost.status": NONE_OF, "tokenmeter.cost": NONE_OF},
            id="delegated",
        ),
    ],
)
def test_attributes(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    found = attributes_of(record(**changes))
    assert {name: found.get(name, NONE_OF) for name in expected} == expected


def test_nothing_numeric_of_ours_is_below_the_standard_usage_names() -> None:
    usage = Usage(
        input_tokens=100, output_tokens=90, cache_read_input_tokens=1, cache_write_input_tokens=2, audio_input_tokens=3,
        image_input_tokens=4, video_input_tokens=5, reasoning_output_tokens=6, audio_output_tokens=7,
        image_output_tokens=8, cache_writes={"5m": 2}, cached_media={"audio": 1}, quantities={"images": 1},
        ranges={"output_tokens": (1, 2)},
    )  # fmt: skip
    names = {name for name in attributes_of(record(usage=usage)) if name.startswith("gen_ai.usage.")}
    assert names == set(semconv.USAGE.values())


def test_estimates_wear_standard_names_only_if_the_user_says_so() -> None:
    usage = Usage(input_tokens=5, output_tokens=3, source=Source.ESTIMATED)
    found = attributes_of(record(usage=usage), Rig(export_estimates=True))
    assert (found["gen_ai.usage.input_tokens"], found["tokenmeter.usage.source"]) == (5, "estimated")
    assert found["tokenmeter.usage.estimated.output_tokens"] == 3


def test_an_unpriced_call_has_no_cost_but_a_reason() -> None:
    found = attributes_of(record(unpriced("no rate for qwen-max")))
    assert found["tokenmeter.cost.status"] == "unpriced"
    assert found["tokenmeter.cost.reason"] == "no rate for qwen-max"
    assert not {"tokenmeter.cost", "tokenmeter.cost.amount", "tokenmeter.cost.currency"} & found.keys()


def test_free_is_zero() -> None:
    found = attributes_of(record(priced("0")))
    assert (found["tokenmeter.cost"], found["tokenmeter.cost.amount"]) == (0.0, "0")
    assert found["tokenmeter.cost.status"] == "free"


def test_the_exact_amount_survives_where_a_float_cannot_hold_it() -> None:
    found = attributes_of(record(priced("0.1000000000000000055511151231257827")))
    assert found["tokenmeter.cost.amount"] == "0.1000000000000000055511151231257827"
    assert found["tokenmeter.cost"] == 0.1


@pytest.mark.parametrize(
    ("end", "status", "error_type"),
    [
        pytest.param(End.ERROR, StatusCode.ERROR, "RateLimitError", id="error"),
        pytest.param(End.CANCELLED, StatusCode.UNSET, None, id="cancelled by the caller"),
        pytest.param(End.CLOSED_EARLY, StatusCode.UNSET, None, id="closed early"),
        pytest.param(End.DROPPED, StatusCode.UNSET, None, id="dropped"),
    ],
)
def test_status(end: End, status: StatusCode, error_type: str | None) -> None:
    rig = Rig()
    found = attributes_of(record(end=end, error_type="RateLimitError"), rig)
    assert rig.spans[-1].status.status_code is status
    assert rig.spans[-1].status.description is None, "an exception's message may quote the prompt"
    assert found.get("error.type") == error_type
    assert found["tokenmeter.end"] == end.value


# What an exporter or a span cannot take --------------------------------------------------------------------------


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_one_bad_attribute_loses_no_other() -> None:
    rig = Rig()
    with in_production():
        call = rig.open(tags={"bad": Unprintable(), "team": "search"})
        rig.lifecycle.settle(call, End.COMPLETE)
    found = rig.spans[-1].attributes or {}
    assert found["tokenmeter.tag.team"] == "search"
    assert found["tokenmeter.cost.amount"] == "0.0012"
    assert "tokenmeter.tag.bad" not in found


def test_a_span_that_refuses_one_value_gets_the_others() -> None:
    rig = Rig()
    with in_production():
        found = attributes_of(
            record(finish_reasons=(Unprintable(),), usage=Usage(input_tokens=7, output_tokens=1)), rig
        )
    assert found["tokenmeter.cost.amount"] == "0.0012"
    assert rig.spans[-1].end_time is not None


def test_a_price_that_fails_loses_no_tokens() -> None:
    def broken(_: Record) -> Any:
        raise LookupError("the book is on fire")

    with in_production():
        found = attributes_of(record(pricer=broken))
    assert found["gen_ai.usage.input_tokens"] == 1000
    assert "tokenmeter.cost" not in found


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"response_id": "x\ud800y"}, id="lone surrogate"),
        pytest.param({"response_model": "x" * 100_000}, id="endless name"),
        pytest.param({"usage": Usage(input_tokens=2**70, output_tokens=1)}, id="beyond 64 bits"),
        pytest.param({"usage": Usage(input_tokens=1, output_tokens=1, quantities={"images": 2**80})}, id="quantity"),
        pytest.param({"tags": {"名": "队伍\udfff"}}, id="tags"),
        pytest.param(
            {"usage": Usage(input_tokens=1, output_tokens=1, ranges={"input_tokens": (0, 2**64)})}, id="range"
        ),
    ],
)
def test_whatever_a_vendor_sends_the_otlp_exporter_can_encode_it(changes: dict[str, Any]) -> None:
    rig = Rig()
    call = rig.open(tags=changes.get("tags", {}))
    handle = call.span
    assert handle is not None
    handle.finish(record(**changes))
    (sent,) = encode_spans(rig.spans).resource_spans[0].scope_spans[0].spans
    assert len(sent.SerializeToString()) < 5000
    assert {attribute.key for attribute in sent.attributes} == set(rig.spans[0].attributes or {}), "one was refused"


# Who listens ---------------------------------------------------------------------------------------------------


def test_without_an_sdk_nothing_is_made() -> None:
    rig = Rig()
    assert CallSpans().start(rig.open()) is None
    assert CallSpans().start_scope("nightly", {}) is None


def test_suppressed_by_the_plain_key() -> None:
    rig = Rig()
    token = context.attach(context.set_value("suppress_instrumentation", True))
    call = rig.open()
    context.detach(token)
    rig.lifecycle.settle(call, End.COMPLETE)
    assert rig.spans == []
    assert rig.points("tokenmeter.calls") == []


def test_suppressed_by_the_instrumentation_package() -> None:
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    rig = Rig()
    with suppress_instrumentation():
        rig.lifecycle.settle(rig.open(), End.COMPLETE)
        assert rig.made.start_scope("nightly", {}) is None
    assert rig.spans == []
    assert rig.points("tokenmeter.calls") == []


def test_disabled_by_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    monkeypatch.setenv("OTEL_SDK_DISABLED", "TRUE")
    # Providers that would record, since they were made before the variable was set.
    rig.lifecycle.spans = CallSpans(rig.tracing)
    silent = Metrics(rig.metering)
    rig.lifecycle.recipients.set((silent,))
    rig.lifecycle.settle(rig.open(), End.COMPLETE)
    assert rig.spans == []
    assert silent.accumulator.waiting == 0
    assert rig.points("tokenmeter.calls") == []


def test_mode_none_makes_no_span_but_metrics() -> None:
    rig = Rig("none")
    rig.lifecycle.settle(rig.open(), End.COMPLETE)
    assert rig.spans == []
    assert len(rig.points("tokenmeter.calls")) == 1


def test_a_sampled_out_call_is_still_the_parent_of_what_happens_on_the_wire() -> None:
    rig = Rig(sampler=ParentBased(ALWAYS_OFF))
    call = rig.open()
    handle = call.span
    assert handle is not None
    assert (handle.trace_id, handle.span_id) == (None, None)
    handle.attach()
    inner = rig.tracing.get_tracer("http").start_span("POST")
    handle.detach()
    assert not inner.is_recording(), "sampled although its parent is not"
    assert inner.get_span_context().trace_id == handle._span.get_span_context().trace_id  # type: ignore[attr-defined]
    rig.lifecycle.settle(call, End.COMPLETE)
    assert rig.spans == []
    assert rig.points("tokenmeter.cost")[0][1] == 0.0012


def test_ids_are_those_of_the_span() -> None:
    rig = Rig()
    handle = rig.open().span
    assert handle is not None
    handle.finish(record())
    where = rig.spans[0].context
    assert where is not None
    assert (handle.trace_id, handle.span_id) == (f"{where.trace_id:032x}", f"{where.span_id:016x}")


def test_a_provider_set_later_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    spans = CallSpans()
    assert spans.start(rig.open()) is None
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", rig.tracing)
    handle = spans.start(rig.open())
    assert handle is not None
    handle.finish(record())
    assert [span.name for span in rig.spans] == ["chat deepseek-chat"]
    other = Rig()
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", other.tracing)
    handle = spans.start(rig.open())
    assert handle is not None
    handle.finish(record())
    assert len(other.spans) == 1


# Context -------------------------------------------------------------------------------------------------------


def test_only_while_attached_is_the_span_current() -> None:
    rig = Rig()
    before = context.get_current()
    handle = rig.open().span
    assert handle is not None
    assert context.get_current() is before
    handle.attach()
    assert f"{trace.get_current_span().get_span_context().span_id:016x}" == handle.span_id
    handle.detach()
    assert context.get_current() is before
    handle.detach()
    assert context.get_current() is before


def test_detaching_leaves_a_context_that_is_not_ours(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    handle = rig.open().span
    assert handle is not None
    with caplog.at_level(logging.DEBUG):
        handle.attach()
        theirs = context.set_value("theirs", 1)
        token = context.attach(theirs)
        handle.detach()
        assert context.get_current() is theirs
        context.detach(token)
        context.attach(context.Context())

        # Attached in one task and detached in another: a token could not be used there.
        async def elsewhere() -> None:
            handle.detach()

        contextvars.copy_context().run(handle.attach)
        asyncio.run(elsewhere())
    assert caplog.records == [] or "detach" not in caplog.text


def test_an_outer_token_still_works_after_ours(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    start = context.get_current()
    token = context.attach(context.set_value("outer", 1))
    handle = rig.open().span
    assert handle is not None
    handle.attach()
    handle.detach()
    context.detach(token)
    assert context.get_current() is start
    assert caplog.text == ""


# Scopes --------------------------------------------------------------------------------------------------------


class Sums:
    """What a scope knows at its end."""

    cost = {"CNY": Money(Decimal("0.1"), "CNY") * 3, "USD": Money(Decimal("0.25"), "USD")}  # noqa: RUF012
    usage = {"input_tokens": 30, "output_tokens": 4}  # noqa: RUF012
    sources = {"reported": 3, "none": 1}  # noqa: RUF012
    calls, attempts, unpriced, pending, complete = 4, 6, 1, 0, False


def test_a_scope_says_its_exact_sums_by_currency() -> None:
    rig = Rig()
    span = rig.made.start_scope("answer", {"team": "search"}, path=("nightly", "answer"), started_ns=10)
    assert span is not None
    span.attach()
    rig.lifecycle.settle(rig.open(), End.COMPLETE)
    span.detach()
    span.finish(Sums(), 500)
    inner, outer = rig.spans
    assert outer.name == "answer"
    assert (outer.start_time, outer.end_time) == (10, 500)
    assert inner.parent is not None
    assert outer.context is not None
    assert inner.parent.span_id == outer.context.span_id
    assert dict(outer.attributes or {}) == {
        "tokenmeter.scope.name": "answer",
        "tokenmeter.scope.path": ("nightly", "answer"),
        "tokenmeter.tag.team": "search",
        "tokenmeter.scope.cost.CNY": "0.3",
        "tokenmeter.scope.cost_number.CNY": 0.3,
        "tokenmeter.scope.cost.USD": "0.25",
        "tokenmeter.scope.cost_number.USD": 0.25,
        "tokenmeter.scope.calls": 4,
        "tokenmeter.scope.attempts": 6,
        "tokenmeter.scope.unpriced": 1,
        "tokenmeter.scope.pending": 0,
        "tokenmeter.scope.complete": False,
        "tokenmeter.scope.usage.input_tokens": 30,
        "tokenmeter.scope.usage.output_tokens": 4,
        "tokenmeter.scope.sources.reported": 3,
        "tokenmeter.scope.sources.none": 1,
    }


def test_a_scope_has_no_gen_ai_attribute() -> None:
    rig = Rig()
    span = rig.made.start_scope("answer", {})
    assert span is not None
    span.finish(Sums(), 500)
    assert not [name for name in rig.spans[0].attributes or {} if name.startswith("gen_ai.")], "others add these up"


def test_what_is_remembered_of_prices_does_not_grow_by_calls_that_have_none() -> None:
    priced_offer = priced("1").offer
    first = attributes._of_offer(priced_offer)
    assert attributes._of_offer(priced_offer) is first
    before = len(attributes._offers)
    for _ in range(20):
        attributes._of_offer(unpriced().offer)
    assert len(attributes._offers) == before
