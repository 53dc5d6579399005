"""Formats numbers, names and sources for a price file."""

from __future__ import annotations

import re
from decimal import Decimal


def plain(value: Decimal) -> str:
    """A number as people write it."""
    return format(value.normalize(), "f")


def quoted(text: str) -> str:
    """A TOML string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def source_name(source: str) -> str:
    """A source as people would look it up: repository and commit, package and version, or address."""
    if source.startswith("seeds/"):
        return f"news report {source[6:].partition('_')[2][:8]}"
    source = re.sub(r" \+ .*", "", source)
    if match := re.match(r"(?:npm )?([\w./-]+==[\w.]+)", source):
        return match[1]
    if match := re.match(r"([\w-]+/[\w.-]+)/.*@([0-9a-f]{7})", source):
        return f"{match[1]}@{match[2]}"
    return source.partition(" (")[0]
