"""What an answer costs that is no plain chat answer: refusals, pieces, several answers, and costs that vendors report.

Each table is tried in every way a call can be made: an HTTP request and its stream, a hand-made call, its events, a
decorator.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tokenmeter import End, Record, Source, Tokenmeter
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.report.render import as_csv, as_json
from tokenmeter.ledger.report.screen import as_text
from tokenmeter.otel import semconv
from tokenmeter.testing import FixedClock, capture, json_reply, provider_server
from tokenmeter.testing.reply import sse_reply

PROMPT = "请总结下面的文字。" * 500
ASKED = {"messages": [{"role": "user", "content": PROMPT}]}
OPENAI_CHAT = {"index": 0, "message": {"role": "assistant", "content": "你好"}, "finish_reason": "stop"}


@pytest.fixture
def meter() -> Iterator[Tokenmeter]:
    made = Tokenmeter(clock=FixedClock("2026-06-01T12:00:00+08:00"), spans="none")
    yield made
    made.shutdown()


Way = Callable[[Tokenmeter, str, str, Mapping[str, Any], dict[str, Any]], Record]


def over_http(
    meter: Tokenmeter, provider: str, model: str, request: Mapping[str, Any], answer: dict[str, Any]
) -> Record:
    """An httpx request to a server that gives this answer under HTTP 200."""
    httpx = pytest.importorskip("httpx")
    with provider_server(answer=lambda _: json_reply(answer)) as server, capture(meter) as records:
        client = meter.wrap(httpx.Client(base_url=server.url()), provider=provider)
        client.post("chat/completions", json={"model": model, **request})
    return records.only()


def by_hand(meter: Tokenmeter, provider: str, model: str, request: Mapping[str, Any], answer: dict[str, Any]) -> Record:
    with capture(meter) as records, meter.call(provider=provider, model=model, request=request) as call:
        call.observe(answer)
    return records.only()


def as_event(
    meter: Tokenmeter, provider: str, model: str, request: Mapping[str, Any], answer: dict[str, Any]
) -> Record:
    with capture(meter) as records, meter.call(provider=provider, model=model, stream=True) as call:
        call.observe_request(request)
        call.observe_event(answer)
    return records.only()


def streamed(
    meter: Tokenmeter, provider: str, model: str, request: Mapping[str, Any], answer: dict[str, Any]
) -> Record:
    """An httpx request whose stream holds the answer as its only event."""
    httpx = pytest.importorskip("httpx")
    event = f"data: {json.dumps(answer)}\n\n".encode()
    with provider_server(answer=lambda _: sse_reply([event], b"")) as server, capture(meter) as records:
        client = meter.wrap(httpx.Client(base_url=server.url()), provider=provider)
        with client.stream("POST", "chat/completions", json={"model": model, "stream": True, **request}) as response:
            response.read()
    return records.only()


def returned(
    meter: Tokenmeter, provider: str, model: str, request: Mapping[str, Any], answer: dict[str, Any]
) -> Record:
    @meter.call(provider=provider, model=model, request=request)
    def ask() -> str:
        return json.dumps(answer)

    with capture(meter) as records:
        ask()
    return records.only()


WAYS = [pytest.param(way, id=way.__name__) for way in (over_http, streamed, by_hand, as_event, returned)]

REFUSALS = [
    pytest.param("iflytek", "4.0Ultra", {"code": 11202, "message": "limit", "sid": "s"}, "11202", id="Spark"),
    pytest.param(
        "minimax", "MiniMax-M2", {"base_resp": {"status_code": 1008, "status_msg": "balance"}}, "1008", id="MiniMax"
    ),
    pytest.param(
        "tencent",
        "hunyuan-turbos-latest",
        {"Response": {"Error": {"Code": "LimitExceeded", "Message": "m"}, "RequestId": "r"}},
        "LimitExceeded",
        id="Tencent",
    ),
    pytest.param("baidu", "ernie-4.0-8k", {"error_code": 336501, "error_msg": "m"}, "336501", id="Wenxin"),
    pytest.param(
        "alibaba", "qwen-plus", {"code": "Throttling.RateQuota", "message": "m", "request_id": "r"},
        "Throttling.RateQuota", id="DashScope",
    ),
    pytest.param(
        "deepseek", "deepseek-chat", {"error": {"message": "m", "type": "server_error", "code": "overloaded"}},
        "overloaded", id="OpenAI-shaped",
    ),
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("provider", "model", "answer", "code"), REFUSALS)
def test_a_refusal_is_an_error_that_costs_nothing(
    meter: Tokenmeter, way: Way, provider: str, model: str, answer: dict[str, Any], code: str
) -> None:
    record = way(meter, provider, model, ASKED, answer)
    assert (record.end, record.error_type) == (End.ERROR, code)
    assert (record.usage.input_tokens, record.usage.output_tokens) == (None, None)
    assert (record.usage_source, record.cost.amount) == (Source.NONE, None)
    assert "no usage" in str(record.cost.reason)


@pytest.mark.parametrize("way", WAYS)
def test_a_refusal_that_reports_usage_costs_what_it_reports(meter: Tokenmeter, way: Way) -> None:
    answer = {"error": {"message": "m", "code": "overloaded"}, "usage": {"prompt_tokens": 1000, "completion_tokens": 0}}
    record = way(meter, "deepseek", "deepseek-chat", ASKED, answer)
    assert (record.end, record.error_type, record.usage.input_tokens) == (End.ERROR, "overloaded", 1000)
    assert record.cost.amount


def test_text_before_an_error_event_is_still_counted(meter: Tokenmeter) -> None:
    """The vendor has made that text; only a call that brought nothing is a refusal."""
    chunk = {"object": "chat.completion.chunk", "model": "deepseek-chat", "id": "c"}
    with capture(meter) as records, meter.call(provider="deepseek", model="deepseek-chat", request=ASKED) as call:
        call.observe_event({**chunk, "choices": [{"index": 0, "delta": {"content": "很久以前，有一个国王。"}}]})
        call.observe_event({"error": {"message": "m", "code": "overloaded"}})
    record = records.only()
    assert (record.end, record.error_type) == (End.ERROR, "overloaded")
    assert record.usage.input_tokens is not None
    assert record.usage.input_tokens > 1000
    assert (record.usage.output_tokens or 0) > 3


def test_an_answer_with_nothing_of_its_format_is_not_zero_tokens(meter: Tokenmeter) -> None:
    record = by_hand(meter, "openai", "gpt-4o", ASKED, {"created": 1, "data": "nothing"})
    assert record.usage.output_tokens is None
    assert record.cost.amount is None


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_an_answer_that_is_not_finished_is_not_zero_tokens(meter: Tokenmeter, status: str) -> None:
    state = {"object": "response", "id": "r", "model": "gpt-5", "status": status, "output": [], "usage": None}
    record = by_hand(meter, "openai", "gpt-5", {"input": "hi", "background": True}, state)
    assert (record.usage.output_tokens, record.cost.amount) == (None, None)


def test_a_request_whose_text_is_not_found_is_not_zero_tokens(meter: Tokenmeter) -> None:
    record = by_hand(meter, "deepseek", "deepseek-chat", {"request": {"messages": []}}, {"choices": [OPENAI_CHAT]})
    assert (record.usage.input_tokens, record.cost.amount) == (None, None)


# What the request says ----------------------------------------------------------------------------------------------

THINKS = {"id": "c", "object": "chat.completion", "choices": [OPENAI_CHAT],
          "usage": {"prompt_tokens": 1000, "completion_tokens": 1000, "total_tokens": 2000}}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_every_way_reads_what_the_request_says_of_the_price(meter: Tokenmeter, way: Way) -> None:
    plain = way(meter, "alibaba", "qwen-plus", ASKED, {**THINKS, "model": "qwen-plus"})
    thinking = way(meter, "alibaba", "qwen-plus", {**ASKED, "enable_thinking": True}, {**THINKS, "model": "qwen-plus"})
    assert thinking.params["thinking"] is True
    # 0.8 and 2 yuan per million tokens; 0.8 and 8 with thinking
    assert (plain.cost.amount, thinking.cost.amount) == (Decimal("0.0028"), Decimal("0.0088"))


@pytest.mark.parametrize(
    ("asked", "answered", "billed"),
    [
        pytest.param({"service_tier": "flex"}, {}, "flex", id="the request's tier"),
        pytest.param({"service_tier": "flex"}, {"service_tier": "default"}, "default", id="the answer's tier bills"),
        pytest.param({"service_tier": "auto"}, {}, None, id="auto asks for nothing"),
    ],
)
def test_the_tier_of_a_request_holds_where_the_answer_has_none(
    meter: Tokenmeter, asked: dict[str, Any], answered: dict[str, Any], billed: str | None
) -> None:
    record = by_hand(meter, "openai", "gpt-5", {**ASKED, **asked}, {**THINKS, "model": "gpt-5", **answered})
    assert (record.service_tier or record.params.get("service_tier")) == billed


def test_a_line_of_a_batchs_request_file_is_a_batch_request(meter: Tokenmeter) -> None:
    line = {"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {"model": "gpt-4o", **ASKED}}
    with capture(meter) as records, meter.call(provider="openai", request=line) as call:
        call.observe({**THINKS, "model": "gpt-4o-2024-08-06"})
    record = records.only()
    assert (record.request_model, record.params["batch"]) == ("gpt-4o", True)
    assert record.cost.amount == Decimal("0.00625")  # half of 2.5 and 10 dollars per million


# Billed by the piece -------------------------------------------------------------------------------------------------

TWO_URLS = {"created": 1, "data": [{"url": "https://x.invalid/1"}, {"url": "https://x.invalid/2"}]}


@pytest.mark.parametrize(
    ("provider", "model", "api", "request_", "answer", "quantities", "amount"),
    [
        pytest.param("openai", "dall-e-3", "openai.images", {"quality": "hd", "size": "1024x1792"}, TWO_URLS,
                     {"images": 2}, "0.24", id="images of the answer, at the request's size"),
        pytest.param("openai", "dall-e-3", "openai.images", {}, TWO_URLS, {"images": 2}, "0.08",
                     id="images at the documented size"),
        pytest.param("openai", "dall-e-3", "openai.images", {"n": 3}, {"created": 1}, {"images": 3}, "0.12",
                     id="images of the request"),
        pytest.param("openai", "dall-e-3", None, {"size": "1792x1024"}, TWO_URLS, {"images": 2}, "0.16",
                     id="a format that the answer tells"),
        pytest.param("openai", "whisper-1", "openai.transcriptions", {},
                     {"task": "transcribe", "duration": 8.47, "text": "x"}, {"audio_seconds": Decimal("8.47")},
                     "0.000847", id="seconds of audio, and not the text's tokens"),
        pytest.param("volcengine", "doubao-seedream-4-0-250828", "volcengine.images", {},
                     {"model": "doubao-seedream-4-0-250828", "data": [{"url": "u"}],
                      "usage": {"generated_images": 1, "output_tokens": 16384, "total_tokens": 16384}},
                     {"images": 1}, "0.2", id="Seedream"),
        pytest.param("alibaba", "wanx2.1-t2v-turbo", "dashscope.video", {},
                     {"request_id": "r", "output": {"task_status": "SUCCEEDED", "video_url": "u"},
                      "usage": {"video_count": 1, "video_duration": 5, "SR": 720}},
                     {"videos": 1, "video_seconds": 5}, "1.2", id="Wan: seconds, and how many videos"),
        pytest.param("google", "imagen-4.0-generate-001", "google.images", {"parameters": {"sampleCount": 2}},
                     {"predictions": [{"bytesBase64Encoded": "x"}] * 2}, {"images": 2}, "0.08", id="Imagen"),
    ],
)  # fmt: skip
def test_what_is_billed_by_the_piece(
    meter: Tokenmeter, provider: str, model: str, api: str | None, request_: dict[str, Any], answer: dict[str, Any],
    quantities: dict[str, Any], amount: str,
) -> None:  # fmt: skip
    request = {"model": model, "prompt": "a red cat on a green roof", **request_}
    with capture(meter) as records, meter.call(provider=provider, model=model, api=api, request=request) as call:
        call.observe(answer)
    record = records.only()
    assert dict(record.usage.quantities) == quantities
    assert (record.usage.input_tokens, record.usage.output_tokens) == (None, None)
    assert record.cost.amount == Decimal(amount)


def test_the_source_of_pieces_is_theirs(meter: Tokenmeter) -> None:
    for answer, source in ((TWO_URLS, Source.REPORTED), ({"created": 1}, Source.COUNTED)):
        with capture(meter) as records, meter.scope("s") as scope:
            with meter.call(provider="openai", model="dall-e-3", api="openai.images", request={"n": 2}) as call:
                call.observe(answer)
            assert scope.complete
        assert records.only().usage_source is source


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param({"id": "v", "object": "video", "status": "queued"}, id="a job that has not begun"),
        pytest.param({"error": {"code": "moderation_blocked", "message": "m"}}, id="a refusal"),
    ],
)
def test_pieces_of_a_request_need_an_answer(meter: Tokenmeter, answer: dict[str, Any]) -> None:
    request = {"model": "sora-2", "seconds": "8", "prompt": "a cat"}
    with capture(meter) as records, meter.call(provider="openai", request=request, api="openai.videos") as call:
        call.observe(answer)
    assert (dict(records.only().usage.quantities), records.only().cost.amount) == ({}, None)


# A cost that the vendor reports -------------------------------------------------------------------------------------


def answered(model: str, **usage: Any) -> dict[str, Any]:
    counts = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    return {"id": "c", "object": "chat.completion", "model": model, "choices": [OPENAI_CHAT], "usage": counts | usage}


@pytest.mark.parametrize("way", WAYS)
def test_a_reported_cost_is_the_cost_where_the_book_has_no_rate(meter: Tokenmeter, way: Way) -> None:
    with meter.scope("s") as scope:
        record = way(meter, "openrouter", "anthropic/claude-x", ASKED, answered("anthropic/claude-x", cost=0.0375))
    cost = record.cost
    assert (cost.status, cost.source, cost.amount, cost.currency) == ("priced", "vendor", Decimal("0.0375"), "USD")
    assert (cost.charges, cost.rate_id, cost.reason) == ((), None, None)
    assert scope.cost["USD"].amount == Decimal("0.0375")
    assert (cost.to_dict()["source"], json.loads("{" + cost.to_json() + "}")) == ("vendor", cost.to_dict())


@pytest.mark.parametrize(
    ("settings", "reported", "source", "amount", "flags"),
    [
        # gpt-4o: 1,000 tokens at 2.5 and 100 at 10 dollars per million are 0.0035
        pytest.param({}, 0.0035, "book", "0.0035", [], id="they agree"),
        pytest.param({}, 0.003534, "book", "0.0035", [], id="within 1%"),
        pytest.param({}, 0.004, "book", "0.0035", ["vendor_cost_gap=+0.0005"], id="the vendor's is more"),
        pytest.param({}, 0.003, "book", "0.0035", ["vendor_cost_gap=-0.0005"], id="the vendor's is less"),
        pytest.param({"cost_from": "vendor"}, 0.004, "vendor", "0.004", ["vendor_cost_gap=+0.0005"], id="vendor's"),
        pytest.param({"cost_from": {"openai": "vendor"}}, 0.0035, "vendor", "0.0035", [], id="for this provider"),
        pytest.param({"cost_from": {"xai": "vendor"}}, 0.0035, "book", "0.0035", [], id="for another"),
    ],
)  # fmt: skip
def test_both_costs_are_kept_and_a_gap_is_flagged(
    settings: dict[str, Any], reported: float, source: str, amount: str, flags: list[str]
) -> None:
    meter = Tokenmeter(clock=FixedClock("2026-06-01T12:00:00+08:00"), spans="none", **settings)
    record = by_hand(meter, "openai", "gpt-4o", ASKED, answered("gpt-4o-2024-08-06", estimated_cost=reported))
    meter.shutdown()
    assert record.vendor_cost is not None
    assert record.vendor_cost.amount == Decimal(str(reported))
    assert (record.cost.source, record.cost.amount) == (source, Decimal(amount))
    assert list(record.cost.flags) == flags


def test_a_gap_is_on_the_span_in_the_metrics_and_in_the_report(tmp_path: Path) -> None:
    ledger, reader, spans = str(tmp_path / "spend.db"), InMemoryMetricReader(), InMemorySpanExporter()
    tracers = TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    meter = Tokenmeter(
        clock=FixedClock("2026-06-01T12:00:00+08:00"), ledger=ledger, spans="own", tracer_provider=tracers,
        meter_provider=MeterProvider(metric_readers=[reader]),
    )  # fmt: skip
    by_hand(meter, "openai", "gpt-4o", ASKED, answered("gpt-4o-2024-08-06", estimated_cost=0.004))
    by_hand(meter, "openrouter", "anthropic/claude-x", ASKED, answered("anthropic/claude-x", cost=0.0375))
    meter.shutdown()

    gap, unknown = (dict(span.attributes or {}) for span in spans.get_finished_spans())
    assert (gap["tokenmeter.cost.amount"], gap["tokenmeter.cost.vendor.amount"]) == ("0.0035", "0.004")
    assert gap["tokenmeter.cost.flag"] == "vendor_cost_gap=+0.0005"
    assert (unknown["tokenmeter.cost.amount"], unknown["tokenmeter.cost.source"]) == ("0.0375", "vendor")

    metrics: Any = reader.get_metrics_data()
    sums = {
        (metric.name, point.attributes[semconv.SITE], point.attributes.get(semconv.COST_SOURCE)): point.value
        for metric in metrics.resource_metrics[0].scope_metrics[0].metrics
        for point in metric.data.data_points
        if metric.name in ("tokenmeter.cost", "tokenmeter.cost.vendor", "tokenmeter.calls.vendor_cost_gap")
    }
    assert sums == {
        ("tokenmeter.cost", "openai", "reported"): 0.0035,
        ("tokenmeter.cost", "openrouter", "vendor"): 0.0375,
        ("tokenmeter.cost.vendor", "openai", None): 0.004,
        ("tokenmeter.cost.vendor", "openrouter", None): 0.0375,
        ("tokenmeter.calls.vendor_cost_gap", "openai", None): 1,
    }

    report = ask(ledger, Question(by=("provider",), zone=Zone.named("UTC")))
    assert [(row.group[0], row.cost, row.vendor_cost, row.vendor_gaps) for row in report.rows] == [
        ("openrouter", Decimal("0.0375"), Decimal("0.0375"), 0),
        ("openai", Decimal("0.0035"), Decimal("0.004"), 1),
    ]
    text = as_text(report)
    assert "vendor's cost" in text
    assert "1 calls cost more than 1% more or less by the vendor's own figure" in text
    assert (
        as_csv(report)
        .splitlines()[0]
        .endswith(",vendor_cost,vendor_cost_gaps,cost_by_stale_prices,cost_by_single_source_prices")
    )
    assert as_json(report)["totals"][0]["vendor_cost"] == "0.0415"


def test_the_fee_of_each_request_is_counted_by_search_context_size(meter: Tokenmeter) -> None:
    request = {**ASKED, "web_search_options": {"search_context_size": "high"}}
    record = by_hand(meter, "perplexity", "sonar", request, answered("sonar"))
    assert record.usage.quantities["requests"] == 1
    assert [charge.component for charge in record.cost.charges] == ["input", "output", "request"]


# Several answers ----------------------------------------------------------------------------------------------------


def realtime(name: str, status: str = "completed") -> dict[str, Any]:
    usage = {"input_tokens": 100, "output_tokens": 50, "total_tokens": 150}
    return {"object": "realtime.response", "id": name, "status": status, "usage": usage}


UNDER_WAY = {**realtime("r1", "in_progress"), "usage": None}
CANCELLED = {**realtime("r2", "cancelled"), "usage": None}


@pytest.mark.parametrize(
    ("replies", "tokens", "flagged"),
    [
        pytest.param([realtime("r1"), realtime("r2"), realtime("r3")], (300, 150), True, id="three answers"),
        pytest.param([realtime("r1"), realtime("r1")], (100, 50), False, id="the same answer twice"),
        pytest.param([UNDER_WAY, realtime("r1")], (100, 50), False, id="a state, then the answer"),
        pytest.param([realtime("r1"), CANCELLED], (100, 50), False, id="one without usage"),
    ],
)
def test_replies_of_one_call_that_are_several_answers_add_up(
    meter: Tokenmeter, replies: list[dict[str, Any]], tokens: tuple[int, int], flagged: bool
) -> None:
    with capture(meter) as records, meter.call(provider="openai", model="gpt-realtime") as call:
        for reply in replies:
            call.observe(reply)
    record = records.only()
    assert (record.usage.input_tokens, record.usage.output_tokens) == tokens
    assert any(flag.startswith("several_answers") for flag in record.flags) == flagged


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("code", ["insufficient_quota", 1113])
def test_an_sdks_call_that_is_refused_under_http_200(meter: Tokenmeter, stream: bool, code: object) -> None:
    openai = pytest.importorskip("openai")
    body = {"error": {"message": "m", "code": code}}
    event = f"data: {json.dumps(body)}\n\n".encode()
    reply = sse_reply([event], b"") if stream else json_reply(body)
    with provider_server(answer=lambda _: reply) as server, capture(meter) as records:
        client = meter.wrap(openai.OpenAI(base_url=server.url(), api_key="k", max_retries=0), provider="deepseek")
        try:
            answer = client.chat.completions.create(model="deepseek-chat", messages=ASKED["messages"], stream=stream)
            for _ in answer if stream else ():
                pass
        except openai.APIError:
            assert stream  # the SDK raises what an error event says
    record = records.only()
    assert (record.end, record.usage_source, record.cost.amount) == (End.ERROR, Source.NONE, None)
    if not stream:
        assert record.error_type == str(code)
