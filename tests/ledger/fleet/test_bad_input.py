"""What a fleet meets in the end: clocks that are wrong, thousands of tags, a spool of days, a password that changed."""

from __future__ import annotations

import tracemalloc
from datetime import timedelta
from pathlib import Path

import pytest

from tests.rigs.fleet import file_calls, fleet_calls, ship, some_calls, written, wrong_days
from tests.rigs.made_records import NOON, priced, record
from tests.rigs.postgres_server import PASSWORD, PostgresServer
from tests.rigs.services import until
from tokenmeter.errors import ConfigurationError
from tokenmeter.ledger.copying import merge
from tokenmeter.ledger.fleet import reports
from tokenmeter.ledger.fleet.shipping import Shipper
from tokenmeter.ledger.fleet.spooled import SpooledLedger
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.verify import verify

UTC = Zone.named("UTC")


@pytest.mark.parametrize("backwards", [False, True])
def test_machines_whose_clocks_differ_are_taken_at_their_word(
    url: str, tmp_path: Path, server: PostgresServer, backwards: bool
) -> None:
    skews = [timedelta(0), timedelta(minutes=-7), timedelta(days=800), timedelta(days=-10_000)]
    files = [
        written(tmp_path / f"{n}.db", [record(priced("1"), ended=NOON + skew, id=f"m{n}-{k}") for k in range(3)])
        for n, skew in enumerate(skews)
    ]
    for path in reversed(files) if backwards else files:
        assert ship(path, url).refused == []
    merge([str(path) for path in files], str(tmp_path / "all.db"))
    for by in (("month",), ("day", "model"), ("hour",)):
        question = Question(by=by, zone=UTC)
        fleet, file = reports.ask(url, question), ask(str(tmp_path / "all.db"), question)
        assert (fleet.rows, fleet.first, fleet.last) == (file.rows, file.first, file.last)
    months = server.execute("SELECT count(*) FROM pg_inherits WHERE inhparent = 'tokenmeter.call_rows'::regclass", url)
    assert months == [(3,)], "a month for each year that a clock says, and no more"
    assert sum(check.wrong for check in verify(url)) == 0


def test_ten_thousand_tags_go_in_and_are_answered_for(url: str, path: Path) -> None:
    calls = [record(priced("0.01"), id=f"c{n}", tags={f"key-{n}": "x", "team": f"t{n % 3}"}) for n in range(10_000)]
    written(path, calls)
    assert ship(path, url, 5_000).new == 10_000
    for by in (("key-7",), ("team", "key-9999"), ("team",)):
        question = Question(by=by, zone=UTC)
        assert reports.ask(url, question).rows == ask(str(path), question).rows
    with pytest.raises(ConfigurationError, match=r"did you mean 'key-77'") as failed:
        reports.ask(url, Question(by=("key_77",), zone=UTC))
    assert len(str(failed.value)) < 3_000
    assert wrong_days(url) == 0


def test_a_spool_of_many_batches_takes_no_more_memory(url: str, path: Path) -> None:
    def peak(calls: int) -> int:
        shipper = Shipper(str(path), url, batch=250)
        tracemalloc.start()
        try:
            assert shipper.ship().read == calls
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
            shipper.close()

    written(path, some_calls(500))
    few = peak(500)
    written(path, some_calls(10_000, first=500))
    assert peak(10_000) < few * 1.5
    assert len(fleet_calls(url)) == 10_500


def test_a_file_that_is_shipped_stays_as_large_as_it_is(url: str, path: Path) -> None:
    sizes, shipper = [], None
    for part in range(8):
        written(path, some_calls(2_500, first=part * 2_500))
        shipper = shipper or Shipper(str(path), url)
        shipper.ship()
        shipper.forget_shipped(500)
        sizes.append(path.stat().st_size)
    assert shipper is not None
    shipper.close()
    assert len(file_calls(path)) <= 2_000
    assert max(sizes) < sizes[0] * 2, sizes
    assert len(fleet_calls(url)) == 20_000
    assert wrong_days(url) == 0


def test_a_password_that_is_wrong_costs_a_program_nothing(
    url: str, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = SpooledLedger(url.replace(PASSWORD, "guess"), str(path))
    for one in some_calls(20):
        ledger.write(one)
    assert ledger.flush(30)
    until(lambda: ledger.health()["database_problem"] is not None, patience=60)
    ledger.close(10)
    (said,) = (one.getMessage() for one in caplog.records if "not shipped" in one.getMessage())
    assert "does not let this user in" in said
    assert "guess" not in said
    assert ship(path, url).new == 20
    assert fleet_calls(url) == file_calls(path)


def test_a_schema_that_is_half_there_is_made_whole_by_the_next_try(
    url: str, path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server crashes in the middle of a version: nothing of it is there, and the next shipper makes it."""
    from tokenmeter.ledger.fleet.database import FleetError
    from tokenmeter.ledger.fleet.postgresql import schema

    written(path, some_calls(20))
    whole = schema._versions()
    with monkeypatch.context() as crashing:
        crashing.setattr(
            schema, "_versions", lambda: (*whole[:-1], f"{whole[-1]}; SELECT pg_terminate_backend(pg_backend_pid())")
        )
        with pytest.raises(FleetError) as failed:
            ship(path, url)
    assert failed.value.away
    assert server.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'tokenmeter'", url) == [(0,)]
    assert ship(path, url).new == 20
    assert fleet_calls(url) == file_calls(path)
