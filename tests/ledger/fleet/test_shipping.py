"""The calls of files in a real database: all of them, once, whatever ends in the middle."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from tests.rigs.fleet import file_calls, fleet_calls, ship, some_calls, written, wrong_days
from tests.rigs.made_records import NOON, priced, record
from tests.rigs.postgres_server import PostgresServer
from tests.rigs.services import until
from tokenmeter.ledger.file import LedgerFile
from tokenmeter.ledger.fleet.database import FleetError
from tokenmeter.ledger.fleet.shipping import Shipper
from tokenmeter.ledger.losses import Loss
from tokenmeter.ledger.rows import row
from tokenmeter.ledger.schema import LedgerError
from tokenmeter.ledger.upkeep import forget_tag
from tokenmeter.ledger.writer import Ledger


def counts(url: str) -> bool:
    """Whether the engine says how many calls were new."""
    return url.startswith("postgresql")


def test_every_call_is_shown_as_the_file_shows_it(any_url: str, path: Path) -> None:
    written(path, some_calls(300))
    done = ship(path, any_url)
    assert (done.read, done.new, done.refused) == (300, 300 if counts(any_url) else None, [])
    assert fleet_calls(any_url) == file_calls(path)
    assert wrong_days(any_url) == 0


def test_months_are_partitions(url: str, path: Path, server: PostgresServer) -> None:
    written(path, [record(ended=NOON + timedelta(days=20 * number)) for number in range(4)])
    ship(path, url)
    query = "SELECT relid::regclass::text FROM pg_partition_tree('tokenmeter.call_rows') WHERE isleaf ORDER BY 1"
    assert [name for (name,) in server.execute(query, url)] == [
        f"tokenmeter.call_rows_{month}" for month in ("2026_11", "2026_12")
    ]


def test_a_file_that_grows_is_shipped_from_where_it_was(any_url: str, path: Path) -> None:
    written(path, some_calls(10))
    assert ship(path, any_url).read == 10
    assert ship(path, any_url).read == 0
    written(path, some_calls(5, first=10))
    done = ship(path, any_url)
    assert (done.read, done.new) == (5, 5 if counts(any_url) else None)
    assert fleet_calls(any_url) == file_calls(path)


@pytest.mark.parametrize("backwards", [False, True])
def test_two_files_shipped_twice_by_two_shippers_at_once_double_nothing(
    any_url: str, tmp_path: Path, backwards: bool
) -> None:
    one = written(tmp_path / "one.db", some_calls(400, name="one"))
    two = written(tmp_path / "two.db", [*some_calls(400, name="two"), *some_calls(100, name="one")])
    errors: list[Exception] = []

    def shipper(paths: list[Path]) -> None:
        try:
            for path in paths:
                ship(path, any_url, 50)
        except Exception as error:  # noqa: BLE001 - shown by the test
            errors.append(error)

    orders = [[one, two, one, two], [two, one, two, one] if backwards else [one, two, two, one]]
    threads = [threading.Thread(target=shipper, args=(order,)) for order in orders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    assert fleet_calls(any_url) == file_calls(one) | file_calls(two)
    assert wrong_days(any_url) == 0


_SHIP = """
import sys
from tokenmeter.ledger.fleet.shipping import Shipper
shipper = Shipper(sys.argv[1], sys.argv[2], batch=20)
while shipper.step():
    print("shipped", flush=True)
