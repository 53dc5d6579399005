"""Compile the catalog's TOML into one fast JSON file each when a wheel is built.

TOML is what people edit and what a checkout reads; the wheel holds the compiled files instead, because the first
price of a process must not wait for a TOML parser. Reading either gives the same prices (`catalog/files.py`).
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent
CATALOG = ROOT / "tokenmeter" / "catalog"


def _package() -> None:
    """Make `tokenmeter` importable from the source tree, in a build environment that has none of its dependencies."""
    if importlib.util.find_spec("tokenmeter") is None or str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


class CompileCatalog(BuildHookInterface):
    """Adds the compiled catalog to a wheel and takes the TOML it replaces out of it."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the files under the build directory; an editable install reads the TOML and needs none."""
        if version == "editable":
            return
        _package()
        from tokenmeter.catalog._load import Problems, read_folder
        from tokenmeter.catalog.book import Book, digest_of
        from tokenmeter.catalog.files import compile_folder, data_names, to_json

        Book(CATALOG).check()
        names = [
            "components",
            "request",
            *(f"{folder}/{name}" for folder in ("prices", "calendars") for name in data_names(folder)),
        ]
        target = Path(self.directory) / "compiled-catalog"
        written = compile_folder(CATALOG, names, target)
        read, digest = digest_of(CATALOG)
        book = target / "book.json"
        book.write_text(to_json({"read": read, "digest": digest}), encoding="utf-8")
        for folder in ("providers", "apis"):
            problems = Problems()
            files = read_folder(CATALOG / folder, problems)
            problems.done()
            whole = target / f"{folder}.json"
            whole.write_text(to_json(files), encoding="utf-8")
            written.append(whole)
        for path in [*written, book]:
            build_data["force_include"][str(path)] = f"tokenmeter/catalog/_compiled/{path.relative_to(target)}"
