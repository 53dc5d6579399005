"""Build the data-only wheel: the compiled catalog of the checkout, under the name `tokenmeter_prices`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parents[2]


def _package() -> None:
    """Make the checkout's packages importable: a clean build environment has none, and hatchling restores the path."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))


def version() -> str:
    """The newest day a source was read and the serial of that day, as a version: 2026.11.21.2."""
    _package()
    from tokenmeter.prices.edition import edition_of

    return edition_of(ROOT / "tokenmeter").release


class CompilePrices(BuildHookInterface):
    """Puts the compiled files into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the files under the build directory and name them."""
        _package()
        from tokenmeter.prices.upkeep.compile import compile_book
        from tools.price_book.evidence import write_evidence

        target = Path(self.directory) / "compiled-prices"
        for path in [*compile_book(target), *write_evidence(target)]:
            build_data["force_include"][str(path)] = f"tokenmeter_prices/_compiled/{path.relative_to(target)}"
        marker = target / "__init__.py"
        marker.write_text('"""The price book of tokenmeter, as data."""\n', encoding="utf-8")
        build_data["force_include"][str(marker)] = "tokenmeter_prices/__init__.py"
