"""Reads litellm's `model_prices_and_context_window_backup.json`: prices per token, a column for each condition."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tools.price_book.sources.reading import Found, Reading, SourceError, edges, joined, load_json, number, table_of
from tools.price_book.sources.reading import written as write_condition
from tools.price_book.sources.vendors import LITELLM

_MILLION: Final = Decimal(1_000_000)
_COLUMN: Final = re.compile(
    r"(?P<base>input_cost_per_token|output_cost_per_token|cache_read_input_token_cost|"
    r"cache_creation_input_token_cost|output_cost_per_reasoning_token|input_cost_per_audio_token|"
    r"output_cost_per_audio_token)(?P<life>_above_1hr|_above_12hr)?(?:_above_(?P<above>\d+)k_tokens)?"
    r"(?:_(?P<mode>priority|flex|batches))?"
)
_KINDS: Final[Mapping[str, str]] = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "output_cost_per_reasoning_token": "reasoning_output",
    "input_cost_per_audio_token": "audio_input",
    "output_cost_per_audio_token": "audio_output",
}
_MODES: Final = {"priority": "service_tier=priority", "flex": "service_tier=flex", "batches": "mode=batch"}
#: Columns of prices that are known and are no price of text: other units, and services of litellm's own.
_OTHER: Final = re.compile(
    r"search_context_cost|_per_(image|second|character|query|pixel|page|video|request|session|1k|gb|unit|credit|message|"
    r"text_message|text)|dbu_cost|video_token|image_token|audio_token_cost|_(ultrafast|balanced|decisions)$|cost_per_second|"
    r"off_peak_pricing|citation_cost|cache_hit$|explicit_cache|ocr_cost|annotation_cost|per_audio_per|audio_token_above"
)
_PREFIX: Final = re.compile(
    r"^(openai|anthropic|gemini|vertex_ai|azure|azure_ai|bedrock|bedrock_mantle|deepseek|dashscope|moonshot|minimax|zai|"
    r"xai|mistral|codestral|cohere|groq|cerebras|fireworks_ai|perplexity|voyage|jina_ai|ai21|meta_llama|openrouter|together_ai|deepinfra|novita|nebius|sambanova|"
    r"baseten|databricks|github_copilot|vercel_ai_gateway|cloudflare|watsonx|streamlake|tencent|amazon_nova|meta|"
    r"text-completion-codestral)/"
)


def read(path: Path) -> Found:
    """Every price of text of the providers that the book knows. Raises SourceError."""
    elsewhere: Counter[str] = Counter()
    readings: list[Reading] = []
    for name, row in table_of(load_json(path), path.name).items():
        if name == "sample_spec":
            continue
        provider = table_of(row, name).get("litellm_provider")
        if not isinstance(provider, str):
            elsewhere["no provider"] += 1
            continue
        vendor = LITELLM.get("vertex_ai" if provider.startswith("vertex_ai") else provider)
        if vendor is None:
            elsewhere[provider] += 1
        else:
            readings += _prices(vendor, _PREFIX.sub("", name), row)
    if set(elsewhere) == {"no provider"}:
        raise SourceError(f"no row of {path.name} names a litellm_provider: the source has another shape now")
    return Found(tuple(readings), elsewhere)


def _prices(vendor: str, model: str, row: Mapping[str, Any]) -> Iterator[Reading]:
    columns = {name: match for name in row if (match := _column(model, name))}
    first: dict[tuple[str, ...], int] = {}  # where the first tier of a price ends
    for match in columns.values():
        if match["above"]:
            what = (match["base"], match["life"] or "", match["mode"] or "")
            first[what] = min(first.get(what, 10**9), int(match["above"]) * 1000)
    for name, match in columns.items():
        if row[name] is None:
            continue
        kind = _KINDS[match["base"]]
        above = int(match["above"]) * 1000 if match["above"] else None
        ends = first.get((match["base"], match["life"] or "", match["mode"] or ""))
        life = {"_above_1hr": "1h", "_above_12hr": "12h"}.get(match["life"] or "")
        lasts = write_condition(model, life) if kind == "cache_write" else None
        yield Reading(
            vendor,
            model,
            kind,
            (number(row[name], f"{name} of {model}") * _MILLION).normalize(),
            edges(above, long=True) if above else edges(ends, long=False),
            joined(lasts, _MODES.get(match["mode"] or "")),
        )


def _column(model: str, name: str) -> re.Match[str] | None:
    """A column of a price of text, or None for one of anything else. Raises SourceError for a new kind of price."""
    match = _COLUMN.fullmatch(name)
    if match is None and ("cost" in name or "price" in name) and not _OTHER.search(name):
        raise SourceError(f"{model} has a new column, {name!r}")
    return match
