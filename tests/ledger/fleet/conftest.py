"""A PostgreSQL and a ClickHouse server for these tests, and an empty database of one for each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from tests.rigs.clickhouse_server import ClickHouseServer, clickhouse_server
from tests.rigs.postgres_server import PostgresServer, postgres_server

_numbers = itertools.count()


@pytest.fixture(scope="session")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as started:
        yield started


@pytest.fixture(scope="session")
def clickhouse() -> Iterator[ClickHouseServer]:
    with clickhouse_server() as started:
        yield started


@pytest.fixture
def url(server: PostgresServer) -> str:
    return server.database(f"fleet{next(_numbers)}")


@pytest.fixture
def click_url(clickhouse: ClickHouseServer) -> str:
    return clickhouse.url_of(f"fleet{next(_numbers)}")


@pytest.fixture(params=["postgresql", "clickhouse"])
def any_url(request: pytest.FixtureRequest) -> str:
    """An empty database of each engine that is here."""
    found: str = request.getfixturevalue({"postgresql": "url", "clickhouse": "click_url"}[request.param])
    return found


@pytest.fixture
def any_server(request: pytest.FixtureRequest, any_url: str) -> PostgresServer | ClickHouseServer:
    """The server of `any_url`."""
    found: PostgresServer | ClickHouseServer = request.getfixturevalue(
        "server" if any_url.startswith("postgresql") else "clickhouse"
    )
    return found