"""


@pytest.fixture
def shipping(path: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    """A process that has shipped two batches of twenty calls, of a file of four thousand."""
    written(path, some_calls(4000))
    process = subprocess.Popen([sys.executable, "-c", _SHIP, str(path), url], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.PIPE)  # fmt: skip
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["shipped\n"] * 2
    yield process
    process.kill()
    process.wait(30)
    process.stdout.close()


def test_a_shipper_that_is_killed_goes_on_where_it_was(
    url: str, path: Path, shipping: subprocess.Popen[str], server: PostgresServer
) -> None:
    shipping.send_signal(signal.SIGKILL)
    shipping.wait(30)
    until(
        lambda: server.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tokenmeter'")[0][0] == 0
    )
    there = len(fleet_calls(url))
    assert 40 <= there < 4000
    assert ship(path, url).read == 4000 - there
    assert fleet_calls(url) == file_calls(path)
    assert wrong_days(url) == 0


def test_a_server_that_crashes_keeps_whole_batches(
    url: str, path: Path, shipping: subprocess.Popen[str], server: PostgresServer
) -> None:
    server.stop()
    assert "the server does not answer, or ended the connection" in (shipping.communicate(timeout=60)[1])
    with pytest.raises(FleetError, match="does not answer") as failed:
        ship(path, url)
    assert failed.value.away
    server.start()
    assert wrong_days(url) == 0
    done = ship(path, url)
    assert done.read <= 3960
    assert fleet_calls(url) == file_calls(path)
    assert wrong_days(url) == 0


def test_a_call_that_gets_its_cost_later_gets_it_there_too(any_url: str, path: Path) -> None:
    file = LedgerFile(str(path))
    calls = some_calls(12)
    file.write([row(one) for one in calls[:6]], unpriced=[row(one, priced=False) for one in calls[6:]])
    assert ship(path, any_url).read == 12
    assert ship(path, any_url).read == 0
    file.write([row(one) for one in calls[6:9]])
    assert ship(path, any_url).priced == 3
    file.write([row(one) for one in [*calls[9:], *some_calls(1, first=12)]])
    done = ship(path, any_url)
    assert (done.priced, done.new) == (3, 1 if counts(any_url) else None)
    assert fleet_calls(any_url) == file_calls(path)
    assert wrong_days(any_url) == 0
    file.let_go()


def test_a_call_that_the_database_refuses_is_named_and_the_others_go_in(
    url: str, path: Path, server: PostgresServer
) -> None:
    calls = [record(id=f"call-{number}", request_model="a\0b" if number == 7 else "m") for number in range(20)]
    calls[11] = record(id="call-11", response_id="r\0r")
    written(path, calls)
    done = ship(path, url, 5)
    assert {(call.id, "NUL" in call.why) for call in done.refused} == {("call-7", True), ("call-11", True)}
    assert fleet_calls(url).keys() == {f"call-{number}" for number in range(20)} - {"call-7", "call-11"}
    lost = server.execute("SELECT calls, reason FROM tokenmeter.losses ORDER BY seq DESC", url)
    assert [(calls, reason.partition(":")[0]) for calls, reason in lost] == [
        (1, "the database refused call call-7"),
        (1, "the database refused call call-11"),
    ]
    assert wrong_days(url) == 0


def test_a_check_of_the_user_refuses_single_calls(url: str, path: Path, server: PostgresServer) -> None:
    written(path, some_calls(1))
    ship(path, url)
    server.execute("ALTER TABLE tokenmeter.call_rows ADD CONSTRAINT small CHECK (output_tokens <> 77)", url)
    written(path, some_calls(200, first=1))
    done = ship(path, url)
    assert [call.id for call in done.refused] == ["call-77"]
    assert len(fleet_calls(url)) == 200


def test_a_column_of_the_user_is_left_alone(url: str, path: Path, server: PostgresServer) -> None:
    written(path, some_calls(3))
    ship(path, url)
    server.execute("ALTER TABLE tokenmeter.call_rows ADD COLUMN reviewed boolean", url)
    written(path, some_calls(3, first=3))
    assert ship(path, url).new == 3
    server.execute("ALTER TABLE tokenmeter.call_rows ADD COLUMN mine text NOT NULL DEFAULT 'x'", url)
    server.execute("ALTER TABLE tokenmeter.call_rows ALTER COLUMN mine DROP DEFAULT", url)
    written(path, some_calls(3, first=6))
    with pytest.raises(FleetError, match="give it a default") as failed:
        ship(path, url)
    assert '"mine"' in str(failed.value)
    server.execute("ALTER TABLE tokenmeter.call_rows ALTER COLUMN mine SET DEFAULT ''", url)
    assert ship(path, url).new == 3


def test_a_database_that_refuses_everything_counts_nothing_as_lost(
    url: str, path: Path, server: PostgresServer
) -> None:
    written(path, some_calls(1))
    ship(path, url)
    server.execute("ALTER TABLE tokenmeter.call_rows ADD CONSTRAINT wrong CHECK (span_us < 0) NOT VALID", url)
    written(path, some_calls(100, first=1))
    with pytest.raises(FleetError, match="refuses most calls"):
        ship(path, url)
    assert server.execute("SELECT count(*) FROM tokenmeter.losses", url) == [(0,)]
    server.execute("ALTER TABLE tokenmeter.call_rows DROP CONSTRAINT wrong", url)
    assert ship(path, url).new == 100


def test_losses_of_the_file_are_shipped_once(url: str, path: Path, server: PostgresServer) -> None:
    file = LedgerFile(str(path))
    file.write([], [Loss(1, 2, 30, "the queue was full")])
    assert ship(path, url).losses == 30
    file.write([], [Loss(3, 4, 5, "the queue was full")])
    assert (ship(path, url).losses, ship(path, url).losses) == (5, 0)
    assert server.execute("SELECT sum(calls) FROM tokenmeter.losses", url) == [(35,)]
    file.let_go()


def test_a_copy_of_a_file_that_went_its_own_way_loses_no_call(any_url: str, tmp_path: Path) -> None:
    one, two = written(tmp_path / "one.db", some_calls(20)), tmp_path / "two.db"
    ship(one, any_url)
    shutil.copyfile(one, two)
    written(one, some_calls(20, name="one"))
    written(two, some_calls(30, name="two"))
    for path in (one, two, one, two):
        ship(path, any_url, 7)
    assert fleet_calls(any_url) == file_calls(one) | file_calls(two)
    assert wrong_days(any_url) == 0


def test_calls_that_were_deleted_after_shipping_stay_there(any_url: str, path: Path) -> None:
    written(path, some_calls(20))
    ship(path, any_url)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM call_rows")
    written(path, some_calls(5, first=20))
    assert ship(path, any_url).read == 5
    assert len(fleet_calls(any_url)) == 25


def test_days_are_those_of_the_clock_of_the_first_file(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: PostgresServer
) -> None:
    late = NOON.replace(hour=20)
    for zone, day in (("Asia/Shanghai", 1), ("America/New_York", 2)):
        monkeypatch.setenv("TZ", zone)
        path = written(tmp_path / f"{day}.db", [record(priced("1"), ended=late, id=zone)])
        ship(path, url)
    assert server.execute("SELECT day::text, calls FROM tokenmeter.days", url) == [("2026-11-02", 2)]


def test_an_instant_before_1970_is_refused(any_url: str, path: Path) -> None:
    written(path, [record(ended_ns=-(10**9), started_ns=-(10**10), id="early"), record(id="near")])
    assert [call.id for call in ship(path, any_url).refused] == ["early"]
    assert fleet_calls(any_url).keys() == {"near"}


def test_a_ledger_that_is_not_there_is_named(any_url: str, path: Path) -> None:
    with pytest.raises(LedgerError, match=r"there is no ledger at .*spend\.db"):
        ship(path, any_url)


def test_the_writer_goes_on_while_its_file_is_shipped(any_url: str, path: Path) -> None:
    ledger = Ledger(path)
    for one in some_calls(50):
        ledger.write(one)
    ledger.flush(30)
    for first in range(50, 250, 50):
        for one in some_calls(50, first=first):
            ledger.write(one)
        ship(path, any_url, 20)
    ledger.close(30)
    ship(path, any_url)
    assert fleet_calls(any_url) == file_calls(path)


def test_tags_that_were_forgotten_do_not_come_back(any_url: str, path: Path) -> None:
    written(path, some_calls(20))
    shipper = Shipper(str(path), any_url, batch=10)
    shipper.step()
    forget_tag(str(path), "team", "ads", "forgotten")
    written(path, [record(tags={"team": "late"}, id="late")])
    shipper.ship()
    shipper.close()
    there, here = fleet_calls(any_url), file_calls(path)
    later = [f"call-{number}" for number in range(10, 20)]
    assert {name: there[name] for name in [*later, "late"]} == {name: here[name] for name in [*later, "late"]}
    assert wrong_days(any_url) == 0
