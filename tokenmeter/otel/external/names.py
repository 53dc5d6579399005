"""Tables: the attribute names by which instrumentations state the facts and the usage of a call.

The names come from spans that the packages made and from their source code: the official GenAI instrumentations
1.3b0, OpenLLMetry 0.62, OpenInference 0.1.72, OpenLIT 1.45, Logfire 5.2, LangSmith 0.15, Anthropic's SDK 2.12, and
Vercel's AI SDK 4 to 7. Another instrumentation is more rows here, and its scope in `semconv.GENAI_SCOPES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from tokenmeter.otel import semconv

__all__ = ["CACHE_BESIDE", "NAMES", "PROVIDERS", "SPOKEN_BY_OTHERS", "USAGE_ELSEWHERE", "WITHIN", "Beside"]

NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "site": (semconv.SITE,),
    "provider": (
        semconv.PROVIDER, "gen_ai.system", "llm.provider", "ai.model.provider",
        "langsmith.metadata.ls_provider", "llm.system",
    ),
    "address": (
        semconv.SERVER_ADDRESS, "gen_ai.openai.api_base", "llm.openai.api_base", "openai.api_base", "url.full",
    ),
    "port": (semconv.SERVER_PORT,),
    "region": (semconv.REGION,),
    "request_model": (
        semconv.REQUEST_MODEL, "llm.request.model_name", "ai.model.id", "llm.model_name", "embedding.model_name",
        "reranker.model_name", "langsmith.metadata.ls_model_name",
    ),
    "response_model": (semconv.RESPONSE_MODEL, "ai.response.model", "llm.response.model_name"),
    "response_id": (semconv.RESPONSE_ID, "ai.response.id"),
    "finish_reasons": (
        semconv.FINISH_REASONS, "llm.finish_reason", "ai.response.finishReason", "anthropic.message.stop_reason",
    ),
    "service_tier": (
        "openai.response.service_tier", "gen_ai.openai.response.service_tier", "gen_ai.response.service_tier",
        "anthropic.response.service_tier",
    ),
    "stream": (semconv.REQUEST_STREAM, "gen_ai.is_streaming", "llm.is_streaming", "langsmith.request.streaming"),
    "time_to_first_chunk": (semconv.TIME_TO_FIRST_CHUNK, "gen_ai.client.operation.time_to_first_chunk"),
    "error_type": (semconv.ERROR_TYPE,),
    "raw": ("gen_ai.usage.raw",),
    "total_tokens": (
        "gen_ai.usage.total_tokens", "llm.token_count.total", "ai.usage.totalTokens", "llm.usage.total_tokens",
    ),
    "input_tokens": (
        semconv.USAGE["input_tokens"], "llm.token_count.prompt", "ai.usage.inputTokens", "ai.usage.promptTokens",
        "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens", "ai.usage.tokens",
    ),
    "output_tokens": (
        semconv.USAGE["output_tokens"], "llm.token_count.completion", "ai.usage.outputTokens",
        "ai.usage.completionTokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens",
    ),
    "cache_read_input_tokens": (
        semconv.USAGE["cache_read_input_tokens"], "llm.token_count.prompt_details.cache_read",
        "llm.token_count.prompt_details.cache_input", "ai.usage.inputTokenDetails.cacheReadTokens",
        "ai.usage.cachedInputTokens", "gen_ai.usage.cache_read_input_tokens", "gen_ai.usage.input_tokens.cached",
        "gen_ai.usage.details.cache_read_tokens", "gen_ai.usage.details.cache_read_input_tokens",
    ),
    "cache_write_input_tokens": (
        semconv.CACHE_WRITE_CURRENT, semconv.CACHE_WRITE_WIDELY_READ, "llm.token_count.prompt_details.cache_write",
        "ai.usage.inputTokenDetails.cacheWriteTokens", "gen_ai.usage.cache_creation_input_tokens",
        "gen_ai.usage.input_tokens.cache_write", "gen_ai.usage.details.cache_write_tokens",
        "gen_ai.usage.details.cache_creation_input_tokens",
    ),
    "cache_writes.5m": ("anthropic.usage.cache_creation.ephemeral_5m_input_tokens",),
    "cache_writes.1h": ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens",),
    "reasoning_output_tokens": (
        semconv.USAGE["reasoning_output_tokens"], "llm.token_count.completion_details.reasoning",
        "ai.usage.outputTokenDetails.reasoningTokens", "ai.usage.reasoningTokens", "gen_ai.usage.reasoning_tokens",
        "llm.usage.reasoning_tokens", "gen_ai.usage.output_tokens.reasoning", "gen_ai.usage.details.reasoning_tokens",
    ),
    "audio_input_tokens": (
        semconv.MODALITY_USAGE["audio_input_tokens"], "llm.token_count.prompt_details.audio",
    ),
    "audio_output_tokens": (
        semconv.MODALITY_USAGE["audio_output_tokens"], "llm.token_count.completion_details.audio",
        "gen_ai.usage.completion_tokens_details.audio",
    ),
    "image_input_tokens": (semconv.MODALITY_USAGE["image_input_tokens"],),
    "image_output_tokens": (semconv.MODALITY_USAGE["image_output_tokens"],),
}  # fmt: skip
"""Fact or token field -> the attributes that state it, most trusted first."""

WITHIN: Final[Mapping[str, tuple[tuple[tuple[str, ...], str], ...]]] = {
    "ai.response.providerMetadata": (
        (("anthropic", "cacheCreationInputTokens"), "cache_write_input_tokens"),
        (("bedrock", "usage", "cacheWriteInputTokens"), "cache_write_input_tokens"),
    ),
    "gen_ai.usage.input_token_details": (
        (("cache_read",), "cache_read_input_tokens"),
        (("cache_creation",), "cache_write_input_tokens"),
        (("ephemeral_5m_input_tokens",), "cache_writes.5m"),
        (("ephemeral_1h_input_tokens",), "cache_writes.1h"),
        (("audio",), "audio_input_tokens"),
    ),
    "gen_ai.usage.output_token_details": (
        (("reasoning",), "reasoning_output_tokens"),
        (("audio",), "audio_output_tokens"),
    ),
}
"""Attribute that holds an object as text -> path in it and token field, for counts that no attribute states."""


class Beside(NamedTuple):
    """Spans whose input excludes cached tokens: of this scope, for these providers, unless an attribute is present."""

    scope: str
    providers: frozenset[str]
    unless: str | None = None


CACHE_BESIDE: Final = (
    Beside("openlit", frozenset({"anthropic", "aws-bedrock"})),
    # The AI SDK 6 made its input whole and added the parts.
    Beside("ai", frozenset({"anthropic", "aws-bedrock"}), unless="ai.usage.inputTokenDetails.noCacheTokens"),
)

PROVIDERS: Final[Mapping[str, str]] = {
    "az.ai.openai": "azure-openai",
    "az.ai.inference": "azure-ai-foundry",
    "google.vertex": "google-vertex",
    "vertex_ai": "google-vertex",
    "vertexai": "google-vertex",
}
"""Provider name of an instrumentation -> provider id, where the catalog has no such name."""

SPOKEN_BY_OTHERS: Final = frozenset({"openai", "anthropic"})
"""Providers whose API others copy: their name on a span to an unknown host names the SDK, not who bills."""

USAGE_ELSEWHERE: Final = frozenset({"logfire"})
"""Scopes that put the usage of a stream on a second span: the first, without usage, is no call of its own."""
