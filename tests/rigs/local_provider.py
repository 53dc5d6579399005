"""The provider server as fixtures, for folders of tests that meter real SDKs: one server, emptied for each test."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tokenmeter import Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture, provider_server

__all__ = ["own_meter", "records", "running", "server"]


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


@pytest.fixture
def records(meter: Tokenmeter) -> Iterator[Records]:
    """What the folder's own fixture `meter` records."""
    with capture(meter) as found:
        yield found


@contextmanager
def own_meter(**settings: Any) -> Iterator[Tokenmeter]:
    """A meter without spans whose hooks are gone after the block."""
    made = Tokenmeter(spans="none", **settings)
    try:
        yield made
    finally:
        made.uninstrument()
        made.shutdown()
