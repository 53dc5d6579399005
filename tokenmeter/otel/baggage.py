"""Tags from the OpenTelemetry baggage of the current trace, for the keys that the user allows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from opentelemetry import baggage

__all__ = ["VALUE_MOST", "baggage_tags"]

VALUE_MOST: Final = 64
"""Characters of a value that are kept: whoever sends a request chooses them."""


def baggage_tags(allowed: tuple[str, ...], tags: Mapping[str, str]) -> Mapping[str, str]:
    """The tags, and beside them those of the baggage that no tag says; values are cut to 64 characters."""
    found = {}
    for key in allowed:
        if key not in tags:
            value = baggage.get_baggage(key)
            if isinstance(value, str) and value:
                found[key] = value[:VALUE_MOST]
    return {**found, **tags} if found else tags
