"""A provider and a meter for the tests of one SDK each, and a note of every cell for `tools/sdk_matrix_clients.py`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.rigs import local_provider
from tokenmeter import Tokenmeter
from tokenmeter.testing import ProviderServer, Records

records, running, server = local_provider.records, local_provider.running, local_provider.server
OUTCOME = pytest.StashKey[str]()
REASON = pytest.StashKey[str]()


@pytest.fixture
def meter() -> Iterator[Tokenmeter]:
    with local_provider.own_meter() as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    report = yield
    if report.when == "call":
        item.stash[OUTCOME] = report.outcome
        if report.skipped and isinstance(report.longrepr, tuple):
            item.stash[REASON] = str(report.longrepr[2]).removeprefix("Skipped: ")
    return report


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "form(sdk, case): a row of the clients' table, for a test outside of the matrix")


@pytest.fixture
def note(request: pytest.FixtureRequest, server: ProviderServer, records: Records) -> Iterator[None]:
    """After a test of the matrix: which case it was, what was sent and what was recorded."""
    yield
    target = os.environ.get("CLIENTS_TABLE")
    if not target:
        return
    form = request.node.get_closest_marker("form")
    row = {
        "sdk": form.args[0] if form is not None else request.cls.sdk.package,
        "case": form.args[1] if form is not None else request.node.name.removeprefix("test_").replace("_", " "),
        "outcome": request.node.stash.get(OUTCOME, "skipped"),
        "reason": request.node.stash.get(REASON, ""),
        "calls": len(records),
        "requests": len(server.requests),
        "usage": [[record.usage.input_tokens, record.usage.output_tokens] for record in records],
        "source": [str(record.usage_source) for record in records],
        "end": [str(record.end) for record in records],
    }
    with Path(target).open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")
