"""Fixtures of the collector's tests: skipped where its extra is not installed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

for _needed in ("aiohttp", "grpc", "google.rpc.code_pb2", "opentelemetry.exporter.otlp.proto.common"):
    pytest.importorskip(_needed, reason=f"the collector needs {_needed}: pip install 'tokenmeter-sdk[collector]'")

if TYPE_CHECKING:
    from tests.rigs.collector_rig import GrpcEndpoint, HttpEndpoint, Loop, Running
    from tests.rigs.postgres_server import PostgresServer

_numbers = itertools.count()


@pytest.fixture
def loop() -> Iterator[Loop]:
    from tests.rigs.collector_rig import Loop

    made = Loop()
    yield made
    made.close()


@pytest.fixture
def endpoint(loop: Loop) -> Iterator[HttpEndpoint]:
    """An endpoint that is there."""
    from tests.rigs.collector_rig import HttpEndpoint

    made = HttpEndpoint(loop)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def grpc_endpoint(loop: Loop) -> Iterator[GrpcEndpoint]:
    from tests.rigs.collector_rig import GrpcEndpoint

    made = GrpcEndpoint(loop)
    made.start()
    yield made
    made.stop()


@pytest.fixture
def collect(loop: Loop) -> Iterator[Callable[..., Running]]:
    """Starts collectors, and stops them whatever happens."""
    from tests.rigs.collector_rig import Running

    running: list[Running] = []

    def start(**options: Any) -> Running:
        running.append(Running(loop, **options))
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    from tests.rigs.postgres_server import postgres_server

    with postgres_server() as started:
        yield started


@pytest.fixture
def url(server: PostgresServer) -> str:
    """An empty database."""
    return server.database(f"spans{next(_numbers)}")
