"""`TokenCount`: a number of tokens that was counted here, with its range and how it was counted."""

from __future__ import annotations

from dataclasses import dataclass

from tokenmeter.sources import Source

__all__ = ["TokenCount"]


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
    tool_definitions: int | None = None
    """Of a request: those of `tokens` that describe the offered tools, before any calibration."""

    @property
    def source(self) -> Source:
        """`counted` for a count with the model's own vocabulary, else `estimated`."""
        if self.tokens is None:
            return Source.NONE
        return Source.COUNTED if self.method in ("exact", "template") else Source.ESTIMATED
