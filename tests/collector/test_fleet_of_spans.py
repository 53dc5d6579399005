"""The collector as a writer of a fleet's database, beside the programs whose spans it gets: each call once."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.rigs.collector_rig import HttpEndpoint, Running
from tests.rigs.exporting_app import app
from tests.rigs.fleet import file_calls, fleet_calls, ship, some_calls, written, wrong_days
from tests.rigs.messages import calls
from tests.rigs.otlp_requests import PROTOBUF, export, post
from tests.rigs.postgres_server import PostgresServer
from tests.rigs.services import until
from tests.rigs.span_senders import ask, otlp_json, process
from tokenmeter.collector.signals import TRACES
from tokenmeter.ledger.fleet.spooled import default_spool
from tokenmeter.record import FROM_SPAN

Collect = Callable[..., Running]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder for state, where spools are."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("spool", ["shared", "apart"])
def test_a_program_and_a_collector_that_write_one_database_give_each_call_once(
    endpoint: HttpEndpoint, collect: Collect, url: str, state: Path, tmp_path: Path, protocol: str, spool: str
) -> None:
    running = collect(endpoint=endpoint.url, ledger=url)
    own, direct = tmp_path / "own.db", tmp_path / "direct.db"
    where = default_spool(url) if spool == "shared" else str(direct)
    to = running.url if protocol == "http" else f"http://{running.grpc}"
    with (
        app(to, protocol=protocol, ledger=url, ledger_spool=where) as writing,
        app(to, protocol=protocol, ledger=str(own)) as only_exporting,
    ):
        for it in (writing, only_exporting, writing):
            ask(it.meter)
            it.flush()
    running.stop()
    until(lambda: _ships_nothing(default_spool(url), url), "the collector's spool")
    if spool == "apart":
        until(lambda: _ships_nothing(str(direct), url), "the program's spool")
    there = fleet_calls(url)
    assert len(there) == 15
    assert {id for id, call in there.items() if call["flags"] is not None} == file_calls(own).keys()
    if spool == "apart":
        assert {id: call for id, call in there.items() if call["flags"] is None} == file_calls(direct)
    assert wrong_days(url) == 0


def _ships_nothing(path: str, url: str) -> bool:
    done = ship(Path(path), url)
    return done.read + done.priced == 0


@pytest.mark.parametrize("order", list(itertools.permutations(["own", "spans", "again"])))
def test_the_programs_record_wins_whichever_comes_first(url: str, tmp_path: Path, order: tuple[str, ...]) -> None:
    records = [
        one._replace(response_id=f"chatcmpl-0123456789abcdef-{number}" if number % 2 else None)
        for number, one in enumerate(some_calls(60))
    ]
    of_spans = [one._replace(flags=(FROM_SPAN,), attempts=(), usage_raw=None) for one in records[20:]]
    files = {
        "own": written(tmp_path / "own.db", records[:50]),
        "spans": written(tmp_path / "spans.db", of_spans),
        "again": written(tmp_path / "again.db", of_spans[::-1]),
    }
    for _ in range(2):
        for name in order:
            ship(files[name], url, batch=7)
    rest = written(tmp_path / "rest.db", of_spans[30:])
    assert fleet_calls(url) == file_calls(files["own"]) | file_calls(rest)
    assert wrong_days(url) == 0


def test_a_record_that_replaces_another_in_the_spool_is_shipped_again(url: str, tmp_path: Path) -> None:
    spool = tmp_path / "spool.db"
    records = some_calls(30)
    written(spool, [one._replace(flags=(FROM_SPAN,), attempts=()) for one in records])
    ship(spool, url)
    written(spool, records[::-1])
    assert ship(spool, url).read == 30
    assert fleet_calls(url) == file_calls(spool) == file_calls(written(tmp_path / "own.db", records))
    assert wrong_days(url) == 0


def test_two_collectors_that_get_the_same_spans_again_and_again(
    endpoint: HttpEndpoint, collect: Collect, url: str, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = collect(endpoint=endpoint.url, ledger=url)
    monkeypatch.setenv("TOKENMETER_LEDGER_SPOOL", str(tmp_path / "second.db"))
    second = collect(endpoint=endpoint.url, ledger=url)
    with app(first.url) as it:
        ask(it.meter)
        it.flush()
    bodies = [body for path, body in endpoint.bodies if path == TRACES.path]
    bodies += [calls(1, 20).SerializeToString(), calls(11, 20).SerializeToString()]
    for body in [*bodies, *reversed(bodies)]:
        post(first, body)
        export(second, body)
    first.stop()
    second.stop()
    for spool in (default_spool(url), str(tmp_path / "second.db")):
        until(lambda spool=spool: _ships_nothing(spool, url), "a spool")  # type: ignore[misc]
    assert len(fleet_calls(url)) == 5 + 30
    assert wrong_days(url) == 0


def test_what_is_acknowledged_reaches_the_database_of_a_collector_that_is_killed_while_that_is_away(
    endpoint: HttpEndpoint, url: str, state: Path, server: PostgresServer
) -> None:
    server.stop()
    with process(endpoint.url, url) as (running, where):
        for part in range(4):
            body = calls(1 + 100 * part, 100).SerializeToString()
            assert requests.post(f"{where}/v1/traces", data=body, headers=PROTOBUF, timeout=60).status_code == 200
        running.send_signal(signal.SIGKILL)
        running.wait(30)
    server.start()
    with process(endpoint.url, url) as (running, where):
        body = calls(301, 200).SerializeToString()  # the sender of the last request got no answer, and sends it again
        assert requests.post(f"{where}/v1/traces", data=body, headers=PROTOBUF, timeout=60).status_code == 200
        until(lambda: _count(server, url) == 500, "the database", patience=60)
        running.send_signal(signal.SIGTERM)
        running.wait(30)
    assert wrong_days(url) == 0


def _count(server: PostgresServer, url: str) -> int:
    if server.execute("SELECT to_regclass('tokenmeter.call_rows')", url) == [(None,)]:
        return 0
    count: int = server.execute("SELECT count(*) FROM tokenmeter.call_rows", url)[0][0]
    return count


def test_otlp_json_of_another_pipeline_is_imported_and_shipped(
    endpoint: HttpEndpoint, collect: Collect, url: str, tmp_path: Path
) -> None:
    running = collect(endpoint=endpoint.url)
    own = tmp_path / "own.db"
    with app(running.url, ledger=str(own)) as it:
        for _ in range(3):
            ask(it.meter)
            it.flush()
    requests_ = [TRACES.request.FromString(body) for path, body in endpoint.bodies if path == TRACES.path]
    traces = tmp_path / "traces.jsonl"
    traces.write_text("\n".join(map(otlp_json, [*requests_, calls(1, 4), requests_[0]])))
    ship(own, url)

    def command(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "tokenmeter", *words], capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    for _ in range(2):
        said = command("ledger", "import", str(traces), "--to", str(tmp_path / "spans.db"))
        command("ledger", "ship", str(tmp_path / "spans.db"), url)
    assert "24 calls, 0 of them new" in said
    there = fleet_calls(url)
    assert {id: call for id, call in there.items() if id in file_calls(own)} == file_calls(own)
    assert len(there) == 15 + 4
    assert wrong_days(url) == 0
