"""What a request says that its price may depend on, by declared places (`wire/request.toml`).

`enable_thinking` of a Qwen call is a price, not a detail: the answer does not repeat it. The service tier is not read
here, since the tier of the reply is the one that bills.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from tokenmeter._support.data_files import read_data
from tokenmeter.wire.json_paths import getter

__all__ = ["request_params"]

_Place = tuple[str, tuple[Callable[[Any], Any], ...], Mapping[Any, Any]]


@functools.cache
def _declared() -> dict[str, Any]:
    return read_data("request")


@functools.cache
def _places() -> tuple[_Place, ...]:
    data = _declared()
    words = data.get("values", {})
    return tuple(
        (name, tuple(getter(path) for path in paths), words.get(name, {})) for name, paths in data["places"].items()
    )


@functools.cache
def _roots() -> frozenset[str]:
    """The top-level fields under which anything is said at all: most requests have none of them."""
    return frozenset(path.partition(".")[0] for paths in _declared()["places"].values() for path in paths)


def request_params(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """The parameters stated by a request body; None where it states none. Never raises."""
    if _roots().isdisjoint(body):
        return None
    params: dict[str, Any] | None = None
    for name, getters, words in _places():
        for get in getters:
            value = get(body)
            if value is None:
                continue
            value = words.get(value, value) if isinstance(value, str) else value
            if value != "" and isinstance(value, bool | str | int):
                params = {**(params or {}), name: value}
            break
    return params
