"""Refusals that arrive as HTTP 200: every vendor's way to write one, as a body and as the event of a stream."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenmeter.cli.extract import answer
from tokenmeter.wire.extract import extract
from tokenmeter.wire.formats import load_apis
from tokenmeter.wire.stream_reader import StreamReader
from tokenmeter.wire.vendor_errors import error_code, refusal

Body = dict[str, Any]
SECRET = "the prompt said: hunter2"

REFUSALS = [
    pytest.param("iflytek", "openai.chat", {"code": 11202, "message": SECRET, "sid": "cht"}, "11202", id="spark http"),
    pytest.param(
        "iflytek",
        "openai.chat",
        {"error": {"message": SECRET, "type": "api_error", "code": "10013"}},
        "10013",
        id="spark http, OpenAI's shape",
    ),
    pytest.param(
        "iflytek",
        "spark.websocket",
        {"header": {"code": 10907, "message": SECRET, "sid": "s", "status": 2}},
        "10907",
        id="spark websocket",
    ),
    pytest.param(
        "minimax",
        "openai.chat",
        {"id": "m", "choices": None, "base_resp": {"status_code": 1008, "status_msg": SECRET}},
        "1008",
        id="minimax",
    ),
    pytest.param(
        "minimax-intl",
        "anthropic.messages",
        {"base_resp": {"status_code": 1004, "status_msg": SECRET}},
        "1004",
        id="minimax, Anthropic's shape",
    ),
    pytest.param(
        "minimax",
        "openai.embeddings",
        {"vectors": None, "base_resp": {"status_code": 1002, "status_msg": SECRET}},
        "1002",
        id="minimax embeddings",
    ),
    pytest.param(
        "minimax",
        "minimax.speech",
        {"data": None, "base_resp": {"status_code": 1042, "status_msg": SECRET}},
        "1042",
        id="minimax speech",
    ),
    pytest.param(
        "tencent",
        "tencent.chat",
        {"Response": {"Error": {"Code": "LimitExceeded", "Message": SECRET}, "RequestId": "r"}},
        "LimitExceeded",
        id="tencent native",
    ),
    pytest.param(
        "tencent",
        "tencent.chat",
        {"ErrorMsg": {"Msg": SECRET, "Code": 4001}, "Id": "i"},
        "4001",
        id="tencent in a stream",
    ),
    pytest.param(
        "tencent",
        "openai.chat",
        {"Response": {"Error": {"Code": "AuthFailure", "Message": SECRET}}},
        "AuthFailure",
        id="tencent native behind the OpenAI endpoint",
    ),
    pytest.param("baidu", "baidu.wenxin", {"error_code": 336100, "error_msg": SECRET}, "336100", id="wenxin"),
    pytest.param("baidu", "openai.chat", {"error_code": 18, "error_msg": SECRET, "id": "x"}, "18", id="qianfan v2"),
    pytest.param(
        "alibaba",
        "dashscope.generation",
        {"code": "Throttling.RateQuota", "message": SECRET, "request_id": "r"},
        "Throttling.RateQuota",
        id="dashscope",
    ),
    pytest.param(
        "alibaba",
        "dashscope.multimodal",
        {"status_code": 429, "request_id": "r", "code": "Throttling", "message": SECRET, "output": None, "usage": None},
        "Throttling",
        id="dashscope, the SDK's object",
    ),
    pytest.param(
        "alibaba",
        "openai.chat",
        {"code": "InvalidApiKey", "message": SECRET, "request_id": "r"},
        "InvalidApiKey",
        id="dashscope native behind compatible mode",
    ),
    pytest.param(
        "alibaba",
        "dashscope.images",
        {"request_id": "r", "output": {"task_status": "FAILED", "code": "DataInspectionFailed", "message": SECRET}},
        "DataInspectionFailed",
        id="dashscope task",
    ),
    pytest.param(
        "siliconflow", "openai.chat", {"code": 20012, "message": SECRET, "data": None}, "20012", id="siliconflow"
    ),
    pytest.param(
        "mistral",
        "openai.chat",
        {"object": "error", "message": SECRET, "type": "invalid_request_error", "param": None, "code": None},
        "invalid_request_error",
        id="mistral",
    ),
    pytest.param(
        "openai",
        "openai.chat",
        {"error": {"message": SECRET, "type": "tokens", "code": "rate_limit_exceeded"}},
        "rate_limit_exceeded",
        id="openai",
    ),
    pytest.param(
        "openai",
        "openai.responses",
        {"object": "response", "status": "failed", "error": {"code": "server_error", "message": SECRET}, "output": []},
        "server_error",
        id="openai responses",
    ),
    pytest.param(
        "openrouter",
        "openai.chat",
        {"choices": [{"error": {"code": 502, "message": SECRET}, "finish_reason": "error"}]},
        "502",
        id="openrouter in a choice",
    ),
    pytest.param("deepseek", "openai.chat", {"error_msg": SECRET, "code": 40003}, "40003", id="code beside error_msg"),
    pytest.param("zhipu", "openai.chat", {"error": {"code": "1302", "message": SECRET}}, "1302", id="zhipu"),
    pytest.param(
        "anthropic",
        "anthropic.messages",
        {"type": "error", "error": {"type": "overloaded_error", "message": SECRET}},
        "overloaded_error",
        id="anthropic",
    ),
    pytest.param(
        "google",
        "gemini.generate",
        {"error": {"code": 429, "message": SECRET, "status": "RESOURCE_EXHAUSTED"}},
        "RESOURCE_EXHAUSTED",
        id="gemini",
    ),
    pytest.param(
        "google",
        "gemini.generate",
        {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "modelVersion": "g"},
        "PROHIBITED_CONTENT",
        id="gemini blocked prompt",
    ),
    pytest.param(
        "aws-bedrock",
        "bedrock.converse",
        {"throttlingException": {"message": SECRET}},
        "throttlingException",
        id="bedrock event",
    ),
    pytest.param(
        "aws-bedrock",
        "bedrock.invoke",
        {"__type": "ThrottlingException", "message": SECRET},
        "ThrottlingException",
        id="aws json",
    ),
    pytest.param("ollama", "ollama.chat", {"error": SECRET}, "error", id="ollama"),
    pytest.param(
        "cohere", "cohere.chat.v2", {"id": "x", "message": SECRET, "code": "bad_request"}, "bad_request", id="cohere"
    ),
    pytest.param(
        "watsonx",
        "watsonx.generate",
        {"errors": [{"code": "model_not_supported", "message": SECRET}], "trace": "t"},
        "model_not_supported",
        id="watsonx",
    ),
    pytest.param(
        "volcengine",
        "openai.chat",
        {"ResponseMetadata": {"Error": {"Code": "InternalError", "Message": SECRET}}},
        "InternalError",
        id="volcengine gateway",
    ),
    pytest.param(
        "huaweicloud",
        "openai.chat",
        {"error_code": "ModelArts.4204", "error_msg": SECRET},
        "ModelArts.4204",
        id="huawei",
    ),
    pytest.param(None, None, {"detail": SECRET}, "error", id="a server behind FastAPI"),
    pytest.param(None, None, {"code": 1001, "msg": SECRET}, "1001", id="no known vendor"),
]


@pytest.mark.parametrize(("provider", "api", "body", "code"), REFUSALS)
@pytest.mark.parametrize("named", [True, False], ids=["api named", "api recognised"])
def test_a_refusal_names_the_vendors_code_and_no_usage(
    provider: str | None, api: str | None, body: Body, code: str, named: bool
) -> None:
    found = extract(body, provider=provider, api=api if named else None)
    assert (found.error, found.usage, found.source) == (code, None, "none")
    assert code in str(found.reason)
    assert "hunter2" not in repr((found.error, found.reason, found.flags))


@pytest.mark.parametrize(("provider", "api", "body", "code"), REFUSALS)
@pytest.mark.parametrize("with_text", [True, False])
def test_an_event_that_refuses_ends_a_stream_the_same_way(
    provider: str | None, api: str | None, body: Body, code: str, with_text: bool
) -> None:
    reader = StreamReader(provider=provider, api=api, on_text=(lambda kind, text: None) if with_text else None)
    reader.feed(json.dumps(body))
    found = reader.result()
    assert (found.error, found.usage, found.source) == (code, None, "none")
    assert code in str(found.reason)


CHAT: Body = {"id": "c", "model": "m", "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
              "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}  # fmt: skip


@pytest.mark.parametrize(
    ("provider", "said"),
    [
        ("iflytek", {"code": 0, "message": "Success", "sid": "s"}),
        ("minimax", {"base_resp": {"status_code": 0, "status_msg": "success"}}),
        ("siliconflow", {"code": 20000, "message": "OK"}),
        ("openai", {"error": None}),
        ("baidu", {"error_code": 0}),
        (None, {"code": 200, "msg": "ok"}),
        (None, {"code": "Success", "message": "fine"}),
    ],
)
def test_what_means_success_is_no_error(provider: str | None, said: Body) -> None:
    for body in (CHAT | said, {"id": "c", **said}):
        assert extract(body, provider=provider, api="openai.chat").error is None


def test_a_refusal_with_usage_keeps_the_usage() -> None:
    body = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 900, "totalTokenCount": 900},
    }
    found = extract(body, provider="google", api="gemini.generate")
    assert found.error == "SAFETY"
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (900, 0)


def test_zeros_of_a_refusal_are_no_usage() -> None:
    body = {
        "base_resp": {"status_code": 1027},
        "usage": {"total_tokens": 0, "prompt_tokens": 0, "completion_tokens": 0},
    }
    found = extract(body, provider="minimax", api="openai.chat")
    assert (found.usage, found.error, found.flags) == (None, "1027", ())


def test_an_error_after_text_leaves_what_was_reported() -> None:
    reader = StreamReader(provider="alibaba", api="dashscope.generation")
    reader.feed({"output": {"text": "a"}, "usage": {"input_tokens": 10, "output_tokens": 1}, "request_id": "r"})
    reader.feed({"code": "InternalError.Timeout", "message": "x", "request_id": "r"})
    found = reader.result()
    assert (found.error, found.source) == ("InternalError.Timeout", "partial")
    assert found.usage is not None
    assert found.usage.input_tokens == 10


@pytest.mark.parametrize(
    "event",
    [
        {"type": "response.code_interpreter_call_code.done", "code": "print(1)", "item_id": "x", "message": "m"},
        {"choices": [{"delta": {"content": "a"}}], "code": 7, "message": "x"},
        {"type": "ping"},
        {"id": "c", "object": "chat.completion.chunk", "choices": [], "usage": None},
    ],
)
def test_events_that_only_look_like_one_are_no_refusals(event: Body) -> None:
    for api in ("openai.chat", "openai.responses"):
        reader = StreamReader(api=api)
        reader.feed(event)
        assert reader.error is None or ("choices" in event and api != "openai.chat")


def test_the_command_line_says_the_code() -> None:
    line = answer({"provider": "iflytek", "response": {"code": 11202, "message": SECRET, "sid": "s"}})
    assert (line["usage"], line["source"], line["error"]) == (None, "none", "11202")
    assert "11202" in line["reason"]


def test_every_format_reads_the_shape_gateways_use() -> None:
    body = {"error": {"message": SECRET, "type": "upstream_error", "code": None}}
    silent = [api for api in load_apis().by_id if extract(body, api=api).error != "upstream_error"]
    assert silent == []


@pytest.mark.parametrize("error", [None, "", 0, False, {}, [], {"code": 0}, {"code": "0", "message": "ok"}, "Success"])
def test_nothing_at_the_place_of_an_error_is_no_error(error: object) -> None:
    assert error_code(error, load_apis().success) is None
    assert refusal({"error": error}) is None
