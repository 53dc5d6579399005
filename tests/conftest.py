"""What holds for the whole suite: a failure of ours is raised, not logged, and no setting of the machine leaks in."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tokenmeter
from tokenmeter._support import guard
from tokenmeter.default_meter import is_configured

for _name in [name for name in os.environ if name.startswith(("TOKENMETER_", "OTEL_", "OPENAI_"))]:
    del os.environ[_name]
# A proxy of the machine would take the requests meant for the provider server.
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"

guard.raise_failures(True)


@pytest.fixture(autouse=True)
def settings_of_the_default_meter() -> Iterator[None]:
    """Set back what a test configured: settings add up, and the next test would have them too."""
    before = _given()
    yield
    if _given() != before:
        tokenmeter.configure(replace=True, **before)


def _given() -> dict[str, Any]:
    return dict(tokenmeter.default().given) if is_configured() else {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """Note what came of each cell (way in × call form) and trap for the table of `tools/sdk_matrix.py`."""
    report = yield
    target = os.environ.get("TRAPS_TABLE")
    if target and (report.when == "call" or report.outcome == "skipped"):
        cell = item.get_closest_marker("cell")
        name = getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ")
        row = cell.kwargs if cell is not None else {"way": "trap", "form": name}
        with Path(target).open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({**row, "outcome": report.outcome}) + "\n")
    return report


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cell(way, form): a cell of the SDK matrix's table")


@pytest.fixture(scope="module", autouse=True)
def what_is_loaded_stays_out_of_collections() -> None:
    """Hide what other modules have loaded from the garbage collector: many tests collect, and each walks the heap."""
    gc.collect()
    gc.freeze()
