"""Every import of ours in the tools, benchmarks and examples names something that is there, also inside functions.

Most of these programs run in environments that no test makes: a module that moves would be missed by them alone.
"""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(path for folder in ("benchmarks", "examples", "tools") for path in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> list[tuple[str, str | None]]:
    """Modules of ours that a program imports, each with the name it takes from there."""
    found: list[tuple[str, str | None]] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found += [(node.module or "", alias.name) for alias in node.names]
    return [(module, name) for module, name in found if module.partition(".")[0] in ("tokenmeter", "tests")]


def there(module: str, name: str | None) -> bool:
    """Whether the import would succeed."""
    try:
        found = importlib.import_module(module)
        if name is not None and not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")
    except ImportError as missing:
        # A package of others that is not installed here says nothing about ours.
        return (missing.name or "").partition(".")[0] not in ("tokenmeter", "tests")
    return True


@pytest.mark.parametrize("path", [pytest.param(path, id=path.relative_to(ROOT).as_posix()) for path in PROGRAMS])
def test_what_a_program_imports_is_there(path: Path) -> None:
    assert [found for found in imports(path) if not there(*found)] == []
