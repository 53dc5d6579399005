"""What runs when a module has been imported, whoever else watches imports."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tokenmeter._support.imports import when_imported

PACKAGE = "imported_in_a_test"


@pytest.fixture(params=["folder", "zip"])
def package(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package on the path with a module that runs to its end and one that does not."""
    files = {"__init__.py": "", "whole.py": "begun = ended = True\n", "broken.py": "begun = True\nraise OSError(1)\n"}
    if request.param == "zip":
        place = tmp_path / "packages.zip"
        with zipfile.ZipFile(place, "w") as archive:
            for name, text in files.items():
                archive.writestr(f"{PACKAGE}/{name}", text)
    else:
        place = tmp_path
        (tmp_path / PACKAGE).mkdir()
        for name, text in files.items():
            (tmp_path / PACKAGE / name).write_text(text)
    monkeypatch.syspath_prepend(str(place))
    yield PACKAGE
    for name in [name for name in sys.modules if name.partition(".")[0] == PACKAGE]:
        del sys.modules[name]


def test_it_runs_once_when_the_code_of_the_module_has_run(package: str) -> None:
    seen: list[ModuleType] = []
    when_imported(f"{package}.whole", seen.append)
    importlib.import_module(package)
    assert seen == []
    assert importlib.util.find_spec(f"{package}.whole") is not None
    assert seen == []  # it was looked for and not imported
    module = importlib.import_module(f"{package}.whole")
    assert seen == [module]
    assert module.ended
    del sys.modules[f"{package}.whole"]
    importlib.import_module(f"{package}.whole")
    assert len(seen) == 1


def test_the_module_has_the_loader_that_it_would_have_had(package: str) -> None:
    plain = importlib.import_module(f"{package}.whole")
    assert plain.__spec__ is not None
    del sys.modules[f"{package}.whole"]
    when_imported(f"{package}.whole", lambda module: None)
    watched = importlib.import_module(f"{package}.whole")
    assert watched.__spec__ is not None
    assert type(watched.__loader__) is type(plain.__loader__)
    assert watched.__loader__ is watched.__spec__.loader
    assert watched.__spec__.origin == plain.__spec__.origin


def test_a_module_that_fails_is_waited_for(package: str) -> None:
    seen: list[ModuleType] = []
    when_imported(f"{package}.broken", seen.append)
    for _ in range(2):
        with pytest.raises(OSError, match="1"):
            importlib.import_module(f"{package}.broken")
    assert seen == []


@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_another_watcher_of_the_same_module_is_called_too(package: str, first: str) -> None:
    wrapt = pytest.importorskip("wrapt")
    name = f"{package}.whole"
    seen: list[str] = []
    steps = [
        lambda: when_imported(name, lambda module: seen.append("ours")),
        lambda: wrapt.register_post_import_hook(lambda module: seen.append("theirs"), name),
    ]
    for step in steps if first == "ours" else reversed(steps):
        step()
    importlib.import_module(name)
    assert sorted(seen) == ["ours", "theirs"]
