"""Checks the tables of `formats/*.toml`: their keys, the components they name, and the formats they extend.

Asked for files of a checkout alone: compiled ones were checked when they were compiled.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from tokenmeter._support.toml_problems import Problems
from tokenmeter.usage import TOKEN_FIELDS

__all__ = ["API_KEYS", "check_components", "check_formats"]

API_KEYS: Final[dict[str, type]] = {
    "id": str, "extends": str, "operation": str, "paths": list, "envelopes": list, "usage": list, "model": list,
    "response_id": list, "tier": list, "finish": list, "error": list, "counts": dict, "info": list, "beside": dict,
    "outside": dict, "by_total": dict, "hidden": str, "fixed": dict, "values": dict, "done": list, "ends": list,
    "merge": bool, "cumulative_text": bool, "deltas": dict, "whole": dict, "open": bool, "zero_if_absent": list,
    "guess": bool, "spare": list, "success": list, "known": dict, "elements": dict, "elements_of": dict,
    "per_answer": dict, "instead": dict, "text": bool, "true_zeros": bool, "begins": list, "turns": list,
    "choice": list,
}  # fmt: skip
_KINDS: Final = ("text", "reasoning", "tool_calls")
_COMPONENT: Final = (
    r"(cache_write_[0-9]+[a-z]+_input_tokens|(audio|image|video)_cache_read_input_tokens|quantities\.[a-z_]+"
    r"|params\.[a-z_]+|tier(\.[a-z]+)?|model|total|vendor_cost\.[A-Z]{3}( / [0-9]+)?"
    r"|upstream_cost\.[A-Z]{3}|part\.[a-z0-9_]+)"
)
_FILE: Final = {"api": list, "sign": list, "refusal": list, "success": list, "line": list, "header": list}


def check_formats(
    files: Mapping[str, Mapping[str, Any]], formats: Mapping[str, Mapping[str, Any]], problems: Problems
) -> None:
    """Say what is wrong with files by their places, and with their formats by theirs: those are extended already."""
    known = {str(entry.get("id")) for content in files.values() for entry in content.get("api", ())}
    for place, content in files.items():
        problems.check(place, content, _FILE)
        for entry in content.get("api", ()):
            if entry.get("extends") and entry["extends"] not in known:
                problems.add(place, f'api "{entry.get("id")}": "extends": there is no api {entry["extends"]!r}')
        for entry in content.get("sign", ()):
            if entry["api"] not in known:
                problems.add(place, f"sign for {entry['api']!r}: there is no such api")
    for place, entry in formats.items():
        _check_format(place, entry, problems)


def _check_format(place: str, entry: Mapping[str, Any], problems: Problems) -> None:
    if not problems.check(place, entry, API_KEYS, need=("id", "operation")):
        return
    check_components(place, entry, problems)
    for key in ("deltas", "whole"):
        for event, kinds in entry.get(key, {}).items():
            problems.check(f'{place}: {key}: "{event}"', kinds, dict.fromkeys(_KINDS, list))


def check_components(place: str, entry: Mapping[str, Any], problems: Problems) -> None:
    """Say which declared component there is none of."""
    for key in ("counts", "beside"):
        for path, component in entry.get(key, {}).items():
            if component not in TOKEN_FIELDS and not re.fullmatch(_COMPONENT, str(component)):
                problems.add(place, f'{key}: "{path}": {component!r} is not a component')
