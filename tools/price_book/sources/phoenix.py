"""Reads phoenix's `model_cost_manifest.json`: prices per token, most of them taken from litellm, some set by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tools.price_book.sources.reading import (
    Found,
    Reading,
    SourceError,
    edges,
    known_columns,
    load_json,
    number,
    table_of,
    written,
)
from tools.price_book.sources.vendors import PHOENIX, PHOENIX_NAMES

#: (type, whether of the prompt) -> kind; None is known and no price of text or speech.
_KINDS: Final[Mapping[tuple[str, bool], str | None]] = {
    ("input", True): "input", ("output", False): "output", ("cache_read", True): "cache_read",
    ("cache_write", True): "cache_write", ("reasoning", False): "reasoning_output", ("audio", True): "audio_input",
    ("audio", False): "audio_output", ("image", True): None, ("image", False): None,
}  # fmt: skip
_COLUMNS: Final = frozenset({"base_rate", "is_prompt", "token_type", "customization"})
_TIER: Final = frozenset({"type", "key", "threshold", "new_rate"})
_MILLION: Final = Decimal(1_000_000)


def read(path: Path) -> Found:
    """Every price of text and speech of the providers that the book knows. Raises SourceError."""
    models = table_of(load_json(path), path.name).get("models")
    if not isinstance(models, list) or not models:
        raise SourceError(f"{path.name} has no models: the source has another shape now")
    elsewhere: Counter[str] = Counter()
    readings: list[Reading] = []
    for row in models:
        vendor = _vendor(row)
        if vendor is None:
            elsewhere[row.get("provider") or "no provider"] += 1
            continue
        model = row["name"].partition("/")[2] or row["name"]
        for price in row["token_prices"]:
            readings += _prices(vendor, model, price)
    return Found(tuple(readings), elsewhere)


def _vendor(row: Mapping[str, Any]) -> str | None:
    if row.get("provider"):
        return PHOENIX.get(row["provider"])
    return next((vendor for form, vendor in PHOENIX_NAMES.items() if form.match(row["name"])), None)


def _prices(vendor: str, model: str, price: Mapping[str, Any]) -> Iterator[Reading]:
    known_columns(price, _COLUMNS, f"a price of {model}")
    what = (price["token_type"], price["is_prompt"])
    if what not in _KINDS:
        raise SourceError(f"a price of {model} has a new column, {price['token_type']!r}")
    kind = _KINDS[what]
    if kind is None:
        return
    life = written(model) if kind == "cache_write" else None
    above, named = None, f"{kind} of {model}"
    if longer := price.get("customization"):
        known_columns(longer, _TIER, f"the tier of {model}")
        if (longer["type"], longer["key"]) != ("threshold_based", "llm.token_count.prompt"):
            raise SourceError(f"{named} has tiers by {longer['key']}: the source has another shape now")
        above = int(longer["threshold"])
        yield Reading(vendor, model, kind, _per_million(longer["new_rate"], named), edges(above, long=True), life)
    yield Reading(vendor, model, kind, _per_million(price["base_rate"], named), edges(above, long=False), life)


def _per_million(rate: Any, what: str) -> Decimal:
    return (number(rate, what) * _MILLION).normalize()
