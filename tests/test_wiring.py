"""The parts of a meter are those that its settings ask for; an open ledger goes on where they name it again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from tokenmeter.ledger.writer import Ledger
from tokenmeter.otel.log import Log
from tokenmeter.settings import Settings
from tokenmeter.wiring import Parts, build_parts


def parts(before: Any = None, /, **given: Any) -> Parts:
    return build_parts(
        Settings.read(given, {}),
        tracer_provider=None,
        meter_provider=None,
        sinks=(),
        clock=time.time_ns,
        monotonic=time.perf_counter_ns,
        ledger=before,
    )


@pytest.mark.parametrize(
    ("given", "sinks"),
    [
        ({}, []),
        ({"ledger": "x.db"}, [Ledger]),
        ({"log": "json"}, [Log]),
        ({"ledger": "x.db", "log": "json"}, [Ledger, Log]),
    ],
)
def test_sinks_are_made_where_settings_ask_for_them(given: dict[str, Any], sinks: list[type]) -> None:
    assert [type(sink) for sink in parts(**given).sinks] == sinks


@pytest.mark.parametrize(
    ("named", "goes_on"),
    [
        ({"ledger": "x.db"}, True),
        ({"ledger": "./x.db"}, True),
        ({"ledger": "y.db"}, False),
        ({"ledger": "x.db", "ledger_sync": True}, False),
        ({}, False),
    ],
)
def test_an_open_ledger_goes_on_where_it_is_named(
    named: dict[str, Any], goes_on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = Ledger("x.db")
    assert (parts(before, **named).ledger is before) == goes_on
