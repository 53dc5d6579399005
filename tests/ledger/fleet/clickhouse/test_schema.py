"""Opening a database in ClickHouse: what is wrong with it is said with the way out, and never the password."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest

from tests.rigs.clickhouse_server import PASSWORD, ClickHouseServer
from tests.rigs.fleet import fleet_calls, ship, some_calls, written
from tests.rigs.services import free_port
from tokenmeter.ledger.fleet.clickhouse import schema
from tokenmeter.ledger.fleet.clickhouse.columns import COLUMNS
from tokenmeter.ledger.fleet.clickhouse.schema import connect_for_reading, connect_for_shipping
from tokenmeter.ledger.fleet.database import FleetError
from tokenmeter.ledger.tables import COLUMNS as WIDE
from tokenmeter.ledger.tables import ROLLED

SQL = (files("tokenmeter.ledger") / "sql/clickhouse/1_tables.sql").read_text("utf-8")


def declared(table: str) -> dict[str, str]:
    """The columns of a table as the SQL declares them: name to type."""
    (body,) = re.findall(rf"CREATE TABLE IF NOT EXISTS {table} \(\n(.*?)\n\) ENGINE", SQL, re.DOTALL)
    kind = r"    (\w+) ((?:Simple\w+\(\w+, )?\w+(?:\(.*?\))*(?=,?$| EPHEMERAL| DEFAULT))"
    return dict(re.findall(kind, body, re.MULTILINE))


def test_calls_are_inserted_as_the_table_declares_them() -> None:
    made = {"amount", "vendor_amount"}
    assert {name: kind for name, kind in declared("call_rows").items() if name not in made} == COLUMNS


def test_the_view_has_the_columns_of_a_file() -> None:
    (view,) = re.findall(r"CREATE VIEW IF NOT EXISTS calls AS SELECT\n(.*?)\nFROM call_rows", SQL, re.DOTALL)
    names = re.findall(r"^    .* AS (\w+),?$|^    \){1,3} AS (\w+),$", view, re.MULTILINE)
    assert tuple(one or other for one, other in names)[: len(WIDE)] == WIDE


def test_sums_have_the_dimensions_of_calls_and_the_sums_of_a_file() -> None:
    (groups,) = re.findall(r"groups Nested \(\n(.*?)\n    \)", SQL, re.DOTALL)
    kinds = dict(re.findall(r"^ +(\w+) (.*?),?$", groups, re.MULTILINE))
    sums = {"calls", *ROLLED, "amount", "vendor_amount", "first_at", "last_at"}
    assert {name: kind for name, kind in kinds.items() if name not in sums} == {
        name: kind for name, kind in COLUMNS.items() if name in kinds.keys() - sums
    }
    assert sums < kinds.keys()


def test_every_statement_parses() -> None:
    sqlglot = pytest.importorskip("sqlglot", reason="the SQL of ClickHouse is parsed by sqlglot")
    (statements,) = schema._versions()
    assert len(statements) == 11
    for statement in statements:
        assert type(sqlglot.parse_one(statement, read="clickhouse")).__name__ == "Create"


def refused(url: str, *, reading: bool = False) -> FleetError:
    with pytest.raises(FleetError) as failed:
        connect_for_reading(url) if reading else connect_for_shipping(url, "UTC")
    assert PASSWORD not in str(failed.value)
    return failed.value


def test_a_wrong_password_is_said(clickhouse: ClickHouseServer) -> None:
    error = refused(clickhouse.url_of("spend", password="guess"))
    assert "does not let this user in" in str(error)
    assert "guess" not in str(error)
    assert not error.away


def test_user_and_password_may_come_from_the_environment(
    clickhouse: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKHOUSE_USER", "default")
    monkeypatch.setenv("CLICKHOUSE_PASSWORD", PASSWORD)
    connect_for_shipping(f"clickhouse://127.0.0.1:{clickhouse.port}/environment", "UTC").close()


def test_a_server_that_is_not_there_is_away(clickhouse: ClickHouseServer) -> None:
    error = refused(f"clickhouse://default@127.0.0.1:{free_port()}/x")
    assert error.away
    assert "does not answer" in str(error)


@pytest.mark.parametrize("url", ["clickhouse://h:port/x", "clickhouse://[::1/x"])
def test_a_url_that_is_none_is_said(clickhouse: ClickHouseServer, url: str) -> None:
    assert "the URL is not understood" in str(refused(url))


def test_a_setting_that_the_server_does_not_know_is_said(click_url: str) -> None:
    assert "no_such_option" in str(refused(click_url + "?no_such_option=1"))


def test_a_user_without_rights_is_told_which(click_url: str, path: Path, clickhouse: ClickHouseServer) -> None:
    ship(written(path, some_calls(3)), click_url)
    written(path, some_calls(3, first=3))
    with pytest.raises(FleetError, match=r"lacks a right.*readonly"):
        ship(path, click_url.replace(f"default:{PASSWORD}@", "reader:read@"))


def test_a_newer_schema_is_refused(click_url: str, clickhouse: ClickHouseServer) -> None:
    connect_for_shipping(click_url, "UTC").close()
    clickhouse.command("INSERT INTO versions (version) VALUES (2)", database=name_of(click_url))
    for reading in (False, True):
        assert "made by a newer tokenmeter (schema 2, this one knows 1)" in str(refused(click_url, reading=reading))


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


@pytest.mark.parametrize(
    ("damage", "lacks"),
    [
        ("DROP TABLE day_sums", "the table day_sums"),
        ("ALTER TABLE call_rows DROP COLUMN more", "the column call_rows.more"),
        ("DROP VIEW calls", "the table calls"),
        ("INSERT INTO versions (version) VALUES (3)", "a version before its last"),
    ],
)
def test_a_schema_that_is_not_whole_is_refused(
    click_url: str, clickhouse: ClickHouseServer, damage: str, lacks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_for_shipping(click_url, "UTC").close()
    clickhouse.command(damage, database=name_of(click_url))
    if "3" in damage:
        known = schema._versions()
        monkeypatch.setattr(schema, "_versions", lambda: known * 3)
    for reading in (False, True):
        error = str(refused(click_url, reading=reading))
        assert f"lacks {lacks}" in error
        assert "DROP DATABASE" in error


def test_a_version_that_was_cut_off_is_finished_by_the_next(
    click_url: str, path: Path, clickhouse: ClickHouseServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (good,) = schema._versions()
    monkeypatch.setattr(schema, "_versions", lambda: ((*good[:5], "CREATE TABLE oops"),))
    assert "INCORRECT_QUERY" in str(refused(click_url))
    monkeypatch.undo()
    assert "holds no ledger yet" in str(refused(click_url, reading=True))
    ship(written(path, some_calls(3)), click_url)
    assert len(fleet_calls(click_url)) == 3
    assert clickhouse.execute("SELECT DISTINCT version FROM versions", name_of(click_url)) == [(1,)]


def test_an_empty_database_is_said_to_readers(click_url: str) -> None:
    assert "holds no ledger yet: tokenmeter ledger ship FILE" in str(refused(click_url, reading=True))
