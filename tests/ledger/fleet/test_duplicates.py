"""A response that two machines recorded is charged once, as in one file, whichever is shipped first."""

from __future__ import annotations

import threading
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from tests.rigs.clickhouse_server import ClickHouseServer
from tests.rigs.fleet import file_calls, fleet_calls, ship, some_calls, written, wrong_days
from tests.rigs.made_records import NOON, priced, record, unpriced
from tests.rigs.postgres_server import PostgresServer
from tokenmeter.ledger.copying import merge
from tokenmeter.ledger.file import LedgerFile
from tokenmeter.ledger.fleet import reports
from tokenmeter.ledger.fleet.postgresql import schema
from tokenmeter.ledger.report.periods import Zone
from tokenmeter.ledger.report.query import Question, ask
from tokenmeter.ledger.rows import row
from tokenmeter.record import End, Record

LONG = "chatcmpl-0123456789abcdef0123"


_DUPLICATES = "SELECT id, duplicate_of FROM {}calls WHERE duplicate_of IS NOT NULL"


def schema_of(url: str) -> str:
    return "tokenmeter." if url.startswith("postgresql") else ""


def recorded(
    name: str, response: str | None = LONG, *, seconds: float = 0, cost: object = None, **changes: object
) -> Record:
    """A call of one second that recorded a response."""
    ended = NOON + timedelta(seconds=seconds)
    return record(cost or priced("0.5"), id=name, ended=ended, response_id=response, **changes)  # type: ignore[arg-type]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Of a gateway and its client, among other calls of each."""
    gateway = [*some_calls(30, name="g"), *(recorded(f"gateway-{n}", f"{LONG}{n}", seconds=3 * n) for n in range(40))]
    client = [*some_calls(30, name="c")]
    client += [recorded(f"client-{n}", f"{LONG}{n}", seconds=3 * n + 0.2, tags={"team": "ads"}) for n in range(60)]
    return written(tmp_path / "gateway.db", gateway), written(tmp_path / "client.db", client)


@pytest.mark.parametrize("first", [0, 1])
def test_whichever_is_shipped_first_is_charged(
    any_url: str, files: tuple[Path, Path], first: int, any_server: PostgresServer | ClickHouseServer, tmp_path: Path
) -> None:
    order = (files[first], files[1 - first])
    for path in (*order, *order):
        ship(path, any_url, 25)
    names = ("gateway", "client") if first == 0 else ("client", "gateway")
    calls = fleet_calls(any_url)
    assert len(calls) == 30 + 30 + 40 + 60
    charged, other = ([calls[f"{name}-{n}"] for n in range(40)] for name in names)
    assert {(call["status"], call["amount"]) for call in charged} == {("priced", Decimal("0.5"))}
    assert {(call["end_state"], call["status"], call["amount"]) for call in other} == {("delegated", "unpriced", None)}
    assert {call["input_tokens"] for call in other} == {call["charges"] for call in other} == {None}
    told = any_server.execute(_DUPLICATES.format(schema_of(any_url)), any_url)
    assert dict(told) == {f"{names[1]}-{n}": f"{names[0]}-{n}" for n in range(40)}
    assert wrong_days(any_url) == 0
    plain = tmp_path / "plain.db"
    merge([str(path) for path in order], str(plain))
    assert calls == file_calls(plain)
    for by in (("team", "day"), ("model",), ("hour",), ()):
        question = Question(by=by, zone=Zone.named("UTC"))
        fleet, file = reports.ask(any_url, question), ask(str(plain), question)
        assert (fleet.rows, fleet.totals) == (file.rows, file.totals)


