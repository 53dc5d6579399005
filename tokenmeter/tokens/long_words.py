"""Where a long word is cut because the installed tiktoken takes quadratic time for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from tokenmeter.tokens.split_points import CHUNK, FORCED, LONG_RUN, last_split_point, pieces

__all__ = ["any_forced_cut", "forced_cuts", "limits"]

_LINEAR_SINCE: Final = (0, 13)
"""The first version of tiktoken that merges a long piece in less than quadratic time."""
_SHORT: Final = 1 << 11
"""Characters without a safe split point that an older tiktoken gets at once: a few milliseconds; 120,000 take 6 s."""


@cache
def limits() -> tuple[int, int]:
    """Characters encoded at once, and those without a safe split point that are split anyway."""
    from tiktoken import __version__ as version  # importlib.metadata would take 35 ms to import

    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    return (CHUNK, FORCED) if numbers >= _LINEAR_SINCE else (_SHORT, _SHORT)


def forced_cuts(text: str) -> int:
    """How often a text is cut where tokens may cross, because the installed tiktoken is slow on long pieces."""
    chunk, forced = limits()
    if forced == FORCED or len(text) < LONG_RUN:
        return 0
    cuts = at = 0
    for piece in pieces(text, chunk, forced):
        at += len(piece)
        if len(piece) >= forced and at < len(text) and last_split_point(text, at - 1, at) != at:
            cuts += 1
    return cuts


def any_forced_cut(value: object) -> bool:
    """Whether one of the texts in a JSON value is cut so."""
    if limits()[1] == FORCED:
        return False
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            if forced_cuts(one):
                return True
        elif isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list | tuple):
            waiting += one
    return False
