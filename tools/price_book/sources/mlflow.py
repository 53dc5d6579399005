"""Reads mlflow's model catalog: a JSON file per provider, prices per million tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tools.price_book.sources.reading import (
    Found,
    Reading,
    SourceError,
    day_of,
    edges,
    joined,
    known_columns,
    load_json,
    number,
    table_of,
    written,
)
from tools.price_book.sources.vendors import MLFLOW

_KINDS: Final[Mapping[str, str]] = {
    "input_per_million_tokens": "input",
    "output_per_million_tokens": "output",
    "cache_read_per_million_tokens": "cache_read",
    "cache_write_per_million_tokens": "cache_write",
    "cache_write_1hr_per_million_tokens": "cache_write",
}
_COLUMNS: Final = frozenset({*_KINDS, "service_tiers", "tooling", "long_context", "modality", "threshold_tokens"})
_MODES: Final = {"batch": "mode=batch", "flex": "service_tier=flex", "priority": "service_tier=priority"}


def read(path: Path) -> Found:
    """Every price of text of the providers that the book knows; `path` is the folder. Raises SourceError."""
    files = sorted(path.glob("*.json"))
    if not files:
        raise SourceError(f"{path.name} has no catalog files: the source has moved")
    elsewhere: dict[str, int] = {}
    readings: list[Reading] = []
    for file in files:
        models = table_of(load_json(file), file.name).get("models")
        if not isinstance(models, Mapping):
            raise SourceError(f"{file.name} has no models: the source has another shape now")
        vendor = MLFLOW.get(file.stem)
        if vendor is None:
            elsewhere[file.stem] = len(models)
            continue
        for name, row in models.items():
            since = day_of(row.get("last_updated_at"))
            readings += (replace(one, since=since) for one in _prices(vendor, name, row.get("pricing") or {}))
    return Found(tuple(readings), elsewhere)


def _prices(vendor: str, model: str, pricing: Mapping[str, Any]) -> Iterator[Reading]:
    known_columns(pricing, _COLUMNS, f"the pricing of {model}")
    tiers = pricing.get("long_context") or []
    ends = min((int(tier["threshold_tokens"]) for tier in tiers if "threshold_tokens" in tier), default=None)
    tiered = {name for tier in tiers for name in tier}
    yield from _columns(vendor, model, pricing, lambda name: edges(ends if name in tiered else None, long=False), None)
    for tier in tiers:
        known_columns(tier, _COLUMNS, f"a tier of {model}")
        above = int(tier["threshold_tokens"])
        yield from _columns(vendor, model, tier, lambda _, edge=above: edges(edge, long=True), None)
    for mode, prices in (pricing.get("service_tiers") or {}).items():
        if mode in _MODES:
            known_columns(prices, _COLUMNS, f"{mode} of {model}")
            yield from _columns(vendor, model, prices, lambda _: (), _MODES[mode])


def _columns(vendor: str, model: str, prices: Mapping[str, Any], tier: Any, mode: str | None) -> Iterator[Reading]:
    for name, kind in _KINDS.items():
        if prices.get(name) is not None:
            life = written(model, "1h" if "1hr" in name else None) if kind == "cache_write" else None
            price = number(prices[name], f"{name} of {model}")
            yield Reading(vendor, model, kind, price, tier(name), joined(life, mode))
