"""Dialects of OpenAI's format on the provider server: the shape of each provider's usage and its place in a stream.

One row per provider, under the name used in the server's paths (`/v/moonshot/v1/...`). Shapes and places follow
the providers' documentation or recordings; numbers come from the knobs of the request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["DIALECTS", "Numbers", "ServerDialect", "dialect_of_host"]


@dataclass(frozen=True, slots=True)
class Numbers:
    """The tokens of one answer; totals are inclusive."""

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0

    def so_far(self, sent: int, of: int) -> Numbers:
        """The running count after `sent` of `of` pieces."""
        output = -(-self.output * sent // of) if of else self.output
        return Numbers(self.input, output, self.cached, min(self.reasoning, output))


Shape = Callable[[Numbers], dict[str, Any]]


def _plain(n: Numbers) -> dict[str, Any]:
    return {"prompt_tokens": n.input, "completion_tokens": n.output, "total_tokens": n.input + n.output}


def _openai(n: Numbers) -> dict[str, Any]:
    return {
        **_plain(n),
        "prompt_tokens_details": {"cached_tokens": n.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": n.reasoning, "audio_tokens": 0},
    }


def _deepseek(n: Numbers) -> dict[str, Any]:
    shape = {**_plain(n), "prompt_tokens_details": {"cached_tokens": n.cached}}
    if n.reasoning:
        shape["completion_tokens_details"] = {"reasoning_tokens": n.reasoning}
    return {**shape, "prompt_cache_hit_tokens": n.cached, "prompt_cache_miss_tokens": n.input - n.cached}


def _cached_at_top(n: Numbers) -> dict[str, Any]:
    shape = {**_plain(n), "cached_tokens": n.cached}
    if n.reasoning:
        shape["completion_tokens_details"] = {"reasoning_tokens": n.reasoning}
    return shape


def _details(n: Numbers) -> dict[str, Any]:
    return {
        **_plain(n),
        "prompt_tokens_details": {"cached_tokens": n.cached},
        "completion_tokens_details": {"reasoning_tokens": n.reasoning},
    }


def _ark(n: Numbers) -> dict[str, Any]:
    return {
        **_plain(n),
        "prompt_tokens_details": {"cached_tokens": n.cached, "provisioned_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": n.reasoning, "provisioned_tokens": 0},
    }


def _groq(n: Numbers) -> dict[str, Any]:
    times = {"queue_time": 0.01, "prompt_time": 0.002, "completion_time": 0.05, "total_time": 0.052}
    return {**times, **_plain(n), "prompt_tokens_details": {"cached_tokens": n.cached}}


def _xai(n: Numbers) -> dict[str, Any]:
    # xAI reports reasoning beside the completion; only the total includes both.
    shape = _openai(n)
    shape["completion_tokens"] = n.output - n.reasoning
    return {**shape, "num_sources_used": 0}


def _openrouter(n: Numbers) -> dict[str, Any]:
    return {
        **_openai(n),
        "cost": 0.00012,
        "is_byok": False,
        "cost_details": {"upstream_inference_cost": None},
    }


def _minimax(n: Numbers) -> dict[str, Any]:
    return {**_plain(n), "total_characters": 0, "completion_tokens_details": {"reasoning_tokens": n.reasoning}}


@dataclass(frozen=True, slots=True)
class ServerDialect:
    """One provider's dialect of OpenAI's format.

    `place` is the position of the usage in a stream: `asked` (an extra last chunk with no choices, if
    `stream_options.include_usage`), `extra` (that chunk unasked), `last` (the chunk with the finish reason),
    `choice` (inside that chunk's first choice), `cumulative` (every chunk, a running count).
    """

    name: str
    shape: Shape = _openai
    place: str = "asked"
    base: str = "/v1"
    hosts: tuple[str, ...] = ()
    refuses_stream_options: int | None = None
    visible_reasoning: bool = True
    extra_chunk_if_asked: bool = False
    """On request, also sends the usage in an extra chunk."""
    body: Mapping[str, Any] | None = None
    """Further fields of every body or chunk."""


_ROWS: Final = (
    ServerDialect("openai", hosts=("api.openai.com",), visible_reasoning=False),
    ServerDialect("azure", base="/openai/v1", hosts=("openai.azure.com",), visible_reasoning=False),
    ServerDialect("deepseek", _deepseek, "last", base="", hosts=("api.deepseek.com",)),
    ServerDialect(
        "moonshot", _cached_at_top, "choice", hosts=("api.moonshot.cn", "api.moonshot.ai"), extra_chunk_if_asked=True
    ),
    ServerDialect("zhipu", _details, "last", base="/api/paas/v4", hosts=("open.bigmodel.cn",)),
    ServerDialect("zai", _details, "last", base="/api/paas/v4", hosts=("api.z.ai",)),
    ServerDialect("stepfun", _cached_at_top, "cumulative", hosts=("api.stepfun.com", "api.stepfun.ai")),
    ServerDialect("siliconflow", _details, "cumulative", hosts=("api.siliconflow.cn", "api.siliconflow.com")),
    ServerDialect(
        "dashscope",
        _details,
        base="/compatible-mode/v1",
        hosts=("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"),
    ),
    ServerDialect("ark", _ark, base="/api/v3", hosts=("ark.cn-beijing.volces.com",)),
    ServerDialect("qianfan", _details, base="/v2", hosts=("qianfan.baidubce.com",)),
    ServerDialect("hunyuan", _plain, "cumulative", hosts=("api.hunyuan.cloud.tencent.com",)),
    ServerDialect("minimax", _minimax, hosts=("api.minimax.chat", "api.minimaxi.com", "api.minimax.io")),
    ServerDialect(
        "spark",
        _plain,
        "last",
        hosts=("spark-api-open.xf-yun.com",),
        body={"code": 0, "message": "Success", "sid": "cha000b0001@dx1"},
    ),
    ServerDialect("baichuan", _plain, "last", hosts=("api.baichuan-ai.com",)),
    ServerDialect("yi", _plain, "last", hosts=("api.lingyiwanwu.com",)),
    ServerDialect("groq", _groq, "x_groq", base="/openai/v1", hosts=("api.groq.com",)),
    ServerDialect("xai", _xai, "last", hosts=("api.x.ai",)),
    ServerDialect("mistral", _plain, "last", hosts=("api.mistral.ai",), refuses_stream_options=422),
    ServerDialect("openrouter", _openrouter, "extra", base="/api/v1", hosts=("openrouter.ai",)),
    ServerDialect("together", _plain, hosts=("api.together.xyz",)),
    # The providers below have their own formats, chosen by path; a row gives them a name and a base path.
    ServerDialect("anthropic", base="", hosts=("api.anthropic.com",)),
    ServerDialect("google", base="", hosts=("generativelanguage.googleapis.com", "aiplatform.googleapis.com")),
    ServerDialect("dashscope-native", base="/api/v1"),
    ServerDialect("cohere", base="", hosts=("api.cohere.com", "api.cohere.ai")),
    ServerDialect("ollama", base=""),
    ServerDialect("bedrock", base="", hosts=("amazonaws.com",)),
    ServerDialect("hunyuan-native", base="", hosts=("hunyuan.tencentcloudapi.com",)),
)
DIALECTS: Final[Mapping[str, ServerDialect]] = {row.name: row for row in _ROWS}
_HOSTS: Final = {host: row for row in _ROWS for host in row.hosts}


def dialect_of_host(host: str) -> ServerDialect:
    """The dialect of a provider's own host name, or of the name above it; OpenAI's where none is known."""
    name = host.partition(":")[0].lower()
    while name:
        if name in _HOSTS:
            return _HOSTS[name]
        name = name.partition(".")[2]
    return DIALECTS["openai"]
