"""What a vendor's answer says beside its usage."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Facts"]


class Facts(NamedTuple):
    """What an answer says beside its usage."""

    model: str | None
    id: str | None
    tier: str | None
    finish: tuple[str, ...]
    error: str | None
