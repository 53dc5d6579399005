"""Where a number of tokens came from: the vendor's usage, our own count, or an estimate with its range."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

__all__ = ["Source", "TokenCount", "worst"]


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


@dataclass(frozen=True, slots=True)
class TokenCount:
    """A count made here: `tokens` lies in [low, high] for 95% of real texts of its kind.

    `method` is the worst part of exact > template > stand-in > ratio; `tokens`, `low` and `high` are None where
    nothing could be counted, and `reason` says why. `skipped` names what could not be read. `calibrated` says what
    was learnt from the user's own traffic and is in the numbers (`×1.04, from 60 calls`); `method` stays what it was.
    """

    tokens: int | None
    low: int | None
    high: int | None
    method: str | None
    family: str | None = None
    skipped: tuple[str, ...] = ()
    reason: str | None = None
    calibrated: str | None = None

    @property
    def source(self) -> Source:
        """`counted` for a count with the model's own vocabulary, else `estimated`."""
        if self.tokens is None:
            return Source.NONE
        return Source.COUNTED if self.method in ("exact", "template") else Source.ESTIMATED
