"""Which provider of the book each source means by its own names. A name that is not here is counted, and no price."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

LITELLM: Final[Mapping[str, str]] = {
    "openai": "openai", "text-completion-openai": "openai", "anthropic": "anthropic", "gemini": "google",
    "azure": "azure-openai", "azure_text": "azure-openai", "azure_ai": "azure-openai", "bedrock": "aws-bedrock",
    "bedrock_converse": "aws-bedrock", "bedrock_mantle": "aws-bedrock", "deepseek": "deepseek",
    "dashscope": "alibaba-intl", "moonshot": "moonshot-intl", "minimax": "minimax-intl", "zai": "zai", "xai": "xai",
    "mistral": "mistral", "codestral": "mistral", "cohere": "cohere", "cohere_chat": "cohere", "groq": "groq",
    "cerebras": "cerebras", "fireworks_ai": "fireworks", "perplexity": "perplexity", "voyage": "voyage",
    "jina_ai": "jina", "ai21": "ai21", "meta_llama": "meta", "vertex_ai": "google-vertex",
    "text-completion-codestral": "mistral", "fireworks_ai-embedding-models": "fireworks", "together_ai": "together",
    "deepinfra": "deepinfra", "novita": "novita", "nebius": "nebius", "sambanova": "sambanova", "baseten": "baseten",
    "databricks": "databricks", "github_copilot": "github-copilot", "vercel_ai_gateway": "vercel",
    "cloudflare": "cloudflare", "watsonx": "watsonx", "streamlake": "kuaishou-streamlake", "tencent": "tencent-intl",
    "amazon_nova": "amazon-nova", "meta": "meta", "openrouter": "openrouter",
}  # fmt: skip
MLFLOW: Final[Mapping[str, str]] = LITELLM
GENAI_PRICES: Final[Mapping[str, str]] = {
    "anthropic": "anthropic", "aws": "aws-bedrock", "azure": "azure-openai", "cerebras": "cerebras",
    "cohere": "cohere", "deepseek": "deepseek", "fireworks": "fireworks", "google": "google", "groq": "groq",
    "minimax": "minimax-intl", "mistral": "mistral", "moonshotai": "moonshot-intl", "openai": "openai",
    "perplexity": "perplexity", "voyageai": "voyage", "x-ai": "xai", "zai": "zai", "openrouter": "openrouter",
    "novita": "novita", "together": "together", "cloudflare": "cloudflare", "github-copilot": "github-copilot",
    "baseten": "baseten", "databricks": "databricks", "meta": "meta",
}  # fmt: skip
COST_CALCULATOR: Final[Mapping[str, str]] = {
    "gemini": "google", "vertex": "google-vertex", "bedrock": "aws-bedrock", "anthropic": "anthropic",
    "mistral": "mistral", "deepseek": "deepseek", "groq": "groq", "azure": "azure-openai", "openai": "openai",
    "fireworks": "fireworks", "openrouter": "openrouter", "deepinfra": "deepinfra", "together": "together",
}  # fmt: skip
#: models.dev's names, which the packages made from it keep.
MODELS_DEV: Final[Mapping[str, str]] = {
    "openai": "openai", "anthropic": "anthropic", "google": "google", "google-vertex": "google-vertex", "xai": "xai",
    "mistral": "mistral", "deepseek": "deepseek", "alibaba": "alibaba-intl", "moonshotai": "moonshot-intl",
    "minimax": "minimax-intl", "zai": "zai", "groq": "groq", "cerebras": "cerebras", "cohere": "cohere",
    "perplexity": "perplexity", "ai21": "ai21", "meta": "meta", "upstage": "upstage", "stepfun-ai": "stepfun-intl",
    "fireworks-ai": "fireworks", "fireworks": "fireworks", "amazon-bedrock": "aws-bedrock", "azure": "azure-openai",
    "longcat": "meituan-longcat", "byteplus": "byteplus", "xiaomi": "xiaomi", "ant-ling": "antgroup",
    "openrouter": "openrouter", "together": "together", "deepinfra": "deepinfra", "novita": "novita",
    "baseten": "baseten", "venice": "venice", "github-copilot": "github-copilot", "vercel-ai-gateway": "vercel",
    "cloudflare-workers-ai": "cloudflare", "nova": "amazon-nova", "moonshot": "moonshot-intl",
}  # fmt: skip
PHOENIX: Final[Mapping[str, str]] = {
    "cerebras": "cerebras", "groq": "groq", "meta": "meta", "minimax": "minimax-intl", "mistralai": "mistral",
    "zai": "zai",
}  # fmt: skip
#: phoenix leaves most providers unnamed: the model's name tells. Bedrock's names (`us.openai.…`, `…-v1:0`) stay apart.
PHOENIX_NAMES: Final[Mapping[re.Pattern[str], str]] = {
    re.compile(r"(?:chatgpt|gpt|o\d)-|o\d$"): "openai",
    re.compile(r"claude-(?!.*-v\d+:\d+$)"): "anthropic",
    re.compile(r"gemini-"): "google",
    re.compile(r"moonshot/"): "moonshot-intl",
    re.compile(r"perplexity/"): "perplexity",
}
#: model-bank's files: the vendor's own platform each, in its own currency.
MODEL_BANK: Final[Mapping[str, str]] = {
    "ai360": "360", "antgroup": "antgroup", "anthropic": "anthropic", "baichuan": "baichuan",
    "bedrock": "aws-bedrock", "cerebras": "cerebras", "cohere": "cohere", "deepseek": "deepseek", "google": "google",
    "groq": "groq", "hunyuan": "tencent", "infiniai": "infiniai", "longcat": "meituan-longcat",
    "minimax": "minimax", "mistral": "mistral", "moonshot": "moonshot", "openai": "openai", "qiniu": "qiniu",
    "qwen": "alibaba", "sensenova": "sensetime", "siliconcloud": "siliconflow", "stepfun": "stepfun",
    "streamlake": "kuaishou-streamlake", "taichu": "taichu", "vertexai": "google-vertex",
    "volcengine": "volcengine", "wenxin": "baidu", "xai": "xai", "xiaomimimo": "xiaomi", "zhipu": "zhipu",
}  # fmt: skip
