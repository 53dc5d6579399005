"""Opening a database in PostgreSQL: what is wrong with it is said with the way out, and never the password."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.rigs.fleet import fleet_calls, ship, some_calls, written
from tests.rigs.made_records import NOON, record
from tests.rigs.postgres_server import PASSWORD, PostgresServer
from tests.rigs.services import free_port
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.fleet.database import FleetError
from tokenmeter.ledger.fleet.postgresql import schema
from tokenmeter.ledger.fleet.postgresql.schema import connect, connect_for_reading, connect_for_shipping
from tokenmeter.ledger.fleet.source_file import SHIPPED
from tokenmeter.ledger.tables import COLUMNS, ROW


def refused(url: str, *, reading: bool = False) -> FleetError:
    with pytest.raises(FleetError) as failed:
        connect_for_reading(url) if reading else connect_for_shipping(url, "UTC")
    assert PASSWORD not in str(failed.value)
    return failed.value


def test_a_wrong_password_is_said(server: PostgresServer) -> None:
    error = refused(server.url_of("postgres", password="guess"))
    assert "does not let this user in" in str(error)
    assert "guess" not in str(error)
    assert not error.away


def test_a_database_that_is_not_there_is_said(server: PostgresServer) -> None:
    assert "there is no such database" in str(refused(server.url_of("nowhere")))


def test_a_server_that_is_not_there_is_away(server: PostgresServer) -> None:
    error = refused(f"postgresql://postgres@127.0.0.1:{free_port()}/x")
    assert error.away
    assert "does not answer" in str(error)


def test_a_url_that_is_none_is_said(server: PostgresServer) -> None:
    error = refused(server.url + "?no_such_option=1")
    assert "the URL is not understood" in str(error)


def test_a_newer_schema_is_refused(url: str, server: PostgresServer) -> None:
    connect_for_shipping(url, "UTC").close()
    server.execute("INSERT INTO tokenmeter.versions (version) SELECT max(version) + 1 FROM tokenmeter.versions", url)
    for reading in (False, True):
        assert "made by a newer tokenmeter (schema 4, this one knows 3)" in str(refused(url, reading=reading))


@pytest.mark.parametrize(
    ("damage", "lacks"),
    [
        ("DROP TABLE tokenmeter.versions", "the table versions"),
        ("DELETE FROM tokenmeter.versions", "a version before its last"),
        ("DROP TABLE tokenmeter.days", "the table days"),
        ("ALTER TABLE tokenmeter.days DROP COLUMN amount", "the column days.amount"),
        ("DROP VIEW tokenmeter.calls", "the table calls"),
    ],
)
def test_a_schema_that_is_not_whole_is_refused(url: str, server: PostgresServer, damage: str, lacks: str) -> None:
    connect_for_shipping(url, "UTC").close()
    server.execute(damage, url)
    for reading in (False, True):
        error = str(refused(url, reading=reading))
        assert f"lacks {lacks}" in error
        assert "DROP SCHEMA tokenmeter CASCADE" in error


def test_a_version_that_fails_leaves_nothing_behind(
    url: str, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = schema._versions()
    monkeypatch.setattr(schema, "_versions", lambda: (*good, "CREATE TABLE tokenmeter.more (id integer); oops"))
    assert "syntax error" in str(refused(url))
    monkeypatch.undo()
    connect_for_shipping(url, "UTC").close()
    assert server.execute("SELECT version FROM tokenmeter.versions ORDER BY 1", url) == [(1,), (2,), (3,)]


def test_an_older_schema_is_brought_up_to_date_with_its_calls(url: str, path: Path, server: PostgresServer) -> None:
    with connect(url) as connection:
        connection.execute(schema._versions()[0].encode())
        connection.execute("INSERT INTO tokenmeter.versions (version) VALUES (1)")
        connection.execute("INSERT INTO tokenmeter.settings VALUES ('zone', 'UTC')")
        connection.execute("CREATE VIEW public.mine AS SELECT id, amount FROM tokenmeter.calls")
        connection.execute("INSERT INTO tokenmeter.dims (digest, end_state, known) VALUES ('old', 'complete', 0)")
        connection.execute("INSERT INTO tokenmeter.tagsets (digest, tags) VALUES ('old', '{}')")
        connection.execute("SELECT tokenmeter.make_month('2026-11-01')")
        connection.execute(
            "INSERT INTO tokenmeter.call_rows (id, ended_at, span_us, duration_ns, day, dims, tagset, provisional) "
            "VALUES ('old', '2026-11-01', 1, 1000, '2026-11-01', 1, 1, false)"
        )
    assert "was made by an older tokenmeter: tokenmeter ledger ship FILE" in str(refused(url, reading=True))
    one = record(id="new", account="key-0123", tool_definition_tokens=17)
    assert ship(written(path, [one]), url).new == 1
    query = "SELECT id, account, tool_definition_tokens, cache_saved FROM tokenmeter.calls ORDER BY ended_at"
    assert server.execute(query, url) == [("old", None, None, None), ("new", "key-0123", 17, None)]
    assert [name for (name,) in server.execute("SELECT id FROM public.mine ORDER BY id", url)] == ["new", "old"]


def test_an_empty_database_is_said_to_readers(url: str) -> None:
    assert "holds no ledger yet: tokenmeter ledger ship FILE" in str(refused(url, reading=True))


def test_a_user_without_rights_is_told_which(url: str, path: Path, server: PostgresServer) -> None:
    ship(written(path, some_calls(3)), url)
    server.execute("CREATE ROLE viewer LOGIN PASSWORD 'view'")
    viewer = url.replace(f"postgres:{PASSWORD}@", "viewer:view@")
    written(path, some_calls(3, first=3))
    with pytest.raises(FleetError, match=r"lacks a right.*permission denied"):
        ship(path, viewer)


def test_a_user_who_may_change_rows_alone_begins_a_month(url: str, path: Path, server: PostgresServer) -> None:
    ship(written(path, some_calls(3)), url)
    server.execute("CREATE ROLE writer LOGIN PASSWORD 'w'")
    for right in (
        "USAGE ON SCHEMA tokenmeter",
        "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tokenmeter",
    ):
        server.execute(f"GRANT {right} TO writer", url)
    written(path, [record(ended=NOON.replace(year=2027), id="next year")])
    assert ship(path, url.replace(f"postgres:{PASSWORD}@", "writer:w@")).new == 1
    assert "next year" in fleet_calls(url)


def test_without_its_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'tokenmeter-sdk\[fleet\]'"):
        connect_for_reading("postgresql://db/spend")


def test_tables_have_the_columns_of_a_file(url: str, server: PostgresServer) -> None:
    connect_for_shipping(url, "UTC").close()

    def columns(table: str) -> list[str]:
        query = f"SELECT attname FROM pg_attribute WHERE attrelid = 'tokenmeter.{table}'::regclass AND attnum > 0 ORDER BY attnum"  # noqa: E501, S608
        return [name for (name,) in server.execute(query, url)]

    assert [name for name in columns("calls") if name in COLUMNS] == list(COLUMNS)
    split = {"ended_us": "ended_at", "amount_whole": "amount", "vendor_whole": "vendor_amount"}
    names = [split.get(name, name) for name in SHIPPED if not name.endswith("_pico")]
    assert sorted(columns("call_rows")) == sorted(names)
    assert {*ROW} - {*SHIPPED} == {"response_key"}
