"""Checks the tables of a provider's file: their keys, the wire formats and hosts they name.

Asked for files of a checkout alone: compiled ones were checked when they were compiled.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any, Final

from tokenmeter._support.toml_problems import Problems
from tokenmeter.wire.format_checks import API_KEYS, check_components

__all__ = ["check_provider"]

_SCHEMA: Final[dict[str, type]] = {
    "id": str, "name": str, "aliases": list, "otel_name": str, "timezone": str, "clock": str, "stream_usage": str,
    "stream_usage_since": str, "null_usage_if_asked": bool,
    "apis": list, "prices": str, "sites": dict, "paths": dict, "models": dict, "endpoint": list, "usage": dict,
}  # fmt: skip
_ENDPOINT: Final[dict[str, type]] = {
    "host": str, "region": str, "currency": str, "stream_usage": str, "paths": dict, "action": str, "note": str,
}  # fmt: skip
_STREAM_USAGE: Final = ("ask", "always", "refuse", "unknown")


def check_provider(place: str, entry: Mapping[str, Any], apis: Container[str], problems: Problems) -> bool:
    """Say what is wrong with a provider's tables; False where no provider can be made of them."""
    if not problems.check(place, entry, _SCHEMA, need=("id", "timezone", "stream_usage")):
        return False
    if entry["stream_usage"] not in _STREAM_USAGE:
        problems.add(place, f'"stream_usage" is one of {", ".join(_STREAM_USAGE)}')
    if entry.get("clock", "end") not in ("end", "start"):
        problems.add(place, '"clock" is "end" or "start"')
    for api in (*entry.get("apis", ()), *entry.get("usage", ()), *entry.get("paths", {}).values()):
        if api and api != "*" and api not in apis:
            problems.add(place, f"there is no api {api!r}")
    for pattern, model in entry.get("models", {}).items():
        if not isinstance(model, str) or not model or (model == "*" and pattern.count("*") != 1):
            problems.add(place, f'models: "{pattern}": {model!r} is not a model, nor "*" for the one `*` of the path')
    for api, beyond in entry.get("usage", {}).items():
        if problems.check(f'{place}: usage."{api}"', beyond, API_KEYS):
            check_components(f'{place}: usage."{api}"', beyond, problems)
    sound = [
        _check_host(f"{place}: endpoint {at}", line, problems)
        for at, line in enumerate(entry.get("endpoint", ()), start=1)
    ]
    return all(sound)


def _check_host(where: str, line: Mapping[str, Any], problems: Problems) -> bool:
    if not problems.check(where, line, _ENDPOINT, need=("host",)):
        return False
    if line.get("stream_usage", "ask") not in _STREAM_USAGE:
        problems.add(where, f'"stream_usage" is one of {", ".join(_STREAM_USAGE)}')
    pattern = line["host"]
    if pattern != pattern.lower() or "/" in pattern:
        problems.add(where, f'"host" {pattern!r} is a lower-case host without scheme and path')
    return True
