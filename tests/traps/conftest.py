"""A provider, a meter of its own and clients for the traps, in whatever major of the OpenAI SDK is installed."""

from __future__ import annotations

import gc
import json
import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tokenmeter import Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture, provider_server

# Reading the machine's certificates takes an SDK 30 ms for each client, and nothing here speaks TLS.
TLS = ssl.create_default_context()


@pytest.fixture(scope="session")
def running() -> Iterator[ProviderServer]:
    # Each test collects garbage to settle forgotten streams: what is loaded by now need not be looked through again.
    gc.collect()
    gc.freeze()
    with provider_server() as server:
        yield server
    gc.unfreeze()


@pytest.fixture
def server(running: ProviderServer) -> Iterator[ProviderServer]:
    running.clear()
    yield running
    running.serve(None)


@pytest.fixture
def meter(running: ProviderServer) -> Iterator[Tokenmeter]:
    """A meter of its own; the local server counts as OpenAI unless a client is wrapped with another provider."""
    made = Tokenmeter(spans="none", hosts={running.host: "openai"})
    yield made
    made.uninstrument()
    made.shutdown()


@pytest.fixture
def records(meter: Tokenmeter) -> Iterator[Records]:
    with capture(meter) as found:
        yield found


@pytest.fixture
def bare(server: ProviderServer) -> Callable[..., openai.OpenAI]:
    """Makes an unmetered client: `bare("deepseek", timeout=1)`."""

    def make(dialect: str = "openai", **options: Any) -> openai.OpenAI:
        http = openai.DefaultHttpxClient(verify=TLS)
        return openai.OpenAI(base_url=server.url(dialect), api_key="any", http_client=http, **options)

    return make


@pytest.fixture
def bare_async(server: ProviderServer) -> Callable[..., openai.AsyncOpenAI]:
    def make(dialect: str = "openai", **options: Any) -> openai.AsyncOpenAI:
        http = openai.DefaultAsyncHttpxClient(verify=TLS)
        return openai.AsyncOpenAI(base_url=server.url(dialect), api_key="any", http_client=http, **options)

    return make


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
