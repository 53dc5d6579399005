"""Translates the sources' names of conditions, kinds and units into the book's.

Tables only, and two readers of them: `conditions_of` reads a fact's condition into the book's condition names, and
`components_of` its kind and unit into components. What neither can translate comes back as the reason the fact is
left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

#: Source prefix -> (family, rank). Trees that copy one another are one family; a higher rank leads a card. The order is
#: how often each agreed with the others in the fact base's own cross-check, CNY and USD alike.
FAMILIES: Final[Mapping[str, tuple[str, int]]] = {
    "lobehub/lobe-chat": ("lobehub", 80),
    "npm model-bank": ("lobehub", 80),
    "metergraph-core": ("metergraph", 78),
    "azure-genai-prices": ("azure-genai-prices", 78),
    "pydantic/genai-prices": ("genai-prices", 64),
    "anomalyco/models.dev": ("models.dev", 72),
    "model-prices": ("models.dev", 73),
    "langfuse/langfuse": ("langfuse", 70),
    "litellm": ("litellm", 66),
    "mlflow==": ("litellm", 65),
    "npm @earendil-works/pi-ai": ("models.dev", 73),
    "npm @oh-my-pi/pi-catalog": ("models.dev", 71),
    "arize-phoenix==": ("litellm", 64),
    "genai-prices==": ("genai-prices", 66),
    "openai-cost-calculator": ("cost-calculator", 78),
    "AgentOps-AI/tokencost": ("litellm", 58),
    "simonw/llm-prices": ("llm-prices", 62),
    "szp2005/llm-prices-cn": ("llm-prices-cn", 56),
    "skyan/llm-pricing": ("llm-pricing", 54),
    "desirecore/config-center": ("config-center", 50),
    "langgenius/dify-official-plugins": ("dify", 40),
    "langgenius/dify": ("dify", 40),
    "syaoranwe/LLM-Price": ("llm-price", 44),
    "isaced/llm-price": ("isaced-llm-price", 30),
    "flanker/llmprice.cn": ("llmprice.cn", 32),
    "MartialBE/one-hub": ("one-hub", 20),
    "songquanpeng/one-api": ("one-api", 15),
    "Calcium-Ion/new-api": ("new-api", 10),
}
OTHER_RANK: Final = 60

NOT_A_RATE: Final[Mapping[str, str]] = {
    "subscription": "a subscription, not a rate of calls",
    "token_pack": "a prepaid pack: it changes what is paid, not the list cost",
    "free_quota": "a grant: it changes what is paid, not the list cost",
    "training": "a training price, not a rate of calls",
    "training_minimum": "a training price, not a rate of calls",
    "training_flat_fee": "a training price, not a rate of calls",
    "dedicated_compute": "dedicated compute, not a rate of calls",
    "provisioned_tpm": "provisioned throughput, not a rate of calls",
    "observed_bill": "one developer's bill, not a price",
    "input_or_output": "a press figure for no vendor",
    "account_multiplier": "a discount of one kind of account: an overlay's business, not the list's",
}

#: What catalogs write before a cloud's id -> the condition it is, by the name of its group.
ROUTES: Final[Mapping[str, tuple[re.Pattern[str], ...]]] = {
    "aws-bedrock": (
        re.compile(r"(?P<region>(?:us|eu|ap|sa|ca|me|af|il|mx|us-gov)-[a-z]+-\d)/(?!\d+-month)"),
        re.compile(r"invoke/"),
        re.compile(r"regional\."),  # a catalog's name for the price in one region, which the bare id has
    ),
    "fireworks": (re.compile(r"accounts/fireworks/models/(?=.)"),),
    "azure-openai": (re.compile(r"(?P<deployment>eu|us)/"), re.compile(r"global(-standard)?/")),
}
#: What catalogs list under a cloud and is billed otherwise -> why it is no rate of calls.
NOT_AN_ID: Final[Mapping[str, Mapping[re.Pattern[str], str]]] = {
    "aws-bedrock": {
        re.compile(r"/\d+-month-commitment/"): "provisioned throughput, not a rate of calls",
        re.compile(r"^claude_platform/"): "a catalog's name for Anthropic's own platform: no id of Bedrock",
    },
}

_KINDS: Final[Mapping[str, tuple[str, ...]]] = {
    "embedding_input": ("input",),
    "rerank_input": ("input",),
    "reasoning_output": ("reasoning_output",),
    "input_and_output": ("input", "output"),
    "cache_create": ("cache_write",),
    "video_generation": ("video_tokens",),
}
#: (kind, unit) of what is not counted in tokens -> (component, what brings the price to the component's own `per`)
_QUANTITIES: Final[Mapping[tuple[str, str], tuple[str, int | Decimal]]] = {
    ("image_generation", "per_image"): ("images", 1),
    ("video_generation", "per_second"): ("video_seconds", 1),
    ("video_generation", "per_video"): ("videos", 1),
    ("audio_input", "per_second"): ("audio_seconds", 1),
    ("audio_output", "per_second"): ("output_audio_seconds", 1),
    ("image_input", "per_image"): ("input_images", 1),
    ("input", "per_1k_chars"): ("characters", 1),
    ("input", "per_1m_chars"): ("characters", Decimal("0.001")),
    ("output", "per_1k_chars"): ("output_characters", 1),
    ("web_search", "per_call"): ("web_search", 1_000),
    ("web_search", "per_1k_calls"): ("web_search", 1),
    ("request", "per_1k_requests"): ("request", 1),
    ("rerank_query", "per_call"): ("rerank", 1_000),
    ("ocr", "per_1k_pages"): ("pages", 1),
    ("cache_call", "per_call"): ("cache_hit", 1),
    ("cache_storage", "per_1m_tokens_hour"): ("cache_storage", 1),
    ("cache_storage", "per_1m_tokens_minute"): ("cache_storage_minutes", 1),
}
#: Conditions that only say where or why a figure was printed.
_REMARKS: Final = re.compile(
    r"gateway ratio table|^free|^price before|^implied by|^1 CNY buys|^press|^-\d|^standard hours|^all tokens of|"
    r"^DeepSeek-V3 launch promotion|^storage free|^input and output$|^promotion, at least|^plus model tokens|"
    r"^implicit cache creation|^only this model|^20% off|^US regional endpoint"
)
_PEAK: Final = re.compile(r"^(peak|off_peak).*CN public holidays")
_NIGHT: Final = re.compile(r"^off_peak (00:30-08:30|16:30-00:30)|^16:30-00:30 UTC|^other hours$")
#: OpenAI answers to both names; `|` parts the names of one condition.
PRIORITY: Final = "fast|priority"
_TIERS: Final[Mapping[str, str]] = {"flex": "flex", "fast": "fast", "ultrafast": "ultrafast", "priority": "priority"}


def family_of(source: str) -> str:
    """The family of sources this one belongs to."""
    for prefix, (family, _) in FAMILIES.items():
        if source.startswith(prefix):
            return family
    return "vendor-notes"


def rank_of(source: str) -> int:
    """How much a source is trusted where two disagree."""
    for prefix, (_, rank) in FAMILIES.items():
        if source.startswith(prefix):
            return rank
    return OTHER_RANK


def conditions_of(raw: Mapping[str, Any]) -> dict[str, str] | str:
    """A fact's condition in the book's names, or the reason it cannot be translated."""
    text = raw["condition"] or ""
    if not text or _REMARKS.search(text):
        return {}
    if match := _PEAK.match(text):
        return {"window": "peak"} if match[1] == "peak" else {}
    if _NIGHT.match(text):
        return {"window": "night"}
    if text.startswith("UTC 00:30"):
        return {}
    if text.startswith("14:00-00:00 UTC"):
        return {"window": "night"}
    if "LoRA" in text or text == "fine-tuned":
        return {"tuned": "true"}
    if text.endswith("; excludes long context"):
        return {"service_tier": PRIORITY}
    answer: dict[str, str] = {}
    for part in text.split(";"):
        if reason := _one_condition(part.strip(), answer, raw):
            return reason
    return answer


def _one_condition(part: str, answer: dict[str, str], raw: Mapping[str, Any]) -> str | None:
    name, _, value = part.partition("=")
    if name in ("service_tier in flex", "service_tier in fast,priority"):
        answer["service_tier"] = "flex" if name.endswith("flex") else PRIORITY
    elif name == "mode" and value == "batch":
        answer["batch"] = "true"
    elif name == "mode" and value == "thinking":
        answer["thinking"] = "true"
    elif name == "mode" and value in _TIERS:
        # OpenAI's fast and priority are one tier: the figures are the same. Elsewhere fast is a speed of its own.
        if value == "fast" and raw["vendor"] != "openai":
            answer["speed"] = "fast"
        else:
            answer["service_tier"] = PRIORITY if value == "fast" else _TIERS[value]
    elif name == "service_tier":
        fast = raw["vendor"] == "openai" and value in ("fast", "priority")
        answer["service_tier"] = PRIORITY if fast else value.partition(",")[0]
    elif part in ("speed=fast", "speed in fast"):
        answer["speed"] = "fast"
    elif part == "thinking=false":
        pass  # the base price
    elif name in ("thinking", "ttl", "quality", "size", "resolution", "search_context_size", "tuned") or name in (
        "audio_input_tokens",
        "image_input_tokens",
        "video_input_tokens",
    ):
        answer[name] = value
    elif name == "region":
        answer["region"] = value.partition(" ")[0]
    elif name == "deployment":
        if value != "global":  # the base list
            answer["deployment"] = "data_zone" if value in ("eu", "us") else value
    elif name == "channel":
        answer["channel"] = value
    elif part == "context=long":
        answer["context"] = "long"
    elif part == "search_context_size_medium":
        pass  # the size a search has when none is asked for
    elif name == "generateAudio":
        answer["with_audio"] = value
    else:
        return f"condition not understood: {raw['condition']}"
    return None


def components_of(
    raw: Mapping[str, Any], when: Mapping[str, str]
) -> list[tuple[str, int | Decimal, dict[str, str]]] | str:
    """What a fact prices: (component, factor to its `per`, conditions left), or the reason it cannot be translated."""
    kind, unit, rest = raw["kind"], raw["unit"], dict(when)
    if kind.startswith("batch_") and not kind.endswith(("multiplier", "rule")):
        kind, rest["batch"] = kind.removeprefix("batch_"), "true"
    if kind.endswith(("_multiplier", "_rule")):
        return "a multiplier: stated once for the list, or by the prices it yields"
    if (kind, unit) in _QUANTITIES:
        name, factor = _QUANTITIES[kind, unit]
        return [(name, factor, rest)]
    if unit != "per_1m_tokens":
        return f"no component is counted {unit.replace('_', ' ')} for {kind}"
    ttl = rest.pop("ttl", None)
    if kind == "cache_write" and ttl:
        return [(f"cache_write_{ttl}", 1, rest)]
    return [(name, 1, rest) for name in _KINDS.get(kind, (kind,))]
