"""What is billed by the piece, hosted tools' fees, costs that vendors state, batch lines: read by declared places."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmeter.cli.extract import answer
from tokenmeter.money import plain
from tokenmeter.wire.extract import extract
from tokenmeter.wire.header_costs import cost_of_headers
from tokenmeter.wire.stream_reader import StreamReader

Body = dict[str, Any]
USAGE: Body = {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}


def chat(usage: Body | None = None, message: Body | None = None, **more: Any) -> Body:
    choice = {"index": 0, "message": message or {"content": "hi"}, "finish_reason": "stop"}
    return {"object": "chat.completion", "model": "m", "choices": [choice], "usage": {**USAGE, **(usage or {})}, **more}


def responses(*output: Body, usage: Body | None = None, **more: Any) -> Body:
    counts = {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12, **(usage or {})}
    return {"object": "response", "model": "m", "status": "completed", "output": list(output), "usage": counts, **more}


def gemini(grounding: Body, model: str) -> Body:
    candidate = {"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP", "groundingMetadata": grounding}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 2, "totalTokenCount": 12}
    return {"candidates": [candidate], "modelVersion": model, "usageMetadata": usage}


SEARCH = {"type": "web_search_call", "action": {"type": "search"}}
OPEN = {"type": "web_search_call", "action": {"type": "open_page"}}
QUERIES = {"webSearchQueries": ["a", "b", "c"]}

TOOLS = [
    pytest.param("openai", responses(SEARCH, OPEN, SEARCH), {"web_search_calls": 2}, id="searches of a response"),
    pytest.param(
        "openai", responses({"type": "web_search_call"}), {"web_search_calls": 1}, id="a search without action"
    ),
    pytest.param(
        "openai",
        responses(SEARCH, SEARCH, tool_usage={"web_search": {"num_requests": 1}}),
        {"web_search_calls": 1},
        id="the vendor's own count wins",
    ),
    pytest.param("openai", responses({"type": "file_search_call"}), {"file_search_calls": 1}, id="file search"),
    pytest.param(
        "openai",
        responses({"type": "code_interpreter_call"}, {"type": "code_interpreter_call"}),
        {"code_interpreter_sessions": 1},
        id="code interpreter",
    ),
    pytest.param("openai", responses({"type": "message", "content": []}), {}, id="no tool"),
    pytest.param("openai", chat(model="gpt-4o-search-preview-2025-03-11"), {"web_search_calls": 1}, id="search model"),
    pytest.param("openai", chat(model="gpt-4o"), {}, id="another model"),
    pytest.param("perplexity", chat(model="sonar-pro"), {"requests": 1}, id="request fee"),
    pytest.param("perplexity", chat(model="sonar-deep-research"), {}, id="a model without request fee"),
    pytest.param(
        "perplexity",
        chat({"num_search_queries": 7}, model="sonar-deep-research"),
        {"web_search_calls": 7},
        id="perplexity's searches",
    ),
    pytest.param(
        "openai", chat({"server_tool_use": {"web_search_requests": 3}}), {"web_search_calls": 3}, id="gateway"
    ),
    pytest.param("zhipu", chat(web_search=[{"link": "a"}, {"link": "b"}]), {"web_search_calls": 1}, id="zhipu"),
    pytest.param("zai", chat(web_search=[]), {}, id="an empty list of results"),
    pytest.param(
        "moonshot",
        chat(message={"tool_calls": [{"function": {"name": "$web_search"}}, {"function": {"name": "mine"}}]}),
        {"web_search_calls": 1},
        id="kimi's builtin search",
    ),
    pytest.param("google", gemini(QUERIES, "gemini-3-pro"), {"web_search_calls": 3}, id="billed by the query"),
    pytest.param("google", gemini(QUERIES, "gemini-2.5-flash"), {"web_search_calls": 1}, id="billed by the prompt"),
    pytest.param(
        "google-vertex",
        gemini({"groundingChunks": [{"maps": {"placeId": "p"}}, {"maps": {"placeId": "q"}}]}, "gemini-2.5-flash"),
        {"maps_grounding_calls": 1},
        id="maps",
    ),
    pytest.param("google", gemini({"groundingChunks": [{"web": {}}]}, "gemini-2.5-flash"), {}, id="chunks alone"),
    pytest.param(
        "alibaba",
        responses(usage={"x_tools": {"web_search": {"count": 2}, "code_interpreter": {"count": 1}}}),
        {"web_search_calls": 2, "code_interpreter_calls": 1},
        id="dashscope x_tools",
    ),
    pytest.param(
        "alibaba", chat({"plugins": {"search": {"count": 1}}}), {"web_search_calls": 1}, id="dashscope plugins"
    ),
    pytest.param(
        "volcengine",
        {
            "object": "chat.completion",
            "model": "m",
            "choices": [],
            "bot_usage": {"model_usage": [USAGE], "action_usage": [{"name": "content_plugin", "count": 2}]},
        },
        {"plugin_calls": 2},
        id="a bot's plugins",
    ),
    pytest.param(
        "mistral",
        chat({"connectors": {"web_search": 1}, "connector_tokens": 0}),
        {"web_search_calls": 1},
        id="connectors",
    ),
    pytest.param(
        "groq",
        chat(message={"content": "x", "executed_tools": [{"type": "search"}, {"type": "python"}]}),
        {"web_search_calls": 1, "code_interpreter_calls": 1},
        id="groq compound",
    ),
    pytest.param(
        "anthropic",
        {
            "type": "message",
            "model": "m",
            "content": [{"type": "server_tool_use", "name": "web_search"}],
            "usage": {"input_tokens": 10, "output_tokens": 2},
        },
        {"web_search_calls": 1},
        id="a search in the content alone",
    ),
    pytest.param("xai", responses({"type": "x_search_call"}), {"x_search_calls": 1}, id="xai's search"),
]


@pytest.mark.parametrize(("provider", "body", "quantities"), TOOLS)
def test_hosted_tools_are_counted(provider: str, body: Body, quantities: Body) -> None:
    found = extract(body, provider=provider)
    assert found.usage is not None
    assert dict(found.usage.quantities) == quantities
    assert (found.usage.input_tokens, found.usage.output_tokens, found.flags) == (10, 2, ())


@pytest.mark.parametrize("with_text", [True, False])
def test_streams_count_what_their_events_list_once(with_text: bool) -> None:
    first, last = gemini({"webSearchQueries": ["a", "b"]}, "gemini-3-pro"), gemini(QUERIES, "gemini-3-pro")
    kimi = [
        {
            "id": "c",
            "model": "k",
            "choices": [{"delta": {"tool_calls": [{"id": n, "function": {"name": "$web_search"}}]}}],
        }
        for n in ("t1", "t2", "t2")
    ]
    for provider, events, calls in (
        ("google", [first, last], 3),
        ("moonshot", [*kimi, chat()], 2),
        ("zhipu", [chat(web_search=[{"link": "a"}]), chat()], 1),
        ("openai", [{"type": "response.completed", "response": responses(SEARCH, OPEN)}], 1),
    ):
        reader = StreamReader(provider=provider, on_text=(lambda kind, text: None) if with_text else None)
        for event in events:
            reader.feed(event)
        usage = reader.result().usage
        assert usage is not None
        assert usage.quantities == {"web_search_calls": calls}, provider


PIECES = [
    pytest.param(
        "openai", "openai.images", {"created": 1, "data": [{"url": "u"}, {"url": "v"}]}, {"images": 2}, id="dall-e"
    ),
    pytest.param(
        "zhipu", None, {"task_status": "SUCCESS", "video_result": [{"url": "u"}]}, {"videos": 1}, id="cogvideo"
    ),
    pytest.param("tencent", None, {"Response": {"ResultImage": "u", "RequestId": "r"}}, {"images": 1}, id="hunyuan"),
    pytest.param("stepfun", None, {"created": 1, "data": [{"image": "u"}]}, {"images": 1}, id="stepfun"),
    pytest.param("xai", None, {"data": [{"url": "u"}], "usage": {"cost_in_usd_ticks": 5}}, {"images": 1}, id="xai"),
    pytest.param("siliconflow", "openai.images", {"images": [{"url": "u"}]}, {"images": 1}, id="siliconflow"),
    pytest.param(
        "volcengine", "volcengine.images", {"data": [{"url": "u"}, {"error": {}}]}, {"images": 1}, id="seedream"
    ),
    pytest.param("alibaba", "dashscope.images", {"output": {}, "usage": {"image_count": 2}}, {"images": 2}, id="wan"),
    pytest.param(
        "alibaba",
        "dashscope.images",
        {"output": {}, "usage": {"image_count": 1, "input_tokens": 0, "output_tokens": 0}},
        {"images": 1},
        id="zeros that mean: not in tokens",
    ),
    pytest.param(
        "google", "google.images", {"predictions": [{"bytesBase64Encoded": "x"}] * 2}, {"images": 2}, id="imagen"
    ),
    pytest.param(
        "minimax",
        "minimax.images",
        {"data": {"image_urls": ["u"]}, "metadata": {"success_count": "1"}},
        {"images": 1},
        id="minimax",
    ),
    pytest.param(
        "groq", "openai.transcriptions", {"text": "x", "duration": 8.47}, {"audio_seconds": "8.47"}, id="whisper"
    ),
    pytest.param(
        "openai",
        "openai.transcriptions",
        {"text": "x", "usage": {"type": "duration", "seconds": 9}},
        {"audio_seconds": 9},
        id="whisper with usage",
    ),
    pytest.param(
        "alibaba",
        None,
        {"request_id": "r", "output": {"task_id": "t", "task_status": "SUCCEEDED"}, "usage": {"duration": 9}},
        {"audio_seconds": 9},
        id="paraformer",
    ),
    pytest.param(
        "alibaba", "dashscope.speech", {"output": {}, "usage": {"characters": 12}}, {"characters": 12}, id="tts"
    ),
    pytest.param(
        "minimax",
        "minimax.speech",
        {"extra_info": {"usage_characters": 7}, "base_resp": {"status_code": 0}},
        {"characters": 7},
        id="minimax speech",
    ),
    pytest.param(
        "mistral", "mistral.ocr", {"usage_info": {"pages_processed": 3, "doc_size_bytes": 9}}, {"pages": 3}, id="ocr"
    ),
    pytest.param("openai", "openai.videos", {"object": "video", "seconds": "8"}, {"video_seconds": 8}, id="sora"),
    pytest.param(
        "alibaba",
        "dashscope.video",
        {"output": {}, "usage": {"video_count": 1, "video_duration": 5}},
        {"videos": 1, "video_seconds": 5},
        id="wan video",
    ),
]


@pytest.mark.parametrize(("provider", "api", "body", "quantities"), PIECES)
def test_what_is_billed_by_the_piece_has_no_tokens(
    provider: str, api: str | None, body: Body, quantities: Body
) -> None:
    found = answer({"provider": provider, "response": body, **({"api": api} if api else {})})
    assert found["usage"] == {"quantities": quantities}
    assert (found["source"], found["flags"]) == ("reported", [])


def test_images_with_tokens_are_billed_by_those() -> None:
    body = {
        "created": 1,
        "data": [{"b64_json": "x"}],
        "usage": {"input_tokens": 5, "output_tokens": 90, "total_tokens": 95},
    }
    assert answer({"provider": "openai", "response": body})["usage"] == {"input_tokens": 5, "output_tokens": 90}


COSTS = [
    pytest.param("openrouter", chat({"cost": 0.0375, "is_byok": False}), "0.0375", id="openrouter"),
    pytest.param(
        "openrouter",
        chat({"cost": 0.001, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.0360795}}),
        "0.0370795",
        id="the user's own key",
    ),
    pytest.param(
        "openrouter",
        chat({"cost": 0.0133176, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.0133176}}),
        "0.0133176",
        id="the gateway's key",
    ),
    pytest.param("vercel", chat({"cost": 0.5, "is_byok": False}), "0.5", id="vercel"),
    pytest.param("deepinfra", chat({"estimated_cost": 1.2e-05}), "0.000012", id="deepinfra"),
    pytest.param("perplexity", chat({"cost": {"total_cost": 0.41, "request_cost": 0.008}}), "0.41", id="perplexity"),
    pytest.param("xai", chat({"cost_in_usd_ticks": 1330500}), "0.00013305", id="xai"),
    pytest.param(None, chat({"cost_in_usd_ticks": 1330500}), "0.00013305", id="xai behind a gateway"),
    pytest.param(None, chat(_hidden_params={"response_cost": 0.002}), "0.002", id="litellm"),
]


@pytest.mark.parametrize(("provider", "body", "amount"), COSTS)
def test_the_vendors_own_cost_is_exact(provider: str | None, body: Body, amount: str) -> None:
    for line in ({"response": body}, {"stream_events": [body, "[DONE]"]}):
        found = answer({"provider": provider, **line})
        assert found["vendor_cost"] == {"amount": amount, "currency": "USD"}
        assert (found["usage"]["input_tokens"], found["flags"], found["unknown_fields"]) == (10, [], [])


@pytest.mark.parametrize("api", ["openai.completions", "openai.embeddings", "openai.responses", "anthropic.messages"])
def test_a_gateways_cost_is_read_in_every_format_it_speaks(api: str) -> None:
    usage = {**USAGE, "input_tokens": 10, "output_tokens": 2, "cost": 0.0003, "is_byok": False}
    cost = extract({"model": "m", "usage": usage}, provider="openrouter", api=api).vendor_cost
    assert cost is not None
    assert (str(cost.amount), cost.currency) == ("0.0003", "USD")


@pytest.mark.parametrize(
    ("headers", "amount"),
    [
        ({"x-litellm-response-cost": "0.00012"}, "0.00012"),
        ({"x-litellm-response-cost": "1.2e-05"}, "0.000012"),
        ({"x-litellm-response-cost": "None"}, None),
        ({"x-litellm-response-cost": "-1"}, None),
        ({}, None),
    ],
)
def test_a_cost_in_a_header_is_read(headers: dict[str, str], amount: str | None) -> None:
    cost = cost_of_headers(headers)
    assert (None if cost is None else (plain(cost.amount), cost.currency)) == (amount and (amount, "USD"))


def test_a_cost_without_what_the_upstream_billed_is_no_cost() -> None:
    found = extract(chat({"cost": 0.001, "is_byok": True}), provider="openrouter")
    assert found.vendor_cost is None
    assert found.flags[0].startswith("vendor_cost_incomplete: ")


MESSAGE: Body = {"type": "message", "model": "claude", "content": [], "usage": {"input_tokens": 10, "output_tokens": 2}}
GEMINI = gemini({}, "gemini-2.5-flash")

LINES = [
    pytest.param(
        "openai", {"custom_id": "a", "response": {"status_code": 200, "body": chat()}, "error": None}, id="chat"
    ),
    pytest.param("openai", {"custom_id": "a", "response": {"status_code": 200, "body": responses()}}, id="responses"),
    pytest.param("zhipu", {"custom_id": "a", "id": "b", "response": {"status_code": 200, "body": chat()}}, id="zhipu"),
    pytest.param("alibaba", {"custom_id": "a", "response": {"status_code": 200, "body": chat()}}, id="dashscope"),
    pytest.param(
        "mistral", {"custom_id": "a", "response": {"status_code": 200, "body": chat()}, "error": None}, id="mistral"
    ),
    pytest.param("volcengine", {"custom_id": "a", "response": chat()}, id="no status beside the body"),
    pytest.param("anthropic", {"custom_id": "a", "result": {"type": "succeeded", "message": MESSAGE}}, id="anthropic"),
    pytest.param("google", {"key": "a", "response": GEMINI}, id="gemini"),
    pytest.param("google", {"response": GEMINI, "metadata": {"key": "a"}}, id="gemini inlined"),
    pytest.param(
        "google-vertex", {"status": "", "processed_time": "t", "request": {}, "response": GEMINI}, id="vertex"
    ),
    pytest.param("aws-bedrock", {"recordId": "a", "modelInput": {}, "modelOutput": MESSAGE}, id="bedrock"),
    pytest.param(
        "xai", {"batch_request_id": "a", "batch_result": {"response": {"chat_get_completion": chat()}}}, id="xai"
    ),
]


@pytest.mark.parametrize(("provider", "line"), LINES)
def test_a_line_of_a_batch_is_unwrapped(provider: str, line: Body) -> None:
    found = extract(line, provider=provider)
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (10, 2)
    assert (found.params["batch"], found.error, found.flags) == (True, None, ())
    assert found.model is not None


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ({"custom_id": "a", "response": None, "error": {"code": "batch_expired", "message": "x"}}, "batch_expired"),
        ({"custom_id": "a", "response": {"status_code": 400, "body": {"error": {"type": "invalid_request_error"}}}},
         "invalid_request_error"),
        ({"custom_id": "a", "result": {"type": "errored", "error": {"type": "error", "error": {"type": "api_error"}}}},
         "api_error"),
        ({"custom_id": "a", "result": {"type": "expired"}}, "expired"),
        ({"key": "a", "error": {"code": 13, "status": "INTERNAL"}}, "INTERNAL"),
        ({"recordId": "a", "modelInput": {}, "error": {"errorCode": 400, "errorMessage": "x"}}, "400"),
    ],
)  # fmt: skip
def test_a_failed_line_names_its_error(line: Body, code: str) -> None:
    found = extract(line)
    assert (found.usage, found.error, found.params.get("batch")) == (None, code, True)


def test_all_answers_of_one_batch_add_up() -> None:
    held = {"inlinedResponses": {"inlinedResponses": [{"response": GEMINI}, {"response": GEMINI}]}}
    found = extract({"name": "batches/b", "done": True, "response": held}, provider="google")
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens, found.params["batch"]) == (20, 4, True)


RESHAPED = [
    pytest.param(
        None,
        {"usage_metadata": {"input_tokens": 1000, "output_tokens": 10, "input_token_details": {
            "cache_read": 0, "cache_creation": 0, "ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 600}}},
        {"cache_write_input_tokens": 900, "cache_write_5m_input_tokens": 300, "cache_write_1h_input_tokens": 600},
        id="langchain",
    ),
    pytest.param(
        None,
        {"usage_metadata": {"input_tokens": 10, "output_tokens": 5,
                            "input_token_details": {"flex": 8, "flex_cache_read": 2},
                            "output_token_details": {"flex": 2, "flex_reasoning": 3}}},
        {"cache_read_input_tokens": 2, "reasoning_output_tokens": 3}, id="langchain, a tier",
    ),
    pytest.param(
        "openai",
        chat({"prompt_tokens_details": {"cached_tokens": 3, "cached_creation_tokens": 4},
              "claude_cache_creation_5_m_tokens": 4, "claude_cache_creation_1_h_tokens": 0}),
        {"cache_read_input_tokens": 3, "cache_write_input_tokens": 4, "cache_write_5m_input_tokens": 4},
        id="new-api",
    ),
    pytest.param(
        None,
        chat({"prompt_tokens_details": {
            "cached_tokens": 3, "cache_creation_tokens": 4,
            "cache_creation_token_details": {"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 3}}}),
        {"cache_write_input_tokens": 4, "cache_write_1h_input_tokens": 3},
        id="litellm",
    ),
    pytest.param(
        "openai", chat({"prompt_tokens": 2, "total_tokens": 14, "prompt_tokens_details": {
            "cached_tokens": 6, "cached_creation_tokens": 4}}),
        {"input_tokens": 12}, id="cache beside the prompt, by the total",
    ),
    pytest.param(
        "google", {"usageMetadata": {"promptTokenCount": 9, "responseTokenCount": 5, "thoughtsTokenCount": 2,
                                     "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}]}},
        {"audio_output_tokens": 5, "output_tokens": 7, "reasoning_output_tokens": 2}, id="audio of a live session",
    ),
    pytest.param(
        "alibaba",
        {"output": {"embeddings": []}, "request_id": "r", "usage": {"input_tokens": 10, "output_tokens": 1,
         "input_tokens_details": {"image_tokens": 896, "text_tokens": 10}, "total_tokens": 907}},
        {"input_tokens": 906, "image_input_tokens": 896, "output_tokens": 0}, id="multimodal embeddings",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "body", "expected"), RESHAPED)
def test_details_survive_a_change_of_shape(provider: str | None, body: Body, expected: Body) -> None:
    found = answer({"provider": provider, "response": body})
    assert {name: found["usage"][name] for name in expected} == expected
    assert found["flags"] == []


def test_a_total_that_its_parts_do_not_reach_is_flagged_and_counted() -> None:
    found = extract(chat({"total_tokens": 112}), provider="together", api="openai.chat")
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (10, 102)
    assert found.flags == (
        "total_mismatch: total is 112, input and output are 10 and 2; the rest of 100 is counted in output_tokens",
    )


METRICS = {"inputTokenCount": 900, "outputTokenCount": 44, "invocationLatency": 12, "firstByteLatency": 3}


@pytest.mark.parametrize(
    "event",
    [
        {"object": "chat.completion.chunk", "model": "m", "choices": [{"delta": {}, "finish_reason": "stop"}]},
        {"type": "message_stop"},
        {"generation": "x", "stop_reason": "stop"},
        {"outputText": "x", "completionReason": "FINISH"},
        {"outputs": [{"text": "x", "stop_reason": "stop"}]},
        {"event_type": "stream-end", "is_finished": True},
    ],
)
def test_bedrocks_own_count_is_read_for_every_model_family(event: Body) -> None:
    for api in (None, "bedrock.invoke"):
        reader = StreamReader(provider="aws-bedrock", api=api)
        reader.feed({**event, "amazon-bedrock-invocationMetrics": METRICS})
        usage = reader.result().usage
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens) == (900, 44)


@pytest.mark.parametrize(
    ("usage", "params", "flags"),
    [
        ({"inference_geo": "global"}, {"inference_geo": "global"}, ()),
        ({"inference_geo": "us"}, {"inference_geo": "us"}, ()),
        ({"inference_geo": "not_available"}, {}, ()),
        ({"inference_geo": "mars"}, {"inference_geo": "mars"}, ("unknown_word: inference_geo is 'mars'",)),
        ({"service_tier": "priority"}, {}, ()),
        ({"service_tier": "gold"}, {}, ("unknown_word: service tier is 'gold'",)),
    ],
)
def test_an_unknown_word_for_a_place_or_tier_is_flagged(usage: Body, params: Body, flags: tuple[str, ...]) -> None:
    body = {**MESSAGE, "usage": {"input_tokens": 10, "output_tokens": 2, **usage}}
    found = extract(body, provider="anthropic")
    assert (dict(found.params), found.flags) == (params, flags)


def test_langchains_tier_is_read_from_its_keys() -> None:
    usage = {"input_tokens": 10, "output_tokens": 5, "input_token_details": {"priority": 10}}
    found = extract({"usage_metadata": usage})
    assert (found.service_tier, found.unknown_fields, found.flags) == ("priority", (), ())


def test_an_asynchronous_completion_is_out_of_its_envelope() -> None:
    body = {"id": "a", "model": "sonar", "status": "COMPLETED", "response": chat({"cost": {"total_cost": 0.41}})}
    found = extract(body, provider="perplexity", api="openai.chat")
    assert found.vendor_cost is not None
    assert (str(found.vendor_cost.amount), found.usage and found.usage.input_tokens) == ("0.41", 10)


def test_a_lone_total_beside_text_is_not_all_input() -> None:
    body = {"choices": [{"messages": [{"text": "x"}]}], "usage": {"total_tokens": 12}, "base_resp": {"status_code": 0}}
    assert extract(body, provider="minimax", api="openai.chat").usage is None
