"""Computes the tokens of an image, a second or a page by the vendor's formula (`media.toml`).

Where the size is known the formula answers, and its least and greatest are the figure itself unless the vendor's own
processing varies (`spread`). Where it is not, the default stands between the least and the greatest a vendor bills.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

from tokenmeter.errors import CatalogError
from tokenmeter.tokens.requests.prompt import Media

__all__ = ["Formula", "find_formula", "load_formulas", "media_tokens"]

_FILE: Final = Path(__file__).with_name("media.toml")
_LOW: Final = ("low", "MEDIA_RESOLUTION_LOW")
_MOST_SIDE: Final = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """One vendor's price in tokens of one kind of media; the shapes are explained in `media.toml`."""

    kind: str
    models: tuple[str, ...]
    shape: str
    unknown: tuple[int, int, int]
    source: str
    base: int = 0
    tile: int = 0
    size: int = 512
    fit: int = 2048
    short: int = 768
    extra: int = 0
    low: int | None = None
    factor: float = 1.0
    factors: Mapping[str, float] = field(default_factory=dict)
    row: int = 0
    most_patches: int = 0
    spread: tuple[float, float] = (1.0, 1.0)
    guess: bool = False
    """No formula of the vendor is known: a figure between those of others."""


@cache
def load_formulas() -> tuple[Formula, ...]:
    """Every formula in order. Raises CatalogError naming what a formula lacks or has too much."""
    known = {one.name for one in fields(Formula)}
    needed = {"kind", "models", "shape", "unknown", "source"}
    formulas, problems = [], []
    for number, entry in enumerate(tomllib.loads(_FILE.read_text("utf-8"))["formula"], 1):
        place = f"requests/media.toml: formula {number}"
        wrong = [f"{place}: {key!r} is not a key" for key in sorted(set(entry) - known)]
        wrong += [f"{place}: {key!r} is missing" for key in sorted(needed - set(entry))]
        if entry.get("shape") not in _SHAPES:
            wrong.append(f"{place}: shape {entry.get('shape')!r} is none of {', '.join(_SHAPES)}")
        problems += wrong
        if not wrong:
            values: dict[str, Any] = {key: tuple(one) if isinstance(one, list) else one for key, one in entry.items()}
            formulas.append(Formula(**values))
    if problems:
        raise CatalogError(problems)
    return tuple(formulas)


@lru_cache(maxsize=1024)
def find_formula(kind: str, model: str) -> Formula | None:
    """The first formula for a kind of media and a model's name; None where none is known."""
    name = model.lower().rpartition("/")[2]
    for formula in load_formulas():
        if formula.kind == kind and any(fnmatchcase(name, one) for one in formula.models):
            return formula
    return None


def media_tokens(model: str, medium: Media) -> tuple[int | None, float, float]:
    """Tokens of one medium with its least and greatest; None where no formula of the model is known."""
    formula = find_formula(medium.kind, model)
    if formula is None:
        return None, 0, 0
    if medium.kind == "image" and medium.detail in _LOW and formula.low is not None:
        return formula.low, formula.low, formula.low
    tokens = _SHAPES[formula.shape](formula, medium, _factor(formula, model))
    if tokens is None:
        default, least, most = formula.unknown
        return default, least, most
    return tokens, tokens * formula.spread[0], tokens * formula.spread[1]


def _factor(formula: Formula, model: str) -> float:
    name = model.lower().rpartition("/")[2]
    return next((one for pattern, one in formula.factors.items() if fnmatchcase(name, pattern)), formula.factor)


def _sides(medium: Media) -> tuple[float, float] | None:
    """Width and height, neither zero nor absurd."""
    if not medium.width or not medium.height:
        return None
    return min(medium.width, _MOST_SIDE), min(medium.height, _MOST_SIDE)


def _tiles(formula: Formula, medium: Media, factor: float) -> int | None:
    sides = _sides(medium)
    if sides is None:
        return None
    scale = min(1.0, formula.fit / max(sides))
    scale = min(scale, formula.short / (min(sides))) if min(sides) * scale > formula.short else scale
    count = math.prod(math.ceil(side * scale / formula.size) for side in sides)
    return formula.base + formula.tile * (count + (formula.extra if count > 1 else 0))


def _patches(formula: Formula, medium: Media, factor: float) -> int | None:
    sides = _sides(medium)
    if sides is None:
        return None
    scale = min(1.0, formula.fit / max(sides)) if formula.fit else 1.0
    width, height = (math.ceil(side * scale / formula.size) for side in sides)
    patches = width * height
    if formula.most_patches and patches > formula.most_patches:
        # Scaled down until it fits: the budget is nearly used up, whole patches are what is left of it.
        shrink = math.sqrt(formula.most_patches / patches)
        width, height = max(1, math.floor(width * shrink)), max(1, math.floor(height * shrink))
        patches = width * height
    return formula.base + math.ceil(patches * factor - 1e-9) + formula.row * height


def _crops(formula: Formula, medium: Media, factor: float) -> int | None:
    sides = _sides(medium)
    if sides is None:
        return None
    if max(sides) <= 384:
        return formula.tile
    crop = min(768.0, max(256.0, math.floor(min(sides) / 1.5)))
    return formula.tile * (math.prod(math.ceil(side / crop) for side in sides) + 1)


def _flat(formula: Formula, medium: Media, factor: float) -> int | None:
    return formula.tile if _sides(medium) is not None else None


def _seconds(formula: Formula, medium: Media, factor: float) -> int | None:
    return None if medium.seconds is None else formula.base + math.ceil(formula.tile * medium.seconds)


def _pages(formula: Formula, medium: Media, factor: float) -> int | None:
    return None if medium.pages is None else formula.base + formula.tile * medium.pages


_SHAPES: Final = {
    "tiles": _tiles,
    "patches": _patches,
    "crops": _crops,
    "flat": _flat,
    "seconds": _seconds,
    "pages": _pages,
}
