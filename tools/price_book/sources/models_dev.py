"""Reads packages made from models.dev: model-prices' snapshot of histories, and the catalogs of pi-ai and oh-my-pi."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
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
from tools.price_book.sources.vendors import MODELS_DEV

_RATES: Final = frozenset(
    {"input", "output", "cache_read", "cache_write", "cache_write_1h_multiple", "source", "valid_from",
     "valid_from_basis", "tiers", "model"}
)  # fmt: skip
_COST: Final = frozenset(
    {"input", "output", "cacheRead", "cacheWrite", "tiers", "inputTokensAbove", "timeBased", "longContext",
     "inputThreshold", "inputThresholdInclusive"}
)  # fmt: skip
_KINDS: Final[Mapping[str, str]] = {
    "input": "input",
    "output": "output",
    "cache_read": "cache_read",
    "cache_write": "cache_write",
    "cacheRead": "cache_read",
    "cacheWrite": "cache_write",
}
_MODES: Final[Mapping[str, str | None]] = {
    "standard": None,
    "batch": "mode=batch",
    "flex": "service_tier=flex",
    "fast": "mode=fast",
    "thinking": "mode=thinking",
    "ultrafast": "mode=ultrafast",
}


def read_history(path: Path) -> Found:
    """The newest prices of model-prices' `snapshot.json`. Raises SourceError."""
    elsewhere: dict[str, int] = {}
    readings: list[Reading] = []
    for provider, models in table_of(table_of(load_json(path), path.name).get("prices"), "prices").items():
        vendor = MODELS_DEV.get(provider)
        if vendor is None:
            elsewhere[provider] = len(models)
            continue
        for model, modes in models.items():
            known_columns(modes, frozenset(_MODES), f"the modes of {model}")
            for mode, periods in modes.items():
                rates = periods[-1]["rates"] if periods else None
                if rates:
                    known_columns(rates, _RATES, f"the rates of {model}")
                    since = day_of(rates.get("valid_from"))
                    card = _card(vendor, model, rates, _MODES[mode], "above")
                    readings += (replace(one, since=since) for one in card)
    return Found(tuple(readings), elsewhere)


def read_catalog(path: Path) -> Found:
    """A catalog of models by provider, each with a `cost`: one file, or a folder of a file per provider.

    Raises SourceError. A cost of 0 is a catalog's placeholder, and no price.
    """
    files = sorted(path.glob("[!.]*.json")) if path.is_dir() else [path]
    if not files:
        raise SourceError(f"{path.name} has no catalog files: the source has moved")
    elsewhere: dict[str, int] = {}
    readings: list[Reading] = []
    for file in files:
        for provider, models in _providers(file, alone=path.is_dir()):
            vendor = MODELS_DEV.get(provider)
            if vendor is None:
                elsewhere[provider] = elsewhere.get(provider, 0) + len(models)
                continue
            for model in models:
                cost = table_of(model.get("cost"), f"the cost of {model.get('id')}")
                known_columns(cost, _COST, f"the cost of {model['id']}")
                if any(isinstance(price, int | Decimal) and price < 0 for price in cost.values()):
                    elsewhere["priced by what answers"] = elsewhere.get("priced by what answers", 0) + 1
                    continue  # a router's own name, such as openrouter/auto
                if "timeBased" in cost:  # its base is one of two windows, and nothing says which
                    elsewhere["priced by the hour"] = elsewhere.get("priced by the hour", 0) + 1
                    continue
                paid = {name: price for name, price in cost.items() if price}
                if long := paid.pop("longContext", None):
                    known_columns(long, _COST, f"the long context of {model['id']}")
                    edge = int(long["inputThreshold"]) - bool(long.get("inputThresholdInclusive"))
                    paid["tiers"] = [
                        {**{name: price for name, price in long.items() if price}, "inputTokensAbove": edge}
                    ]
                readings += _card(vendor, model["id"], paid, None, "inputTokensAbove")
    return Found(tuple(readings), elsewhere)


def _providers(file: Path, *, alone: bool) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    table = table_of(load_json(file), file.name)
    if alone:  # a provider's file: models by API
        yield file.stem, [model for models in table.values() for model in models.values() if isinstance(model, Mapping)]
        return
    for provider, models in table.items():
        yield provider, list(table_of(models, provider).values())


def _card(vendor: str, model: str, rates: Mapping[str, Any], mode: str | None, above: str) -> Iterator[Reading]:
    tiers: list[Mapping[str, Any]] = rates.get("tiers") or []
    ends = min((int(tier[above]) for tier in tiers), default=None)
    tiered = {name for tier in tiers for name in tier}
    for prices, edge in ((rates, None), *((tier, int(tier[above])) for tier in tiers)):
        for name, kind in _KINDS.items():
            if prices.get(name) is None:
                continue
            tier = edges(edge, long=True) if edge else edges(ends if name in tiered else None, long=False)
            life = written(model) if kind == "cache_write" else None
            yield Reading(vendor, model, kind, number(prices[name], f"{name} of {model}"), tier, joined(life, mode))
