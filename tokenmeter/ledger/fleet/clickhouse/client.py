"""Connects to ClickHouse by its URL, and names the remedy for each failure.

`clickhouse://USER:PASSWORD@HOST:PORT/DATABASE` is HTTP, `clickhouses://` or `?secure=1` HTTPS. What else stands after
`?` are options of clickhouse-connect, or settings of the server. User and password may come from `CLICKHOUSE_USER` and
`CLICKHOUSE_PASSWORD`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.fleet.database import FleetError, shown

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

__all__ = ["check_driver", "connect", "database_of", "remedies", "remedy"]

_DATABASE: Final = "tokenmeter"
"""Where a URL names no database."""
_TRUE: Final = ("1", "true", "yes", "on")
_OPTIONS: Final[dict[str, Any]] = {
    "client_name": "tokenmeter",
    "connect_timeout": 10,
    "send_receive_timeout": 300,
    "autogenerate_session_id": False,  # a session would keep its requests one after the other
}
"""What a URL may set otherwise."""
_TLS: Final = frozenset(
    {"verify", "ca_cert", "client_cert", "client_cert_key", "server_host_name", "http_proxy", "https_proxy"}
)
"""Options for which the library makes a pool of connections itself."""


def check_driver() -> None:
    """Raise ConfigurationError where clickhouse-connect is not installed."""
    try:
        there = find_spec("clickhouse_connect") is not None
    except ValueError:  # it is being imported, or was taken away
        there = False
    if not there:
        raise ConfigurationError(
            "a ledger in ClickHouse needs clickhouse-connect: pip install 'tokenmeter-sdk[clickhouse]'"
        )


def database_of(url: str) -> str:
    """The name of the database."""
    return unquote(urlsplit(url).path.strip("/")) or _DATABASE


def connect(url: str) -> Client:
    """A client that is in no database yet. Raises FleetError."""
    check_driver()
    import clickhouse_connect

    with remedies(url):
        try:
            parts = urlsplit(url)
            given = dict(parse_qsl(parts.query))
            secure = parts.scheme == "clickhouses" or given.pop("secure", "").lower() in _TRUE
            interface = "https" if secure else "http"
            port = parts.port or (8443 if secure else 8123)
            return clickhouse_connect.get_client(
                host=parts.hostname or "localhost",
                port=port,
                interface=interface,
                username=unquote(parts.username or os.environ.get("CLICKHOUSE_USER") or "default"),
                password=unquote(parts.password or "") or os.environ.get("CLICKHOUSE_PASSWORD") or "",
                pool_mgr=None if given.keys() & _TLS else _pool(interface, parts.hostname, port),
                generic_args=given,
                **{name: value for name, value in _OPTIONS.items() if name not in given},
            )
        except (ValueError, TypeError) as error:
            raise FleetError(
                f"{shown(url)}: the URL is not understood: clickhouse://USER:PASSWORD@HOST:PORT/DATABASE ({error})"
            ) from error


def _pool(interface: str, host: str | None, port: int) -> Any:
    """Connections of our own: the sockets of the library's pool would be those of a forked child, too."""
    from clickhouse_connect.driver.httputil import check_env_proxy, get_pool_manager

    proxy = check_env_proxy(interface, host or "localhost", port)
    return get_pool_manager(https_proxy=proxy) if interface == "https" else get_pool_manager(http_proxy=proxy)


@contextmanager
def remedies(url: str) -> Iterator[None]:
    """Raise FleetError with the remedy for an error of clickhouse-connect."""
    from clickhouse_connect.driver.exceptions import ClickHouseError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (ClickHouseError, HTTPError) as error:
        raise remedy(url, error) from error


def remedy(url: str, error: Exception) -> FleetError:
    """What went wrong with a database, in words, and the way out."""
    code = getattr(error, "code", None)
    text = " ".join(str(error).split())[:500]
    for codes, advice in _REMEDIES:
        if code in codes:
            return FleetError(f"{shown(url)}: {advice} ({text})")
    made = FleetError(f"{shown(url)}: {text}")
    if code is None or code in _WAIT:
        made = FleetError(f"{shown(url)}: the server does not answer, or takes nothing now ({text})")
        made.away = True
    return made


_REMEDIES: Final = (
    ((516, 192, 193, 194),
     "it does not let this user in: see to user and password in the URL, or CLICKHOUSE_USER and CLICKHOUSE_PASSWORD"),
    ((81,), "there is no such database: CREATE DATABASE makes it"),
    ((497, 164), "this user lacks a right: let the owner of the database ship once, and grant the right that is named"),
    ((60, 47, 16, 10), "the database is not whole: restore it, or drop it and ship the files again"),
    ((243,), "its disk is full: make room"),
    ((115, 452), "a setting of the URL is not one of this server, or may not be set by this user"),
)  # fmt: skip
"""Codes of the server, and what to do."""
_WAIT: Final = (159, 202, 209, 210, 242, 252, 241, 279, 319, 999)
"""Codes of a server that is overloaded, out of memory, read-only for now, or cut off from its Keeper."""
