"""Reads price files that lie over a book: tables, TOML files and folders of them, checked before they are used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenmeter._support.data_files import read_toml
from tokenmeter.errors import CatalogError
from tokenmeter.prices.upkeep.check import check_data

if TYPE_CHECKING:
    from tokenmeter.prices.book import Book

__all__ = ["read_overlays"]

Overlay = Mapping[str, Any]


def read_overlays(sources: Iterable[Overlay | Path | str], below: Book | None = None) -> tuple[Overlay, ...]:
    """Price files from tables, TOML files and folders of them. Raises CatalogError with every problem found."""
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
        head = _head_below(below, data.get("provider"))
        problems.extend(check_data(data, place, head))
    if problems:
        raise CatalogError(problems)
    return tuple(data for _, data in found)


def _head_below(below: Book | None, provider: object) -> Mapping[str, Any]:
    if below is None or not isinstance(provider, str) or provider not in below.providers:
        return {}
    *_, last = below.files(provider)
    return last.head
