"""Where a number of tokens came from: the vendor's usage, our own count, or an estimate with its range."""

from __future__ import annotations

import enum
from typing import Final

__all__ = ["Source", "worst"]


class Source(enum.StrEnum):
    """Where a number came from, best first."""

    REPORTED = "reported"
    """The vendor's own usage."""
    PARTIAL = "partial"
    """The vendor's own, but of an answer that did not end: a lower bound."""
    COUNTED = "counted"
    """Counted here with the model's own vocabulary and template."""
    ESTIMATED = "estimated"
    """Counted here with a stand-in or a ratio; `Usage.ranges` says how far off it may be."""
    NONE = "none"
    """Not known."""


_RANK: Final = {source: rank for rank, source in enumerate(Source)}


def worst(*sources: Source) -> Source:
    """The least trustworthy of some sources; `NONE` for none at all."""
    return max(sources, key=_RANK.__getitem__, default=Source.NONE)
