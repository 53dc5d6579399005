"""What spans of each instrumentation say of one call, and what is meant: read by the processor and by the collector."""

from __future__ import annotations

import pytest

from tokenmeter.usage import Usage

GENAI = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
CLAUDE = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "anthropic",
    "gen_ai.request.model": "claude-sonnet-4-5",
}
USED = {"gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100}
WHOLE = Usage(input_tokens=1000, output_tokens=100)
CACHED = Usage(input_tokens=1000, output_tokens=100, cache_read_input_tokens=400)
SHAPES = [
    pytest.param("opentelemetry.instrumentation.genai.openai", GENAI | USED, "openai", WHOLE, id="official"),
    pytest.param(
        "opentelemetry.instrumentation.genai.openai",
        GENAI | USED | {"gen_ai.usage.cache_read.input_tokens": 400},
        "openai", CACHED, id="official, cached",
    ),
    pytest.param(
        "opentelemetry.instrumentation.openai_v2",
        {"gen_ai.operation.name": "chat", "gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o"} | USED,
        "openai", WHOLE, id="official, before gen_ai.provider.name",
    ),
    pytest.param(
        "opentelemetry.instrumentation.openai.v1",
        GENAI | USED | {
            "gen_ai.usage.cache_read.input_tokens": 400, "gen_ai.usage.total_tokens": 1100,
            "gen_ai.openai.api_base": "https://api.openai.com/v1/", "gen_ai.is_streaming": False,
        },
        "openai", CACHED, id="openllmetry",
    ),
    pytest.param(
        "opentelemetry.instrumentation.openai.v1",
        {
            "llm.request.type": "chat", "gen_ai.system": "OpenAI", "gen_ai.request.model": "gpt-4o",
            "gen_ai.usage.prompt_tokens": 1000, "gen_ai.usage.completion_tokens": 100, "llm.usage.total_tokens": 1100,
            "gen_ai.usage.cache_read_input_tokens": 400,
        },
        "openai", CACHED, id="openllmetry, old names",
    ),
    pytest.param(
        "openinference.instrumentation.openai",
        {
            "openinference.span.kind": "LLM", "llm.system": "openai", "llm.model_name": "gpt-4o",
            "llm.token_count.prompt": 1000, "llm.token_count.completion": 100, "llm.token_count.total": 1100,
            "llm.token_count.prompt_details.cache_read": 400,
        },
        "openai", CACHED, id="openinference",
    ),
    pytest.param(
        "openlit.otel.tracing",
        GENAI | USED | {
            "server.address": "api.openai.com", "server.port": 443, "gen_ai.usage.cache_read.input_tokens": 400,
            "gen_ai.client.token.usage": 1100, "gen_ai.usage.cost": 0.5,
        },
        "openai", CACHED, id="openlit",
    ),
    pytest.param(
        "logfire.openai",
        GENAI | USED | {
            "gen_ai.usage.raw":
                '{"completion_tokens":100,"prompt_tokens":1000,"total_tokens":1100,'
                '"prompt_tokens_details":{"cached_tokens":400}}',
            "logfire.span_type": "span", "gen_ai.response.finish_reasons": '["stop"]', "operation.cost": 0.5,
        },
        "openai", CACHED, id="logfire, which keeps the vendor's own usage",
    ),
    pytest.param(
        "langsmith",
        {"langsmith.span.kind": "llm", "gen_ai.operation.name": "chat", "gen_ai.system": "openai",
         "gen_ai.request.model": "gpt-4o", "gen_ai.usage.total_tokens": 1100,
         "gen_ai.usage.input_token_details": "{'cache_read': 400, 'audio': 0}"} | USED,
        "openai", Usage(input_tokens=1000, output_tokens=100, cache_read_input_tokens=400, audio_input_tokens=0),
        id="langsmith, which writes an object as Python does",
    ),
    pytest.param(
        "ai",
        {
            "operation.name": "ai.generateText.doGenerate", "ai.operationId": "ai.generateText.doGenerate",
            "ai.model.provider": "openai.chat", "ai.model.id": "gpt-4o", "gen_ai.system": "openai.chat",
            "gen_ai.request.model": "gpt-4o", "ai.usage.promptTokens": 1000, "ai.usage.completionTokens": 100,
        } | USED,
        "openai", WHOLE, id="vercel 4",
    ),
    pytest.param(
        "ai",
        {
            "ai.operationId": "ai.streamText.doStream", "ai.model.provider": "openai.responses",
            "ai.model.id": "gpt-4o", "ai.usage.inputTokens": 1000.0, "ai.usage.outputTokens": 100.0,
            "ai.usage.totalTokens": 1100.0, "ai.usage.cachedInputTokens": 400.0,
        },
        "openai", CACHED, id="vercel 5, whose numbers are doubles",
    ),
    pytest.param(
        "gen_ai",
        GENAI | USED | {
            "gen_ai.usage.cache_read.input_tokens": 400, "gen_ai.response.id": "chatcmpl-7",
            "gen_ai.client.operation.duration": 0.15, "gen_ai.client.operation.time_to_first_chunk": 0.076,
        },
        "openai", CACHED, id="vercel 7",
    ),
    pytest.param("our.llm", GENAI | USED, "openai", WHOLE, id="a scope that the user names"),
]  # fmt: skip


INCLUSIVE = Usage(input_tokens=1000, output_tokens=100, cache_read_input_tokens=600, cache_write_input_tokens=100)
MEANINGS = [
    pytest.param(
        "opentelemetry.instrumentation.genai.anthropic",
        CLAUDE | USED | {
            "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.cache_write.input_tokens": 100,
        },
        INCLUSIVE, (), id="official: inside",
    ),
    pytest.param(
        "com.anthropic.sdk.python",
        CLAUDE | USED | {
            "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.cache_write.input_tokens": 100,
            "anthropic.usage.cache_creation.ephemeral_5m_input_tokens": 60,
            "anthropic.usage.cache_creation.ephemeral_1h_input_tokens": 40,
        },
        Usage(input_tokens=1000, output_tokens=100, cache_read_input_tokens=600, cache_write_input_tokens=100,
              cache_writes={"5m": 60, "1h": 40}),
        (), id="anthropic's SDK: inside, writes by lifetime",
    ),
    pytest.param(
        "openinference.instrumentation.anthropic",
        {
            "openinference.span.kind": "LLM", "llm.provider": "anthropic", "llm.model_name": "claude-sonnet-4-5",
            "llm.token_count.prompt": 1000, "llm.token_count.completion": 100,
            "llm.token_count.prompt_details.cache_read": 600, "llm.token_count.prompt_details.cache_write": 100,
        },
        INCLUSIVE, (), id="openinference: inside",
    ),
    pytest.param(
        "openlit.otel.tracing",
        CLAUDE | {
            "server.address": "api.anthropic.com", "gen_ai.usage.input_tokens": 300, "gen_ai.usage.output_tokens": 100,
            "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.cache_creation.input_tokens": 100,
        },
        INCLUSIVE, (), id="openlit: beside",
    ),
    pytest.param(
        "ai",
        {
            "ai.operationId": "ai.generateText.doGenerate", "ai.model.provider": "anthropic.messages",
            "ai.model.id": "claude-sonnet-4-5", "ai.usage.inputTokens": 300, "ai.usage.outputTokens": 100,
            "ai.usage.totalTokens": 400, "ai.usage.cachedInputTokens": 600,
            "ai.response.providerMetadata": '{"anthropic":{"cacheCreationInputTokens":100}}',
        },
        INCLUSIVE, (), id="vercel 5: beside, writes in the metadata",
    ),
    pytest.param(
        "ai",
        {
            "ai.operationId": "ai.generateText.doGenerate", "ai.model.provider": "anthropic.messages",
            "ai.model.id": "claude-sonnet-4-5", "ai.usage.inputTokens": 1000, "ai.usage.outputTokens": 100,
            "ai.usage.cachedInputTokens": 600, "ai.usage.inputTokenDetails.noCacheTokens": 300,
            "ai.usage.inputTokenDetails.cacheReadTokens": 600, "ai.usage.inputTokenDetails.cacheWriteTokens": 100,
        },
        INCLUSIVE, (), id="vercel 6: inside",
    ),
    pytest.param(
        "logfire.anthropic",
        CLAUDE | {
            "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100,
            "gen_ai.usage.raw": '{"input_tokens":300,"output_tokens":100,"cache_read_input_tokens":600,'
                                '"cache_creation_input_tokens":100}',
        },
        INCLUSIVE, (), id="logfire: the vendor's own says beside",
    ),
    pytest.param(
        "opentelemetry.instrumentation.bedrock",
        CLAUDE | {
            "gen_ai.usage.input_tokens": 300, "gen_ai.usage.output_tokens": 100, "gen_ai.usage.total_tokens": 1100,
            "gen_ai.usage.cache_read_input_tokens": 600, "gen_ai.usage.cache_creation_input_tokens": 100,
        },
        INCLUSIVE, ("cache_beside_input: 300 + 700",), id="told by the total",
    ),
    pytest.param(
        "opentelemetry.instrumentation.bedrock",
        CLAUDE | {
            "gen_ai.usage.input_tokens": 300, "gen_ai.usage.output_tokens": 100,
            "gen_ai.usage.cache_read_input_tokens": 600, "gen_ai.usage.cache_creation_input_tokens": 100,
        },
        INCLUSIVE, ("cache_beside_input: 300 + 700",), id="told by more cache than input",
    ),
    pytest.param(
        "opentelemetry.instrumentation.google_genai",
        CLAUDE | {
            "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 30, "gen_ai.usage.total_tokens": 1100,
            "gen_ai.usage.reasoning_tokens": 70,
        },
        Usage(input_tokens=1000, output_tokens=100, reasoning_output_tokens=70),
        ("reasoning_beside_output: 30 + 70",), id="reasoning beside output, told by the total",
    ),
    pytest.param(
        "opentelemetry.instrumentation.genai.openai",
        CLAUDE | {
            "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 100,
            "gen_ai.usage.reasoning.output_tokens": 70,
        },
        Usage(input_tokens=1000, output_tokens=100, reasoning_output_tokens=70), (), id="reasoning inside output",
    ),
    pytest.param(
        "langsmith",
        {"langsmith.span.kind": "llm", "gen_ai.operation.name": "chat", "gen_ai.system": "anthropic",
         "gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.usage.total_tokens": 1100,
         "gen_ai.usage.input_token_details":
             "{'cache_read': 600, 'cache_creation': 0, 'ephemeral_5m_input_tokens': 60, "
             "'ephemeral_1h_input_tokens': 40}"} | USED,
        Usage(input_tokens=1000, output_tokens=100, cache_read_input_tokens=600, cache_write_input_tokens=100,
              cache_writes={"5m": 60, "1h": 40}),
        (), id="langchain: writes by lifetime, 0 as their sum",
    ),
    pytest.param(
        "langsmith",
        {"langsmith.span.kind": "llm", "gen_ai.operation.name": "chat", "gen_ai.system": "anthropic",
         "gen_ai.request.model": "claude-sonnet-4-5", "gen_ai.usage.total_tokens": 1100,
         "gen_ai.usage.input_token_details":
             "{'cache_read': 600, 'cache_creation': 100, 'ephemeral_5m_input_tokens': 0, "
             "'ephemeral_1h_input_tokens': 0}"} | USED,
        INCLUSIVE, (), id="langchain: zero of each lifetime beside a sum",
    ),
    pytest.param(
        "opentelemetry.instrumentation.google_genai",
        CLAUDE | {
            "gen_ai.usage.input_tokens": 1000, "gen_ai.usage.output_tokens": 30, "gen_ai.usage.total_tokens": 1100,
        },
        Usage(input_tokens=1000, output_tokens=100),
        (
            "total_mismatch: total is 1100, input and output are 1000 and 30; "
            "the rest of 70 is counted in output_tokens",
        ),
        id="a total that the parts do not reach",
    ),
    pytest.param(
        "opentelemetry.instrumentation.bedrock",
        CLAUDE | {
            "gen_ai.usage.input_tokens": 300, "gen_ai.usage.output_tokens": 30, "gen_ai.usage.total_tokens": 1100,
            "gen_ai.usage.cache_read_input_tokens": 600, "gen_ai.usage.cache_creation_input_tokens": 100,
        },
        INCLUSIVE,
        (
            "cache_beside_input: 300 + 700",
            "total_mismatch: total is 1100, input and output are 1000 and 30; "
            "the rest of 70 is counted in output_tokens",
        ),
        id="not even with the cache beside",
    ),
    pytest.param(
        "openinference.instrumentation.openai",
        CLAUDE | {"llm.token_count.prompt": 0, "llm.token_count.completion": 100, "llm.token_count.total": 1100},
        WHOLE,
        ("total_mismatch: total is 1100, input and output are 0 and 100; the rest of 1000 is counted in input_tokens",),
        id="zero input beside a total",
    ),
    pytest.param(
        "openinference.instrumentation.openai",
        CLAUDE | {"llm.token_count.prompt": 1000, "llm.token_count.total": 1100},
        WHOLE, (), id="no output, but a total",
    ),
    pytest.param(
        "openinference.instrumentation.openai",
        CLAUDE | {"llm.token_count.completion": 100, "llm.token_count.total": 1100},
        WHOLE, (), id="no input, but a total",
    ),
    pytest.param(
        "opentelemetry.instrumentation.genai.openai",
        CLAUDE | USED | {"gen_ai.usage.total_tokens": 1000},
        WHOLE, ("total_mismatch: total is 1000, input and output are 1000 and 100",), id="a total below its parts",
    ),
    pytest.param(
        "openlit.otel.tracing",
        CLAUDE | {
            "gen_ai.usage.input_tokens": 300, "gen_ai.usage.output_tokens": 100, "gen_ai.usage.total_tokens": 400,
            "gen_ai.usage.cache_read.input_tokens": 600, "gen_ai.usage.cache_creation.input_tokens": 100,
        },
        INCLUSIVE, (), id="a total that leaves out the cache beside",
    ),
]  # fmt: skip
