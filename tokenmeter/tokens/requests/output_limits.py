"""Bounds the count of an answer by what its request allowed: the limit of output tokens, and stop sequences.

`limits.toml` has the vendors whose limit means something else than the whole answer as billed.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from tokenmeter.errors import CatalogError
from tokenmeter.wire.request_body import limit_of

__all__ = ["LimitMeaning", "limit_meaning", "most_tokens", "stop_sequences"]

_FILE: Final = Path(__file__).with_name("limits.toml")
_KEYS: Final = frozenset(("providers", "thoughts", "least", "source"))
_STOPS: Final = ("stop", "stop_sequences", "stopSequences", "stop_words")
_PARTS: Final = ("parameters", "generationConfig", "generation_config", "inferenceConfig", "options")


@dataclass(frozen=True, slots=True)
class LimitMeaning:
    """What a provider's limit bounds: `thoughts` too, or the answer beside them; smaller limits count as `least`."""

    thoughts: bool = True
    least: int = 1


_USUAL: Final = LimitMeaning()


@cache
def _meanings() -> Mapping[str, LimitMeaning]:
    """The exceptions by provider. Raises CatalogError naming each unknown key."""
    found: dict[str, LimitMeaning] = {}
    problems = []
    for number, entry in enumerate(tomllib.loads(_FILE.read_text("utf-8")).get("limit", ()), 1):
        problems += [
            f"requests/limits.toml: limit {number}: {key!r} is not a key" for key in sorted(set(entry) - _KEYS)
        ]
        for provider in entry.get("providers", ()):
            found.setdefault(provider, LimitMeaning(entry.get("thoughts", True), entry.get("least", 1)))
    if problems:
        raise CatalogError(problems)
    return found


def limit_meaning(provider: str | None) -> LimitMeaning:
    """What the limit means where this provider serves; the usual meaning for a provider no entry names."""
    return _meanings().get(provider or "", _USUAL)


def most_tokens(request: Mapping[str, Any], provider: str | None, thoughts: int) -> int | None:
    """The most tokens that an answer with so many tokens of thoughts can have; None where nothing bounds it."""
    limit = limit_of(request)
    if not limit:
        return None
    meaning = limit_meaning(provider)
    return max(limit, meaning.least) + (0 if meaning.thoughts else thoughts)


def stop_sequences(request: Mapping[str, Any]) -> list[str]:
    """The texts that end an answer: one of them may be billed, and none is shown."""
    for place in (request, *(request.get(name) for name in _PARTS)):
        if not isinstance(place, Mapping):
            continue
        for name in _STOPS:
            value = place.get(name)
            if isinstance(value, str) and value:
                return [value]
            if isinstance(value, list):
                return [one for one in value if isinstance(one, str) and one]
    return []