def test_two_shippers_at_once_charge_it_once(any_url: str, files: tuple[Path, Path]) -> None:
    ship(written(files[0].with_name("empty.db"), some_calls(1)), any_url)
    threads = [threading.Thread(target=ship, args=(path, any_url, 7)) for path in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    calls = fleet_calls(any_url)
    for number in range(40):
        pair = [calls[f"{name}-{number}"]["amount"] for name in ("gateway", "client")]
        assert sorted(pair, key=str) == [Decimal("0.5"), None]
    assert wrong_days(any_url) == 0


@pytest.mark.parametrize(
    ("other", "charged"),
    [
        pytest.param(recorded("b", seconds=0.9), 1, id="overlaps"),
        pytest.param(recorded("b", seconds=-0.9), 1, id="overlaps the other way"),
        pytest.param(recorded("b", seconds=30), 2, id="later: it was asked for again"),
        pytest.param(recorded("b", seconds=-30), 2, id="earlier"),
        pytest.param(recorded("b", LONG + "x"), 2, id="another response"),
        pytest.param(recorded("b", provider="openai"), 2, id="of another provider"),
        pytest.param(recorded("b", end=End.DELEGATED, cost=unpriced()), 1, id="delegated already"),
        pytest.param(recorded("b", cost=unpriced()), 1, id="not priced"),
    ],
)
def test_the_rule_is_that_of_a_file(any_url: str, tmp_path: Path, other: Record, charged: int) -> None:
    one, two = written(tmp_path / "one.db", [recorded("a")]), written(tmp_path / "two.db", [other])
    ship(one, any_url)
    ship(two, any_url)
    plain = written(tmp_path / "plain.db", [recorded("a")])
    written(plain, [other])
    calls = fleet_calls(any_url)
    assert calls == file_calls(plain)
    assert sum(call["amount"] is not None for call in calls.values()) == charged
    assert wrong_days(any_url) == 0


def test_a_response_with_odd_characters_is_refused_alone(url: str, tmp_path: Path) -> None:
    calls = [recorded("a"), recorded("nul", "x" * 30 + "\0"), recorded("line", "x" * 30 + "\n" + "y" * 30)]
    done = ship(written(tmp_path / "one.db", calls), url)
    assert [call.id for call in done.refused] == ["nul"]
    assert [call["amount"] for call in fleet_calls(url).values()] == [Decimal("0.5")] * 2


@pytest.mark.parametrize("response", [None, "resp-1", "x" * 21])
def test_what_is_no_id_of_a_vendor_tells_nothing(any_url: str, tmp_path: Path, response: str | None) -> None:
    for name in ("a", "b"):
        ship(written(tmp_path / f"{name}.db", [recorded(name, response)]), any_url)
    assert [call["amount"] for call in fleet_calls(any_url).values()] == [Decimal("0.5")] * 2


def test_a_call_that_gets_its_cost_later_stays_the_charged_one(any_url: str, tmp_path: Path) -> None:
    file = LedgerFile(str(tmp_path / "one.db"))
    file.write([], unpriced=[row(recorded("a"), priced=False)])
    ship(tmp_path / "one.db", any_url)
    ship(written(tmp_path / "two.db", [recorded("b")]), any_url)
    file.write([row(recorded("a"))])
    file.let_go()
    assert ship(tmp_path / "one.db", any_url).priced == 1
    calls = fleet_calls(any_url)
    assert (calls["a"]["amount"], calls["b"]["end_state"]) == (Decimal("0.5"), "delegated")
    assert wrong_days(any_url) == 0


def test_a_duplicate_without_its_cost_stays_uncharged(any_url: str, tmp_path: Path) -> None:
    ship(written(tmp_path / "one.db", [recorded("a")]), any_url)
    file = LedgerFile(str(tmp_path / "two.db"))
    file.write([], unpriced=[row(recorded("b"), priced=False)])
    ship(tmp_path / "two.db", any_url)
    file.write([row(recorded("b"))])
    file.let_go()
    ship(tmp_path / "two.db", any_url)
    assert fleet_calls(any_url)["b"]["end_state"] == "delegated"
    assert wrong_days(any_url) == 0


def test_a_database_of_an_older_version_learns_it(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: PostgresServer
) -> None:
    versions = schema._versions()
    with monkeypatch.context() as older:
        older.setattr(schema, "_versions", lambda: versions[:2])
        ship(written(tmp_path / "one.db", [recorded("a")]), url)
    assert server.execute("SELECT version FROM tokenmeter.versions", url)[-1] == (2,)
    ship(written(tmp_path / "two.db", [recorded("b")]), url)
    assert server.execute("SELECT max(version) FROM tokenmeter.versions", url) == [(len(versions),)]
    assert fleet_calls(url)["b"]["end_state"] == "delegated"
