"""`configure` changes what it names and keeps the rest; captures and open ledgers go on; a forgotten meter is freed."""

from __future__ import annotations

import contextlib
import gc
import logging
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import tokenmeter
from tokenmeter import ConfigurationError, Record, Tokenmeter, Usage
from tokenmeter._support.worker import worker
from tokenmeter.calls.lifecycle import Lifecycle
from tokenmeter.settings import Settings
from tokenmeter.testing import capture


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    tokenmeter.configure(replace=True)
    yield
    tokenmeter.configure(replace=True)


def one_call(meter: Any = tokenmeter, model: str = "deepseek-chat") -> None:
    with meter.call(provider="deepseek", model=model) as call:
        call.observe_usage(Usage(input_tokens=10, output_tokens=5))


def rows(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as ledger:
        return int(ledger.execute("SELECT count(*) FROM calls").fetchone()[0])


class Noted:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.closed = 0

    def write(self, record: Record) -> None:
        self.records.append(record)

    def flush(self, timeout: float) -> bool:
        return True

    def close(self, timeout: float) -> None:
        self.closed += 1


def test_a_setting_that_is_not_named_stays(tmp_path: Path) -> None:
    path, sink = tmp_path / "spend.db", Noted()
    tokenmeter.configure(ledger=path, sinks=[sink])
    ledger = tokenmeter.default()._ledger
    one_call()
    tokenmeter.configure(ask_usage=False)
    one_call()
    tokenmeter.configure(hosts={"llm.corp.lan": "deepseek"})
    one_call()
    settings = tokenmeter.default().settings
    assert (settings.ask_usage, settings.hosts) == (False, {"llm.corp.lan": "deepseek"})
    assert tokenmeter.default()._ledger is ledger, "an open ledger is closed only when it is named"
    assert (len(sink.records), sink.closed) == (3, 0)
    assert tokenmeter.flush()
    assert rows(path) == 3


@pytest.mark.parametrize("how", [{"replace": True}, {"ledger": None, "sinks": None}], ids=["replace", "None"])
def test_a_setting_is_set_back(how: dict[str, Any], tmp_path: Path) -> None:
    path, sink = tmp_path / "spend.db", Noted()
    tokenmeter.configure(ledger=path, sinks=[sink])
    one_call()
    tokenmeter.configure(**how)
    one_call()
    assert tokenmeter.default().settings.ledger is None
    assert (len(sink.records), sink.closed) == (1, 1)
    assert rows(path) == 1


def test_a_ledger_that_is_named_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    for name in ("a.db", "b.db"):
        tokenmeter.configure(ledger=tmp_path / name)
        one_call()
    tokenmeter.flush()
    assert [rows(tmp_path / name) for name in ("a.db", "b.db")] == [1, 1]


def test_a_capture_sees_what_comes_after_configure() -> None:
    with capture() as records:
        one_call()
        tokenmeter.configure(estimate=False)
        one_call()
        assert len(records.drain()) == 2
    one_call()
    assert len(records) == 2, "it has ended"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"price_lists": {"deepsek": "USD"}},
            "price_lists: there are no prices of 'deepsek' (did you mean 'deepseek'?",
        ),
        ({"price_lists": {"deepseek": "EUR"}}, "price_lists: deepseek has no list in 'EUR'; it has CNY, USD"),
        ({"hosts": {"a.lan": "deepsek"}}, "hosts: 'a.lan': there is no provider 'deepsek'; did you mean 'deepseek'?"),
    ],
)
def test_a_value_that_the_catalogue_does_not_know_is_refused(given: dict[str, Any], message: str) -> None:
    before = tokenmeter.default()
    with pytest.raises(ConfigurationError) as raised:
        tokenmeter.configure(**given)
    assert str(raised.value).startswith(message)
    assert tokenmeter.default() is before


@pytest.mark.parametrize("name", ["deepseek", "deep-seek"])
def test_a_price_list_is_found_by_any_name_of_its_provider(name: str) -> None:
    tokenmeter.configure(price_lists={name: "usd"})
    with tokenmeter.scope("bill") as scope:
        one_call()
    assert list(scope.cost) == ["USD"]


def test_a_misspelt_variable_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "tokenmeter"):
        for _ in range(2):
            Settings.read({}, {"TOKENMETER_LEGER": "x.db", "TOKENMETER_LEDGER": "y.db"})
    assert [record.getMessage() for record in caplog.records] == [
        "TOKENMETER_LEGER is not a variable of tokenmeter; did you mean TOKENMETER_LEDGER? "
        "the others are in `tokenmeter.settings`"
    ]


# A meter that is forgotten ------------------------------------------------------------------------------------------


def _after_the_worker() -> None:
    """Wait until the background thread has done what it was given."""
    done = threading.Event()
    assert worker.start()
    worker.put(done.set)
    assert done.wait(10)


def _calls(reader: InMemoryMetricReader) -> int:
    data: Any = reader.get_metrics_data()
    points = [
        point.value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == "tokenmeter.calls"
        for point in metric.data.data_points
    ]
    return int(sum(points))


@pytest.mark.parametrize("listened_to", [True, False])
def test_a_forgotten_meter_is_freed_and_its_sums_stay(listened_to: bool, tmp_path: Path) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader] if listened_to else [])
    gone: list[weakref.ref[Lifecycle]] = []
    for number in range(5):
        meter = Tokenmeter(meter_provider=provider, ledger=tmp_path / f"{number}.db")
        one_call(meter)
        gone.append(weakref.ref(meter._lifecycle))
    del meter
    gc.collect()
    _after_the_worker()
    gc.collect()
    assert [one() for one in gone] == [None] * 5
    assert [rows(tmp_path / f"{number}.db") for number in range(5)] == [1] * 5
    if listened_to:
        assert _calls(reader) == 5


def test_calls_that_a_forgotten_meter_has_put_off_are_counted() -> None:
    meter = Tokenmeter(spans="none")
    route = meter.route("api.deepseek.com", None, "", "/chat/completions", None, any_host=False)
    assert route is not None
    call = meter._lifecycle.open(route, "deepseek-chat")
    call.usage_override = Usage(input_tokens=10, output_tokens=5)
    meter._lifecycle.settle(call, tokenmeter.End.COMPLETE)
    assert not call.settled or meter._lifecycle._deferred._over, "it waits"
    sums: Any = meter._lifecycle.recipients.sums
    before = sums.accumulator
    del meter, call
    gc.collect()
    _after_the_worker()
    assert not before.waiting
    assert before.rows("calls"), "it is summed"
