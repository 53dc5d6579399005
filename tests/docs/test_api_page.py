"""docs/api.md is what `make docs` writes, and has an entry for each public name."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import tokenmeter
import tokenmeter.testing

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("api_docs", ROOT / "tools" / "api_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_docstrings_say() -> None:
    """If not: `make docs`."""
    assert generator().page() == PAGE


def test_every_public_name_has_an_entry() -> None:
    names = {*tokenmeter.__all__, *tokenmeter.testing.__all__} - {"__version__"}
    assert names - set(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)) == set()


def test_every_public_function_and_class_has_a_docstring() -> None:
    bare = re.findall(r"^### (\w+)\n\n```text\n(?:[^`]*\n)```\n\n(?=#|- `)", PAGE, re.MULTILINE)
    assert bare == []


def test_links_lead_to_headings_of_the_page() -> None:
    module = generator()
    lines = PAGE.partition("\n## ")[2].splitlines()
    anchors = {slug for slugs in module._anchors(["## " + lines[0], *lines[1:]]).values() for slug in slugs}
    links = re.findall(r"\]\(#([\w-]+)\)", PAGE)
    assert len(links) > 50
    assert set(links) - anchors == set()
