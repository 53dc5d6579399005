"""Reads model-bank's modules (lobehub's catalog): one JavaScript file per provider, prices per million tokens."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tools.price_book.sources.js_literals import COMPUTED, constants
from tools.price_book.sources.reading import (
    Found,
    Reading,
    SourceError,
    edges,
    joined,
    known_columns,
    known_currency,
    number,
    table_of,
    written,
)
from tools.price_book.sources.vendors import MODEL_BANK

_KINDS: Final[Mapping[str, str]] = {
    "textInput": "input", "textOutput": "output", "textInput_cacheRead": "cache_read",
    "textInput_cacheWrite": "cache_write", "audioInput": "audio_input", "audioOutput": "audio_output",
}  # fmt: skip
#: Prices that are known and are none of text or speech.
_OTHER: Final = frozenset(
    {"imageInput", "imageOutput", "imageGeneration", "imageInput_cacheRead", "videoInput", "videoGeneration",
     "audioInput_cacheRead"}
)  # fmt: skip
_PRICING: Final = frozenset({"units", "currency", "approximatePricePerImage"})
_UNIT: Final = frozenset({"name", "strategy", "unit", "rate", "lookup", "tiers"})
_LENGTHS: Final[Mapping[str, str]] = {
    "textInput": "input", "textInputRange": "input", "textOutput": "output", "textOutputRange": "output"
}  # fmt: skip
_RANGE: Final = re.compile(r"\[([\d.]+), ([\d.]+|infinity)\]")
_MILLION: Final = 1_000_000

#: A price with its tier and condition.
_Price = tuple[Decimal, tuple[tuple[str, int], ...], str | None]


def read(path: Path) -> Found:
    """Every price of text and speech of the providers that the book knows; `path` is the folder. Raises SourceError."""
    files = sorted(path.glob("*.mjs"))
    if not files:
        raise SourceError(f"{path.name} has no modules of models: the source has moved")
    elsewhere: Counter[str] = Counter()
    readings: list[Reading] = []
    for file in files:
        models = list(_models(file.read_text(encoding="utf-8")))
        vendor = MODEL_BANK.get(file.stem)
        if vendor is None:
            if models:
                elsewhere[file.stem] = len(models)
            continue
        if not models:
            raise SourceError(f"{file.name} has no models: the source has another shape now")
        for model in models:
            readings += _prices(vendor, model["id"], table_of(model["pricing"], f"the pricing of {model['id']}"))
    return Found(tuple(readings), elsewhere)


def _models(text: str) -> Iterator[Mapping[str, Any]]:
    for value in constants(text).values():
        for model in value if isinstance(value, list) else ():
            if isinstance(model, dict) and "pricing" in model:
                yield model


def _prices(vendor: str, model: str, pricing: Mapping[str, Any]) -> Iterator[Reading]:
    known_columns(pricing, _PRICING, f"the pricing of {model}")
    currency = known_currency(pricing.get("currency", "USD"), model)
    for unit in pricing.get("units", ()):
        known_columns(unit, _UNIT, f"a price of {model}")
        name = unit["name"]
        if name not in _KINDS and name not in _OTHER:
            raise SourceError(f"the pricing of {model} has a new column, {name!r}")
        if name in _OTHER or unit["unit"] != "millionTokens" or _computed(unit):
            continue
        kind = _KINDS[name]
        if kind == "cache_write" and vendor.startswith("google"):
            continue  # there it is the storage of an explicit cache by the hour
        for price, tier, condition in _by_strategy(unit, f"{name} of {model}"):
            lasts = written(model) if kind == "cache_write" and "ttl=" not in (condition or "") else None
            yield Reading(vendor, model, kind, price, tier, joined(lasts, condition), currency)


def _computed(value: Any) -> bool:
    """Whether any part is computed when the module is run: the price then stays unknown as a whole."""
    if isinstance(value, dict):
        return any(_computed(part) for part in value.values())
    return any(map(_computed, value)) if isinstance(value, list) else value is COMPUTED


def _by_strategy(unit: Mapping[str, Any], what: str) -> Iterator[_Price]:
    if unit["strategy"] == "fixed":
        yield number(unit["rate"], what), (), None
    elif unit["strategy"] == "tiered":
        ends = [_end(tier["upTo"]) for tier in unit["tiers"]]
        for tier, above, end in zip(unit["tiers"], [0, *ends], ends, strict=False):
            yield number(tier["rate"], what), _between("input", above or 0, end), None
    elif unit["strategy"] == "lookup":
        lookup = unit["lookup"]
        for key, price in table_of(lookup["prices"], what).items():
            tier, condition = _looked_up(key, lookup["pricingParams"], what)
            yield number(price, what), tier, condition
    else:
        raise SourceError(f"{what} has a strategy of its own, {unit['strategy']!r}: the source has another shape now")


def _looked_up(key: str, names: list[str], what: str) -> tuple[tuple[tuple[str, int], ...], str | None]:
    """The tier and the condition of a key such as `[0, 0.032]_[0.0002, infinity]`, its edges in millions of tokens."""
    tier: tuple[tuple[str, int], ...] = ()
    conditions: list[str] = []
    for part, name in zip(key.split("_"), names, strict=False):
        length, bounds, value = _LENGTHS.get(name), _RANGE.fullmatch(part), part.strip("[]")
        if length and bounds:
            low = int(Decimal(bounds[1]) * _MILLION)
            end = None if bounds[2] == "infinity" else int(Decimal(bounds[2]) * _MILLION)
            tier += _between(length, low, end)
        elif name == "ttl" and value in ("5m", "1h"):
            conditions.append(f"ttl={value}")
        elif name == "thinkingMode" and value in ("true", "false"):
            conditions.append(f"thinking={value}")
        else:
            raise SourceError(f"{what} has a new column, {name!r} with {part!r}")
    return tier, joined(*conditions)


def _between(length: str, above: int, end: int | None) -> tuple[tuple[str, int], ...]:
    low = edges(above, long=True) if above else ()
    tier = (*low, *edges(end, long=False))
    return tuple((name.replace("input", length, 1), edge) for name, edge in tier)


def _end(value: Any) -> int | None:
    return None if value == "infinity" else int(value)
