"""The ledger in a database, as a program has it: the call sees a file, and a thread ships it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import tokenmeter
from tests.rigs.clickhouse_server import ClickHouseServer
from tests.rigs.fleet import file_calls, fleet_calls, ship, some_calls, written, wrong_days
from tests.rigs.made_records import record
from tests.rigs.postgres_server import PASSWORD, PostgresServer
from tests.rigs.services import free_port, until
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.fleet import spooled
from tokenmeter.ledger.fleet.shipping import Shipper
from tokenmeter.ledger.fleet.spooled import SpooledLedger, default_spool

PRELUDE = """
import os, sys, time
import tokenmeter
tokenmeter.configure(ledger=sys.argv[1], ledger_spool=sys.argv[2])
def ask(count):
    for _ in range(count):
        with tokenmeter.call(provider="deepseek", model="deepseek-chat") as call:
            call.observe_usage(tokenmeter.Usage(input_tokens=10, output_tokens=1))
"""


def program(url: str, spool: Path, body: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PRELUDE + body, url, str(spool)]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> str:
    """What a process wrote to standard error until its good end."""
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    return errors


def test_what_is_recorded_is_in_the_database_at_the_end(any_url: str, path: Path) -> None:
    assert ended(program(any_url, path, "ask(50)")) == ""
    there = fleet_calls(any_url)
    assert there == file_calls(path)
    assert len(there) == 50
    assert {call["status"] for call in there.values()} == {"priced"}
    assert wrong_days(any_url) == 0


def test_health_counts_the_calls_that_wait_for_the_database(any_url: str, path: Path) -> None:
    away = SpooledLedger(f"postgresql://postgres@127.0.0.1:{free_port()}/x", str(path))
    for one in some_calls(7):
        away.write(one)
    away.flush()
    until(lambda: away.health()["spooled"] == 7, patience=60)
    assert away.health()["shipped"] == 0
    away.close()
    there = SpooledLedger(any_url, str(path))
    there.write(record(id="eighth"))
    there.flush()
    until(lambda: there.health()["spooled"] == 0 and there.health()["shipped"] == 8, patience=60)
    there.close()


def test_calls_are_shipped_while_the_program_runs(any_url: str, path: Path) -> None:
    ledger = SpooledLedger(any_url, str(path))
    for one in some_calls(40):
        ledger.write(one)
    until(lambda: ledger.health()["shipped"] == 40, patience=60)
    ledger.write(record(id="late"))
    until(lambda: "late" in fleet_calls(any_url), patience=60)
    ledger.close(10)
    assert fleet_calls(any_url) == file_calls(path)


def test_a_database_that_is_away_is_not_noticed_and_gets_all_when_it_is_back(
    any_url: str, path: Path, any_server: PostgresServer | ClickHouseServer, caplog: pytest.LogCaptureFixture
) -> None:
    any_server.stop()
    ledger = SpooledLedger(any_url, str(path))
    for one in some_calls(30):
        ledger.write(one)
    assert ledger.flush(10)
    until(lambda: ledger.health()["database_problem"] is not None, patience=60)
    assert ledger.health()["lost"] == 0
    assert len(file_calls(path)) == 30
    any_server.start()
    for one in some_calls(10, first=30):
        ledger.write(one)
    until(lambda: ledger.health()["shipped"] == 40, patience=60)
    any_server.restart()
    for one in some_calls(10, first=40):
        ledger.write(one)
    until(lambda: ledger.health()["shipped"] == 50, patience=60)
    until(lambda: ledger.health()["database_problem"] is None, patience=60)
    ledger.close(10)
    assert fleet_calls(any_url) == file_calls(path)
    said = [one.getMessage() for one in caplog.records]
    problems = sum("the ledger is not shipped" in one for one in said)
    assert problems == 2 if any_url.startswith("postgresql") else problems in (1, 2), "HTTP keeps no connection to lose"
    assert sum("takes calls again" in one for one in said) == problems
    assert not any(PASSWORD in one for one in said)


def test_a_program_ends_in_time_without_its_database_and_the_next_one_ships(
    url: str, path: Path, server: PostgresServer
) -> None:
    away = f"postgresql://postgres@127.0.0.1:{free_port()}/x"
    began = time.monotonic()
    assert "Calls wait in" in ended(program(away, path, "ask(20)"))
    assert time.monotonic() - began < 60
    assert len(file_calls(path)) == 20
    ended(program(url, path, "ask(1)"))
    assert fleet_calls(url) == file_calls(path)
    assert len(fleet_calls(url)) == 21


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_parent_and_forked_children_lose_and_double_nothing(any_url: str, path: Path) -> None:
    body = """
