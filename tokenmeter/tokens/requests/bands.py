"""How far a sum may be off: the widest of the bands its kinds have, as measured on recorded calls.

Bands are data of a rule, by kind of request. Where a rule has none, the defaults below hold: wide, since nothing
was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tokenmeter.tokens.requests.rules import Band, Rule

__all__ = ["band_of"]

_DEFAULT: Final = {
    "plain": Band(4, 0.02, 8, 0.10),
    "tools": Band(10, 0.15, 40, 0.30),
    "schema": Band(10, 0.15, 40, 0.30),
    "history": Band(8, 0.10, 30, 0.20),
    "media": Band(4, 0.05, 20, 0.10),
    "output": Band(2, 0.02, 4, 0.05),
    "output_calls": Band(4, 0.10, 12, 0.20),
}


def band_of(rule: Rule, kinds: Sequence[str], tokens: int) -> tuple[float, float]:
    """Tokens below and above a count which the true one may lie."""
    bands = [rule.bands.get(kind) or _DEFAULT[kind] for kind in kinds]
    below = max(band.below + band.below_share * tokens for band in bands)
    above = max(band.above + band.above_share * tokens for band in bands)
    return below, above
