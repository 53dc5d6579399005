"""Compiles the catalog into the JSON files that wheels contain. Used by build hooks only."""

from __future__ import annotations

from pathlib import Path

from tokenmeter._support.data_files import CATALOG, SCHEMA, compile_folder, data_names, to_json
from tokenmeter._support.toml_problems import Problems, read_folder
from tokenmeter.prices.book import Book
from tokenmeter.prices.edition import edition_of
from tokenmeter.prices.rate_lines import written
from tokenmeter.providers.registry import read_providers
from tokenmeter.wire.formats import read_apis

__all__ = ["compile_book", "compile_identities"]


def compile_book(target: Path, root: Path = CATALOG) -> list[Path]:
    """Prices, calendars and components as JSON under `target`; returns what was written.

    Raises CatalogError with every problem of the book: a broken one is not shipped.
    """
    Book(root).check()
    prices = [f"prices/{name}" for name in data_names("prices", root)]
    calendars = [f"calendars/{name}" for name in data_names("calendars", root)]
    paths = [
        *compile_folder(root, ["conditions", *calendars], target),
        *compile_folder(root, prices, target, write=written),
    ]
    edition = edition_of(root)
    named = {"read": edition.day, "serial": edition.serial, "digest": edition.digest, "schema": SCHEMA}
    book = target / "book.json"
    book.write_text(to_json(named), encoding="utf-8")
    return [*paths, book]


def compile_identities(target: Path, root: Path = CATALOG) -> list[Path]:
    """Providers and wire formats, each folder as one file, and what is read of requests and of later answers.

    Raises CatalogError with every problem of these files: an installed process does not look for them again.
    """
    read_apis(root / "wire" / "formats")
    read_providers(root / "providers")
    paths = compile_folder(root, ["request", "later"], target)
    for folder in (root / "providers", root / "wire" / "formats"):
        problems = Problems()
        files = read_folder(folder, problems).files
        problems.done()
        path = target / f"{folder.name}.json"
        path.write_text(to_json(files), encoding="utf-8")
        paths.append(path)
    return paths
