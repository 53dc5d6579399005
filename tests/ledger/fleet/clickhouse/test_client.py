"""The URL of a database in ClickHouse, and the remedies for what a server says."""

from __future__ import annotations

import sys

import pytest

from tests.rigs.services import free_port
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.fleet.clickhouse.client import connect, database_of, remedy
from tokenmeter.ledger.fleet.database import FleetError, is_url

URL = "clickhouse://u:s3cret@db/spend"


class ServerError(Exception):
    """An error of the server, with its code as clickhouse-connect gives it."""

    def __init__(self, code: int | None) -> None:
        super().__init__("what the server\nsaid")
        self.code = code


@pytest.mark.parametrize(
    ("code", "advice", "away"),
    [
        (516, "does not let this user in", False),
        (81, "CREATE DATABASE makes it", False),
        (497, "grant the right that is named", False),
        (60, "the database is not whole", False),
        (243, "its disk is full", False),
        (115, "a setting of the URL", False),
        (252, "the server does not answer, or takes nothing now", True),
        (202, "the server does not answer, or takes nothing now", True),
        (None, "the server does not answer, or takes nothing now", True),
        (62, "what the server said", False),
    ],
)
def test_a_remedy_is_named_for_what_a_server_says(code: int | None, advice: str, away: bool) -> None:
    error = remedy(URL, ServerError(code))
    assert str(error).startswith("clickhouse://u@db/spend: ")
    assert advice in str(error)
    assert "what the server said" in str(error)
    assert error.away is away


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("clickhouse://db/spend", "spend"),
        ("clickhouses://u:p@db:8443/my%20spend?compress=0", "my spend"),
        ("clickhouse://db", "tokenmeter"),
        ("clickhouse://db/", "tokenmeter"),
    ],
)
def test_the_database_is_that_of_the_url(url: str, name: str) -> None:
    assert is_url(url)
    assert database_of(url) == name


@pytest.mark.parametrize("url", ["clickhouses://127.0.0.1:{}/x", "clickhouse://127.0.0.1:{}/x?secure=1"])
def test_a_secure_url_speaks_https(url: str) -> None:
    pytest.importorskip("clickhouse_connect")
    port = free_port()
    with pytest.raises(FleetError) as failed:
        connect(url.format(port))
    assert f"https://127.0.0.1:{port}" in str(failed.value)


def test_without_its_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "clickhouse_connect", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'tokenmeter-sdk\[clickhouse\]'"):
        connect("clickhouse://db/spend")
