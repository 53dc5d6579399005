"""The provider server as fixtures, for folders of tests that meter real SDKs: one server, emptied for each test."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tokenmeter.testing import ProviderServer, provider_server

__all__ = ["running", "server"]


@pytest.fixture(scope="session")
def running() -> Iterator[ProviderServer]:
    # Each test collects garbage to settle forgotten streams: the SDKs loaded by now need not be looked through again.
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