ask(20)
time.sleep(1.5)
children = []
for _ in range(3):
    child = os.fork()
    if not child:
        ask(20)
        tokenmeter.default().shutdown(10)
        os._exit(0)
    children.append(child)
    ask(10)
for child in children:
    os.waitpid(child, 0)
ask(5)
"""
    ended(program(any_url, path, body))
    ship(path, any_url)
    assert len(file_calls(path)) == 20 + 3 * 30 + 5
    assert fleet_calls(any_url) == file_calls(path)
    assert wrong_days(any_url) == 0


def test_of_processes_with_one_file_one_ships(url: str, path: Path, server: PostgresServer) -> None:
    programs = [program(url, path, "ask(10)\ntime.sleep(3)\nask(10)\ntime.sleep(1)") for _ in range(3)]
    most = 0
    while any(one.poll() is None for one in programs):
        query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{url.rpartition('/')[2]}'"  # noqa: S608
        most = max(most, server.execute(query)[0][0])
        time.sleep(0.1)
    for one in programs:
        ended(one)
    assert most == 1
    ship(path, url)
    assert fleet_calls(url) == file_calls(path)
    assert len(fleet_calls(url)) == 60


def test_what_was_shipped_is_deleted_from_the_file_later(
    any_url: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooled, "KEPT", 100)
    ledger = SpooledLedger(any_url, str(path))
    for one in some_calls(3000):
        ledger.write(one)
    assert ledger.flush(30)
    until(lambda: len(file_calls(path)) == 100, patience=60)
    ledger.write(record(id="late"))
    until(lambda: "late" in fleet_calls(any_url), patience=60)
    ledger.close(10)
    assert len(fleet_calls(any_url)) == 3001
    assert not ship(path, any_url).new


def test_a_call_without_its_cost_is_not_deleted(any_url: str, path: Path) -> None:
    written(path, some_calls(2500))
    import sqlite3

    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE call_rows SET provisional = 1 WHERE id IN ('call-2', 'call-3')")
    shipper = Shipper(str(path), any_url)
    shipper.ship()
    shipper.forget_shipped(10)
    shipper.close()
    assert set(file_calls(path)) == {"call-2", "call-3", *(f"call-{number}" for number in range(2490, 2500))}


def test_the_file_has_a_place_of_its_own_for_each_database(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, other = (default_spool(f"postgresql://u:{word}@db/spend") for word in ("a", "b"))
    assert one == other
    assert one != default_spool("postgresql://db/other")
    ledger = SpooledLedger("postgresql://db/spend")
    assert Path(ledger.path).parent == tmp_path / "tokenmeter"
    assert (tmp_path / "tokenmeter").stat().st_mode & 0o077 == 0


def test_settings_make_it_and_use_it_on(any_url: str, path: Path) -> None:
    tokenmeter.configure(ledger=any_url, ledger_spool=str(path))
    before = tokenmeter.default()._ledger
    assert isinstance(before, SpooledLedger)
    tokenmeter.configure(estimate=False)
    assert tokenmeter.default()._ledger is before
    tokenmeter.configure(ledger=str(path))
    assert tokenmeter.default()._ledger is not before


@pytest.mark.parametrize("place", ["redis://db/x", "mysql://db/x"])
def test_another_engine_is_refused(place: str) -> None:
    with pytest.raises(
        ConfigurationError, match=r"is no ledger; give a path, or postgresql:// or clickhouse://HOST/DATABASE"
    ):
        tokenmeter.configure(ledger=place)


def test_without_its_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'tokenmeter-sdk\[fleet\]'"):
        SpooledLedger("postgresql://db/spend")
