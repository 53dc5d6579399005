"""Writes dictionaries, lists and strings as readable YAML, without a YAML library."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["to_yaml"]


def to_yaml(value: dict[str, Any]) -> str:
    """The YAML of a dictionary of strings, and of dictionaries and lists of such."""
    return "\n".join(_lines(value)) + "\n"


def _lines(value: dict[str, Any]) -> Iterator[str]:
    for key, item in value.items():
        if isinstance(item, str):
            yield f"{key}: {_quoted(item)}"
            continue
        yield f"{key}:"
        if isinstance(item, dict):
            yield from (f"  {line}" for line in _lines(item))
            continue
        for one in item:
            first, *rest = _lines(one)
            yield f"  - {first}"
            yield from (f"    {line}" for line in rest)


def _quoted(text: str) -> str:
    """Single-quoted YAML string, in which only the quote itself is escaped."""
    return "'" + text.replace("'", "''") + "'"
