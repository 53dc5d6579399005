"""The package has no import circle, no submodule hides a public function, and packages load without their modules.

The floors themselves are contracts of import-linter in `pyproject.toml`, which `make check` runs.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import grimp
import pytest

import tokenmeter


def _circles(imports: Mapping[str, set[str]]) -> set[str]:
    """The modules that lie on a circle of imports, or between two circles."""
    left = {module: set(found) & imports.keys() for module, found in imports.items()}
    while True:
        imported = set[str]().union(*left.values())
        ends = {module for module, found in left.items() if not found or module not in imported}
        if not ends:
            return set(left)
        left = {module: found - ends for module, found in left.items() if module not in ends}


@pytest.mark.parametrize(
    ("imports", "circles"),
    [
        pytest.param({"a": {"b"}, "b": {"c"}, "c": set()}, set(), id="a chain"),
        pytest.param({"a": {"b", "c"}, "b": {"c"}, "c": set()}, set(), id="two ways down"),
        pytest.param({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}, {"b", "c"}, id="two of four"),
        pytest.param({"a": {"a"}}, {"a"}, id="itself"),
    ],
)
def test_circles_are_found(imports: dict[str, set[str]], circles: set[str]) -> None:
    assert _circles(imports) == circles


def test_no_circle_annotations_and_imports_in_functions_included() -> None:
    graph = grimp.build_graph("tokenmeter", exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    assert "tokenmeter.calls.opencall" in imports["tokenmeter.calls.protocols"], "annotations are seen"
    assert "tokenmeter.ledger.writer" in imports["tokenmeter.wiring"], "imports in functions are seen"
    assert _circles(imports) == set()


def test_no_submodule_bears_a_public_name() -> None:
    # Importing it would replace the function or class on the package.
    graph = grimp.build_graph("tokenmeter", cache_dir=None)
    submodules = {child.rpartition(".")[2] for child in graph.find_children("tokenmeter")}
    assert submodules & set(tokenmeter.__all__) == set()


LOADED_FIRST = {
    "tokenmeter": "its version",
    "tokenmeter.clients": "`instrument` and `wrap` load it before any of its modules",
    "tokenmeter.dashboards": "a command loads it",
}


def test_no_package_that_threads_may_load_imports_its_own_modules() -> None:
    """Of two threads that load a package and a module of it for the first time, one would get the module half made."""
    eager = set()
    root = Path(tokenmeter.__file__).parent
    for path in root.rglob("__init__.py"):
        package = ".".join(("tokenmeter", *path.parent.relative_to(root).parts))
        loaded = (
            node.module or "" for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ImportFrom)
        )
        eager |= {package for module in loaded if module == package or module.startswith(f"{package}.")}
    assert eager == LOADED_FIRST.keys()
