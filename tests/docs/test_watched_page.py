"""docs/watched.md is what `make docs` writes."""

from __future__ import annotations

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_page_is_what_the_tables_say() -> None:
    """If not: `make docs`."""
    spec = importlib.util.spec_from_file_location("watched_page", ROOT / "tools" / "watched_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.page() == (ROOT / "docs" / "watched.md").read_text("utf-8")
