"""What two spellings of one model share: its key, without a router's prefix, letter case and kinds of separators."""

from __future__ import annotations

import re
from typing import Final

_ROUTERS: Final = (
    "openai/", "anthropic/", "gemini/", "google/", "vertex_ai/", "xai/", "x-ai/", "mistral/", "mistralai/", "deepseek/",
    "deepseek/deepseek/", "azure/", "bedrock/", "dashscope/", "minimax/", "moonshot/", "zai/", "z-ai/", "cohere/",
    "groq/", "perplexity/", "fireworks_ai/", "tencent/", "ai21/", "cerebras/", "voyage/", "jina_ai/", "meta_llama/",
    "bedrock_mantle/", "volcengine/",
)  # fmt: skip
#: Sites where the owner's prefix is part of the id that is billed.
_OWNED: Final = frozenset(
    {
        "siliconflow",
        "groq",
        "fireworks",
        "infiniai",
        "ppio",
        "qiniu",
        "huaweicloud",
        "jdcloud",
        "moorethreads",
        "cerebras",
        "openrouter",
        "together",
        "deepinfra",
        "novita",
        "nebius",
        "sambanova",
        "baseten",
        "vercel",
        "cloudflare",
        "watsonx",
        "venice",
    }
)


def bare(name: str, provider: str) -> str:
    """The name without a router's prefix."""
    if provider in _OWNED:
        return name
    lower = name.lower()
    for prefix in sorted(_ROUTERS, key=len, reverse=True):
        if lower.startswith(prefix):
            return name[len(prefix) :]
    return name


def key_of(name: str, provider: str) -> str:
    """What two spellings of one model share."""
    return re.sub(r"[._\s]+", "-", bare(name, provider).lower()).strip("-")
