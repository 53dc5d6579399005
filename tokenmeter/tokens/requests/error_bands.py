"""Error bands of request counts: the widest of the bands of a request's kinds, measured on recorded calls.

`error_bands.toml` is written by `benchmarks/truth.py --bands`: for each rule and kind of request the narrowest band of
fixed tokens and a share of the count that covered 95% of the calls, learnt and checked on separate halves. Where a rule
was never measured the defaults hold: wide, since nothing is known.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

from tokenmeter.errors import CatalogError

__all__ = ["KINDS", "Band", "band_of", "load_bands"]

_FILE: Final = Path(__file__).with_name("error_bands.toml")


class Band(NamedTuple):
    """How far true counts lie from ours: fixed tokens and a share of the count, below and above."""

    below: float
    below_share: float
    above: float
    above_share: float


_DEFAULT: Final = {
    "plain": Band(4, 0.05, 8, 0.15),
    "tools": Band(20, 0.25, 60, 0.4),
    "schema": Band(20, 0.25, 60, 0.4),
    "history": Band(12, 0.15, 40, 0.3),
    "media": Band(8, 0.1, 40, 0.3),
    "output": Band(3, 0.05, 6, 0.1),
    "output_calls": Band(8, 0.25, 20, 0.4),
    "output_reasoning": Band(6, 0.1, 12, 0.2),
}
KINDS: Final = tuple(_DEFAULT)


@cache
def load_bands() -> Mapping[str, Mapping[str, Band]]:
    """Bands by rule and kind. Raises CatalogError naming what is not a kind or not four numbers."""
    found: dict[str, dict[str, Band]] = {}
    problems = []
    for rule, kinds in tomllib.loads(_FILE.read_text("utf-8")).items():
        for kind, numbers in kinds.items():
            if kind not in _DEFAULT or len(numbers) != 4:
                problems.append(f"requests/error_bands.toml: {rule}.{kind}: four numbers for one of {', '.join(KINDS)}")
            else:
                found.setdefault(rule, {})[kind] = Band(*numbers)
    if problems:
        raise CatalogError(problems)
    return found


def band_of(rule: str, kinds: Sequence[str], tokens: int) -> tuple[float, float, bool]:
    """Tokens below and above a count which the true one may lie, and whether every kind was measured."""
    measured = load_bands().get(rule, {})
    bands = [measured.get(kind) or _DEFAULT[kind] for kind in kinds]
    below = max(band.below + band.below_share * tokens for band in bands)
    above = max(band.above + band.above_share * tokens for band in bands)
    return below, above, all(kind in measured for kind in kinds)
