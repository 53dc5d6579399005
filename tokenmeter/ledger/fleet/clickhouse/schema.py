"""Brings the tables of a database in ClickHouse up to date, or refuses it.

The versions of the schema are the files of `ledger/sql/clickhouse`. ClickHouse has no transactions: the statements of a
version may be applied again, and its number is noted after the last one, so that what was cut off is finished by the
next shipper. A newer schema is refused rather than guessed at; one that lacks a table or a column of its version is
refused, too. Columns that a user added are left alone.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from tokenmeter.ledger.fleet.clickhouse.client import connect, database_of, remedies
from tokenmeter.ledger.fleet.clickhouse.columns import COLUMNS
from tokenmeter.ledger.fleet.database import FleetError, first_lack, shown

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

__all__ = ["connect_for_reading", "connect_for_shipping"]

_TABLES: Final[dict[str, tuple[str, ...]]] = {
    "settings": ("name", "value"),
    "row_tags": ("name",),
    "call_rows": tuple(COLUMNS),
    "day_marks": ("day", "begun", "ended", "begun_at"),
    "day_sums": ("day", "begun", "ended", "made_at", "groups.calls", "groups.amount"),
    "losses": ("file", "seq", "first_us", "last_us", "calls", "reason"),
    "shipped_files": ("file", "seq", "last_id", "losses_seq", "provisional", "shipped_at"),
    "calls": ("id", "ended_at", "calls"),
    "settled_days": ("day",),
    "days": ("day", "calls"),
}
"""Tables and columns without which the newest version is not whole."""


def connect_for_shipping(url: str, zone: str) -> Client:
    """Connect, and bring the schema up to date; `zone` is the clock of days if it is made now. Raises FleetError."""
    client = connect(url)
    with ExitStack() as unready, remedies(url):
        unready.callback(client.close)
        name = database_of(url)
        if not _exists(client, name):
            client.command(f"CREATE DATABASE IF NOT EXISTS {_quoted(name)}")
        client.database = name
        if _version(client, url) != len(_versions()):
            _upgrade(client, url, zone)
        _check(client, url)
        unready.pop_all()
    return client


def connect_for_reading(url: str) -> Client:
    """Connect to a database to which files were shipped. Raises FleetError."""
    client = connect(url)
    with ExitStack() as unready, remedies(url):
        unready.callback(client.close)
        name = database_of(url)
        if _exists(client, name):
            client.database = name
        version = _version(client, url) if client.database == name else 0
        if version < len(_versions()):
            state = "was made by an older tokenmeter" if version else "holds no ledger yet"
            brings = "brings it up to date" if version else "brings the first calls"
            raise FleetError(f"{shown(url)} {state}: tokenmeter ledger ship FILE {shown(url)} {brings}")
        _check(client, url)
        unready.pop_all()
    return client


def _exists(client: Client, name: str) -> bool:
    found = client.query("SELECT count() FROM system.databases WHERE name = {name:String}", {"name": name})
    return bool(found.result_rows[0][0])


def _quoted(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("`", "\\`")
    return f"`{escaped}`"


@cache
def _versions() -> tuple[tuple[str, ...], ...]:
    """The statements of each version, in their order."""
    folder = files("tokenmeter.ledger") / "sql" / "clickhouse"
    found = sorted(folder.iterdir(), key=lambda file: int(file.name.partition("_")[0]))
    return tuple(tuple(filter(str.strip, file.read_text(encoding="utf-8").split(";\n"))) for file in found)


def _version(client: Client, url: str) -> int:
    """The version of the schema, 0 where there is none. Raises FleetError for one that is newer or not whole."""
    query = "SELECT count() FROM system.tables WHERE database = currentDatabase() AND name = 'versions'"
    if not client.query(query).result_rows[0][0]:
        return 0
    there = [one for (one,) in client.query("SELECT DISTINCT version FROM versions ORDER BY version").result_rows]
    if there and there[-1] > len(_versions()):
        raise FleetError(
            f"{shown(url)} was made by a newer tokenmeter (schema {there[-1]}, this one knows {len(_versions())}): "
            "upgrade tokenmeter-sdk"
        )
    if there != list(range(1, len(there) + 1)):
        raise _broken(url, "a version before its last")
    return len(there)


def _upgrade(client: Client, url: str, zone: str) -> None:
    for version in range(_version(client, url) + 1, len(_versions()) + 1):
        for statement in _versions()[version - 1]:
            client.command(statement)
        if version == 1:
            client.insert("settings", [["zone", zone]], column_names=["name", "value"])
        client.insert("versions", [[version]], column_names=["version"])


def _check(client: Client, url: str) -> None:
    """Raise FleetError where a table or a column is missing."""
    query = "SELECT table, name FROM system.columns WHERE database = currentDatabase()"
    there = {(table, name) for table, name in client.query(query).result_rows}
    if (lack := first_lack(_TABLES, there)) is not None:
        raise _broken(url, lack)


def _broken(url: str, what: str) -> FleetError:
    return FleetError(
        f"{shown(url)}: the database lacks {what}: restore it from a backup, or drop it (DROP DATABASE) and ship the "
        "files again"
    )
