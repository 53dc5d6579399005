"""Metrics of ledgers, as a real reader of the SDK collects them."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from tests.rigs.made_records import record
from tokenmeter import Tokenmeter, Usage
from tokenmeter.ledger.writer import Ledger
from tokenmeter.otel.ledger_metrics import watch_ledger


@pytest.fixture
def reader() -> InMemoryMetricReader:
    return InMemoryMetricReader()


@pytest.fixture
def provider(reader: InMemoryMetricReader) -> MeterProvider:
    return MeterProvider([reader], shutdown_on_exit=False)


def collected(reader: Any) -> dict[str, Any]:
    data = reader.get_metrics_data()
    return {
        metric.name.removeprefix("tokenmeter.ledger."): metric.data.data_points[0].value
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name.startswith("tokenmeter.ledger.") and metric.data.data_points
    }


def test_a_meter_with_a_ledger_reports_its_health(
    reader: InMemoryMetricReader, provider: MeterProvider, tmp_path: Path
) -> None:
    meter = Tokenmeter(ledger=str(tmp_path / "spend.db"), meter_provider=provider, spans="none")
    assert collected(reader) == {"written": 0, "lost": 0, "commits": 0, "queue": 0}
    with meter.call("deepseek", "deepseek-chat") as call:
        call.observe_usage(Usage(input_tokens=40, output_tokens=10))
    meter.flush()
    found = collected(reader)
    assert 0 < found.pop("commit.duration") < 5
    assert found.pop("commits") >= 1
    assert found == {"written": 1, "lost": 0, "queue": 0}
    meter.shutdown()


def test_a_meter_without_a_ledger_reports_none(reader: InMemoryMetricReader, provider: MeterProvider) -> None:
    with Tokenmeter(meter_provider=provider, spans="none").call("deepseek", "deepseek-chat"):
        pass
    assert collected(reader) == {}


def test_what_is_lost_and_what_waits_is_reported_and_ledgers_add_up(
    reader: InMemoryMetricReader, provider: MeterProvider, tmp_path: Path
) -> None:
    blocked = Ledger(tmp_path, queue_size=2)  # a folder: no call can be written
    written = Ledger(tmp_path / "spend.db")
    for ledger in (blocked, written):
        watch_ledger(ledger, provider)
        for _ in range(3):
            ledger.write(record())
        ledger.flush()
    found = collected(reader)
    assert (found["written"], found["lost"], found["queue"]) == (3, 1, 2)
    written.close()
    blocked.close(0)
    del ledger, written
    gc.collect()
    assert collected(reader).get("written", 0) == 0
