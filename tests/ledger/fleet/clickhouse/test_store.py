"""Calls on their way into ClickHouse: whatever ends in the middle and whatever comes twice, each is there once."""

from __future__ import annotations

import itertools
import json
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.ledger.fleet.clickhouse.test_schema import name_of
from tests.rigs.clickhouse_server import ClickHouseServer
from tests.rigs.fleet import file_calls, fleet_calls, ship, some_calls, written, wrong_days
from tests.rigs.made_records import record
from tokenmeter.cli import main
from tokenmeter.ledger.file import LedgerFile
from tokenmeter.ledger.fleet.database import FleetError
from tokenmeter.ledger.losses import Loss
from tokenmeter.ledger.rows import row
from tokenmeter.record import FROM_SPAN

_SHIP = """
import sys
from tokenmeter.ledger.fleet.shipping import Shipper
shipper = Shipper(sys.argv[1], sys.argv[2], batch=20)
while shipper.step():
    print("shipped", flush=True)
"""


@pytest.fixture
def shipping(path: Path, click_url: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has shipped two batches of twenty calls, of a file of two thousand."""
    written(path, some_calls(2000))
    process = subprocess.Popen([sys.executable, "-c", _SHIP, str(path), click_url], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["shipped\n"] * 2
    yield process
    process.kill()
    process.wait(30)
    process.stdout.close()


def test_a_shipper_that_is_killed_goes_on_where_it_was(
    click_url: str, path: Path, shipping: subprocess.Popen[str]
) -> None:
    shipping.send_signal(signal.SIGKILL)
    shipping.wait(30)
    assert 40 <= len(fleet_calls(click_url)) < 2000
    assert ship(path, click_url).read <= 1960
    assert fleet_calls(click_url) == file_calls(path)
    assert wrong_days(click_url) == 0


def test_a_server_that_crashes_loses_nothing(
    click_url: str, path: Path, shipping: subprocess.Popen[str], clickhouse: ClickHouseServer
) -> None:
    clickhouse.stop()
    assert "the server does not answer" in shipping.communicate(timeout=60)[1]
    with pytest.raises(FleetError, match="does not answer") as failed:
        ship(path, click_url)
    assert failed.value.away
    clickhouse.start()
    assert wrong_days(click_url) == 0
    assert ship(path, click_url).read <= 1960
    assert fleet_calls(click_url) == file_calls(path)
    assert wrong_days(click_url) == 0


def forget_places(url: str, clickhouse: ClickHouseServer) -> None:
    """As after a crash before the place of a batch was noted."""
    clickhouse.command("TRUNCATE TABLE shipped_files", database=name_of(url))


@pytest.mark.parametrize("merged", [False, True])
def test_calls_that_are_shipped_again_add_nothing(
    click_url: str, path: Path, clickhouse: ClickHouseServer, merged: bool
) -> None:
    written(path, some_calls(300))
    name = name_of(click_url)
    for _ in range(3):
        ship(path, click_url, 70)
        forget_places(click_url, clickhouse)
        if not merged:
            clickhouse.command("SYSTEM STOP MERGES call_rows", database=name)
    if merged:
        clickhouse.command("OPTIMIZE TABLE call_rows FINAL", database=name)
    assert clickhouse.execute("SELECT count() FROM call_rows", name)[0][0] == (300 if merged else 900)
    assert fleet_calls(click_url) == file_calls(path)
    assert clickhouse.execute("SELECT sum(calls) FROM days", name) == [(300,)]
    assert wrong_days(click_url) == 0


@pytest.mark.parametrize("order", list(itertools.permutations(["without", "with", "again"])))
def test_of_a_call_that_comes_with_and_without_its_cost_the_former_counts(
    click_url: str, path: Path, clickhouse: ClickHouseServer, order: tuple[str, ...]
) -> None:
    one = some_calls(1, first=1)
    for name in order:
        file = LedgerFile(str(path.with_name(f"{name}.db")))
        file.write(
            [] if name == "without" else [row(one[0])], unpriced=[row(one[0], priced=False)] * (name == "without")
        )
        file.let_go()
        ship(path.with_name(f"{name}.db"), click_url)
    assert fleet_calls(click_url) == file_calls(path.with_name("with.db"))
    clickhouse.command("OPTIMIZE TABLE call_rows FINAL", database=name_of(click_url))
    assert fleet_calls(click_url) == file_calls(path.with_name("with.db"))


@pytest.mark.parametrize("order", list(itertools.permutations(["own", "spans", "again"])))
def test_the_programs_record_wins_whichever_comes_first(click_url: str, tmp_path: Path, order: tuple[str, ...]) -> None:
    records = some_calls(60)
    of_spans = [one._replace(flags=(FROM_SPAN,), attempts=(), usage_raw=None) for one in records[20:]]
    files = {
        "own": written(tmp_path / "own.db", records[:50]),
        "spans": written(tmp_path / "spans.db", of_spans),
        "again": written(tmp_path / "again.db", of_spans[::-1]),
    }
    for _ in range(2):
        for name in order:
            ship(files[name], click_url, batch=30)
    rest = written(tmp_path / "rest.db", of_spans[30:])
    assert fleet_calls(click_url) == file_calls(files["own"]) | file_calls(rest)
    assert wrong_days(click_url) == 0


def test_a_record_that_replaces_another_in_the_spool_is_shipped_again(click_url: str, tmp_path: Path) -> None:
    spool, records = tmp_path / "spool.db", some_calls(30)
    written(spool, [one._replace(flags=(FROM_SPAN,), attempts=()) for one in records])
    ship(spool, click_url)
    written(spool, records[::-1])
    assert ship(spool, click_url).read == 30
    assert fleet_calls(click_url) == file_calls(spool)
    assert wrong_days(click_url) == 0


def test_a_constraint_of_the_user_refuses_single_calls(
    click_url: str, path: Path, clickhouse: ClickHouseServer
) -> None:
    ship(written(path, some_calls(1)), click_url)
    clickhouse.command("ALTER TABLE call_rows ADD CONSTRAINT small CHECK ifNull(output_tokens, 0) <> 77",
                       database=name_of(click_url))  # fmt: skip
    written(path, some_calls(200, first=1))
    done = ship(path, click_url)
    assert [call.id for call in done.refused] == ["call-77"]
    assert fleet_calls(click_url).keys() == file_calls(path).keys() - {"call-77"}
    assert wrong_days(click_url) == 0
    ((calls, reason),) = clickhouse.execute("SELECT calls, reason FROM losses", name_of(click_url))
    assert (calls, reason.partition(":")[0]) == (1, "the database refused call call-77")


def test_a_database_that_refuses_everything_counts_nothing_as_lost(
    click_url: str, path: Path, clickhouse: ClickHouseServer
) -> None:
    name = name_of(click_url)
    ship(written(path, some_calls(1)), click_url)
    clickhouse.command("ALTER TABLE call_rows ADD CONSTRAINT wrong CHECK span_us < 0", database=name)
    written(path, some_calls(100, first=1))
    with pytest.raises(FleetError, match="refuses most calls"):
        ship(path, click_url)
    assert clickhouse.execute("SELECT count() FROM losses", name) == [(0,)]
    clickhouse.command("ALTER TABLE call_rows DROP CONSTRAINT wrong", database=name)
    assert ship(path, click_url).read == 100


def test_a_column_of_the_user_is_left_alone(click_url: str, path: Path, clickhouse: ClickHouseServer) -> None:
    ship(written(path, some_calls(3)), click_url)
    clickhouse.command("ALTER TABLE call_rows ADD COLUMN reviewed Nullable(Bool)", database=name_of(click_url))
    ship(written(path, some_calls(3, first=3)), click_url)
    assert fleet_calls(click_url) == file_calls(path)


def test_names_of_any_letters_go_in(click_url: str, path: Path) -> None:
    texts = ("a\0b", "a\\b'\"\t\n", "推荐", "{x:String}?", "")
    written(
        path, [record(id=f"call-{number}", request_model=text, tags={"t": text}) for number, text in enumerate(texts)]
    )
    ship(path, click_url)
    assert fleet_calls(click_url) == file_calls(path)


def test_an_end_that_its_clock_does_not_have_is_refused(click_url: str, path: Path) -> None:
    written(path, [record(id="near"), record(id="far")])
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE call_rows SET ended_us = 11000000000000000 WHERE id = 'far'")
    assert [(call.id, call.why) for call in ship(path, click_url).refused] == [
        ("far", "its end is after the year 2299")
    ]
    assert fleet_calls(click_url).keys() == {"near"}


def test_the_command_says_how_many_calls_it_read(
    click_url: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(path, some_calls(30))
    assert main(["ledger", "ship", str(path), click_url]) == 0
    said = capsys.readouterr().out
    assert said.startswith("clickhouse://default@127.0.0.1:")
    assert said.endswith(f"/{name_of(click_url)}: 30 read\n")
    assert main(["ledger", "ship", str(path), click_url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"read": 0, "new": 0, "priced": 0, "losses": 0, "refused": []}


def test_losses_of_the_file_are_shipped_once(click_url: str, path: Path, clickhouse: ClickHouseServer) -> None:
    file = LedgerFile(str(path))
    file.write([], [Loss(1, 2, 30, "the queue was full")])
    assert ship(path, click_url).losses == 30
    forget_places(click_url, clickhouse)
    file.write([], [Loss(3, 4, 5, "the queue was full")])
    ship(path, click_url)
    assert clickhouse.execute("SELECT sum(calls) FROM losses FINAL", name_of(click_url)) == [(35,)]
    file.let_go()
