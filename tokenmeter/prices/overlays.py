"""Reads price files that lie over a book: tables, TOML files and folders of them, checked before they are used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tokenmeter._support.data_files import read_toml
from tokenmeter.errors import CatalogError
from tokenmeter.prices.upkeep.check import check_data

__all__ = ["read_overlays"]

Overlay = Mapping[str, Any]


def read_overlays(
    sources: Iterable[Overlay | Path | str], head_below: Callable[[object], Mapping[str, Any]]
) -> tuple[Overlay, ...]:
    """Price files from tables, TOML files and folders of them. Raises CatalogError with every problem found.

    `head_below` gives the head that an overlay for a provider inherits: `Book.head`.
    """
    found: list[tuple[str, Overlay]] = []
    problems: list[str] = []
    for source in sources:
        if isinstance(source, Mapping):
            found.append((f"overlay for {source.get('provider')}", source))
            continue
        path = Path(source)
        for file in sorted(path.glob("*.toml")) if path.is_dir() else [path]:
            try:
                found.append((str(file), read_toml(file)))
            except CatalogError as error:
                problems.extend(error.problems)
    for place, data in found:
        problems.extend(check_data(data, place, head_below(data.get("provider"))))
    if problems:
        raise CatalogError(problems)
    return tuple(data for _, data in found)
