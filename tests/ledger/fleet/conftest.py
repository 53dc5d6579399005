"""A PostgreSQL server for these tests, and an empty database of it for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.rigs.postgres_server import PostgresServer, postgres_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as started:
        yield started


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.database(f"fleet{next(_numbers)}")
