"""Reads openai-cost-calculator's JSON files, which hold vendors' pages and the price lists of AWS and Azure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from tools.price_book.sources.reading import (
    Found,
    Reading,
    SourceError,
    edges,
    joined,
    known_columns,
    known_currency,
    load_json,
    number,
    table_of,
    written,
)
from tools.price_book.sources.vendors import COST_CALCULATOR

_KINDS: Final[Mapping[str, str]] = {
    "input": "input", "output": "output", "cached_input": "cache_read", "cache_write": "cache_write",
    "cache_write_1h": "cache_write", "reasoning": "reasoning_output", "input_audio": "audio_input",
    "output_audio": "audio_output",
}  # fmt: skip
_RATES: Final = frozenset({*_KINDS, "web_search", "input_image", "output_image", "cached_input_audio"})
_MODES: Final = {"batch": "mode=batch", "flex": "service_tier=flex", "priority": "service_tier=priority"}
_ROW: Final = frozenset({"rates", "conditions", "min_input_tokens", "effective_from", "effective_until"})


def read(path: Path) -> Found:
    """Every price of text without a region of its own; `path` is the folder. Raises SourceError."""
    files = sorted(path.glob("*.json"))
    if not files:
        raise SourceError(f"{path.name} has no price files: the source has moved")
    elsewhere: dict[str, int] = {}
    readings: list[Reading] = []
    for file in files:
        table = table_of(load_json(file), file.name)
        models = table.get("models")
        if not isinstance(models, list):
            raise SourceError(f"{file.name} has no models: the source has another shape now")
        vendor = COST_CALCULATOR.get(file.stem)
        if vendor is None:
            elsewhere[file.stem] = len(models)
            continue
        currency = known_currency(table.get("currency"), file.name)
        for row in models:
            readings += _prices(vendor, row["id"], row["prices"], currency)
    return Found(tuple(readings), elsewhere)


def _prices(vendor: str, model: str, rows: list[Mapping[str, Any]], currency: str) -> Iterator[Reading]:
    plain = [row for row in rows if not {"effective_from", "effective_until"} & row.keys()]
    ends: dict[str | None, int] = {}  # where the first tier of each mode ends
    for row in plain:
        if row.get("min_input_tokens"):
            ends[(row.get("conditions") or {}).get("service_tier")] = int(row["min_input_tokens"]) - 1
    for row in rows:
        known_columns(row, _ROW, f"a price of {model}")
        known_columns(row["rates"], _RATES, f"the rates of {model}")
        conditions = row.get("conditions") or {}
        mode = conditions.get("service_tier")
        if row not in plain or set(conditions) - {"service_tier"} or (mode and mode not in _MODES):
            continue  # of a region, a window or other days: the book's rules have those
        long = bool(row.get("min_input_tokens"))
        for name, price in row["rates"].items():
            kind = _KINDS.get(name)
            if kind is None:
                continue
            life = written(model, "1h" if name.endswith("1h") else None) if kind == "cache_write" else None
            tier = edges(ends.get(mode), long=long)
            amount = number(price, f"{name} of {model}")
            yield Reading(vendor, model, kind, amount, tier, joined(life, _MODES.get(mode or "")), currency)
