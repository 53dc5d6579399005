"""Reads single values of an answer: the places at which a format declares them, in order, the usual one first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tokenmeter.wire.json_paths import getter

__all__ = ["Place", "direct", "first_key", "first_object", "first_text", "places_beside"]

# A name at the top of the answer, or the reader of a longer path: most are the former, and cost one dict probe.
Place = str | Callable[[Any], Any]


def direct(paths: Iterable[str]) -> tuple[Place, ...]:
    """The places of some paths."""

    def itself(root: Any) -> Any:
        return root

    return tuple(path if "." not in path else itself if path == "." else getter(path) for path in paths)


def first_key(paths: tuple[str, ...]) -> tuple[str, tuple[Place, ...]]:
    """The first place, where it is a name at the top of the answer, and the places to try after it."""
    places = direct(paths)
    if places and isinstance(places[0], str):
        return places[0], places[1:]
    return "", places


def first_object(places: tuple[Place, ...], root: dict[str, Any]) -> dict[str, Any] | None:
    """The first of the places at which an object stands that is not empty."""
    for get in places:
        found = root.get(get) if type(get) is str else get(root)  # type: ignore[operator]
        if type(found) is dict and found:
            return found
    return None


def first_text(places: tuple[Place, ...], root: dict[str, Any]) -> str | None:
    """The first of the places at which a text stands that is not empty."""
    for get in places:
        found = root.get(get) if type(get) is str else get(root)  # type: ignore[operator]
        if type(found) is str and found:
            return found
    return None


def places_beside(
    declared: Mapping[str, str],
) -> tuple[tuple[str, tuple[tuple[str, str, Callable[[Any], Any]], ...]], ...]:
    """The places beside the usage by their first name, which most answers do not have."""
    heads: dict[str, list[tuple[str, str, Callable[[Any], Any]]]] = {}
    for path, component in declared.items():
        heads.setdefault(path.split(".")[0], []).append((path, component, getter(path)))
    return tuple((head, tuple(places)) for head, places in heads.items())
