"""The table of SDKs against what follows from it: extras, README lists, the test matrix, stream readers."""

from __future__ import annotations

import re
import runpy
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.clients import ADAPTERS, SDKS, SupportedSdk
from tokenmeter.clients.table import READERS

ROOT = Path(__file__).parents[2]
ROWS = [pytest.param(root, sdk, id=root) for root, sdk in SDKS.items()]
NOT_SDKS = {
    "alerts",
    "clickhouse",
    "fleet",
    "ledger-fast",
    "redis",
    "otel",
    "zero-code",
    "collector",
    "views",
    "counting",
    "transformers",
    "cli",
    "litellm",
}
"""Extras that bring no SDK of the table."""


@pytest.fixture(scope="module")
def extras() -> dict[str, list[str]]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found: dict[str, list[str]] = project["optional-dependencies"]
    return found


@pytest.fixture(scope="module")
def matrix() -> dict[str, Any]:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return runpy.run_path(str(ROOT / "tools" / "sdk_matrix_clients.py"))
    finally:
        sys.path.remove(str(ROOT / "tools"))


def name_of(requirement: str) -> str:
    return re.split(r"[\[=<>!~ ]", requirement)[0].replace("_", "-").lower()


@pytest.mark.parametrize(("root", "sdk"), ROWS)
def test_the_extra_installs_the_sdk(root: str, sdk: SupportedSdk, extras: dict[str, list[str]]) -> None:
    if sdk.adapter.startswith("transport."):
        assert sdk.extra is None
        return
    assert sdk.extra is not None
    installs = {name_of(requirement) for requirement in extras[sdk.extra]}
    assert {sdk.distribution, *sdk.readers} & installs


def test_every_extra_of_an_sdk_has_a_row(extras: dict[str, list[str]]) -> None:
    assert sorted(set(extras) - NOT_SDKS) == sorted(sdk.extra for sdk in SDKS.values() if sdk.extra)


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_readmes_list_is_the_tables(readme: str) -> None:
    """If not: `make docs`."""
    rewritten = runpy.run_path(str(ROOT / "tools" / "readme_sdks.py"))["rewritten"]
    text = (ROOT / readme).read_text(encoding="utf-8")
    assert "<!-- /sdks -->" in text
    assert rewritten(text, readme) == text


@pytest.mark.parametrize(("root", "sdk"), ROWS)
@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_readme_names_the_sdk(readme: str, root: str, sdk: SupportedSdk) -> None:
    text = (ROOT / readme).read_text(encoding="utf-8")
    start = "## What it sees today" if readme == "README.md" else "## 目前能看到什么"
    section = text.partition(start)[2].partition("\n## ")[0]
    name = sdk.listed_as[readme != "README.md"] if sdk.listed_as else root
    assert re.search(rf"(?<![\w.-]){re.escape(name)}(?![a-z_-])", section)


@pytest.mark.parametrize(("root", "sdk"), ROWS)
def test_the_matrix_runs_every_tested_major(root: str, sdk: SupportedSdk, matrix: dict[str, Any]) -> None:
    """By the requirements of its environments, which name a major where they are not the newest of the only one."""
    if sdk.distribution is None:
        return  # the environments' own Python
    names = {sdk.distribution, *({"boto3"} if root == "botocore" else ())}
    wanted = [package for packages in matrix["MATRIX"].values() for package in packages if name_of(package) in names]
    assert wanted
    named = {int(found[1]) for package in wanted if (found := re.search(r"[=>]=(\d+)", package))}
    assert named <= set(sdk.majors)


@pytest.mark.parametrize(("root", "sdk"), ROWS)
def test_its_tests_are_there(root: str, sdk: SupportedSdk) -> None:
    assert sdk.tests
    assert [name for name in sdk.tests if not [*(ROOT / "tests" / "clients").rglob(f"test_{name}.py")]] == []


def test_every_row_has_an_adapter_and_every_adapter_a_row() -> None:
    clients = ROOT / "tokenmeter" / "clients"
    modules = {path.relative_to(clients).with_suffix("").as_posix().replace("/", ".") for path in clients.rglob("*.py")}
    assert set(ADAPTERS) <= modules
    flat = {module for module in modules if "." not in module}
    assert flat - {"__init__", "table", "unwatched", "zero_code"} <= set(ADAPTERS)


def test_every_sdk_reads_its_own_streams() -> None:
    assert set(SDKS) <= READERS
    assert "google" not in READERS  # shared with packages that read no stream
