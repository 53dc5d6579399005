"""Compile the catalog's TOML into one fast JSON file each when a wheel is built.

TOML is what people edit and what a checkout reads; the wheel holds the compiled files instead, because the first
price of a process must not wait for a TOML parser. Reading either gives the same prices (`_support/data_files.py`).
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parent


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
        from tokenmeter.prices.upkeep.compile import compile_book, compile_identities
        from tools.price_book.evidence import write_evidence

        target = Path(self.directory) / "compiled-catalog"
        for path in [*compile_book(target), *compile_identities(target), *write_evidence(target)]:
            build_data["force_include"][str(path)] = f"tokenmeter/_compiled/{path.relative_to(target)}"
