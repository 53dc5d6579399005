"""Records made elsewhere come in by one door: the scope adds them, each sink gets them, a broken sink starves none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import tokenmeter
from tokenmeter import Record, Tokenmeter
from tokenmeter._support.guard import raise_failures
from tokenmeter.calls.lifecycle import Lifecycle


class Kept:
    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)

    def flush(self, timeout: float) -> bool:
        return True

    def close(self, timeout: float) -> None: ...


class Broken(Kept):
    def write(self, record: Record) -> None:
        raise OSError("the disk is full")


@pytest.fixture
def made() -> Record:
    kept = Kept()
    meter = Tokenmeter(sinks=[kept])
    with meter.call(provider="deepseek", model="deepseek-chat") as call:
        call.observe_usage({"input_tokens": 1_000, "output_tokens": 100})
    meter.flush()
    return kept.records[0]


@pytest.fixture
def new_lifecycle(made: Record) -> Callable[..., Lifecycle]:
    return lambda *sinks: Lifecycle(sinks=sinks, price=made.pricer)


def test_a_scope_and_every_sink_get_the_record(made: Record, new_lifecycle: Callable[..., Lifecycle]) -> None:
    first, second = Kept(), Kept()
    with tokenmeter.scope("elsewhere") as scope:
        new_lifecycle(first, second).take(made, scope=scope)
    assert first.records == second.records == [made]
    assert (scope.calls, scope.pending, scope.usage["input_tokens"]) == (1, 0, 1_000)


def test_a_broken_sink_starves_none(made: Record, new_lifecycle: Callable[..., Lifecycle]) -> None:
    kept = Kept()
    raise_failures(False)
    try:
        new_lifecycle(Broken(), kept).take(made)
    finally:
        raise_failures(True)
    assert kept.records == [made]


def test_the_successor_takes_it(made: Record, new_lifecycle: Callable[..., Lifecycle]) -> None:
    before, after = Kept(), Kept()
    lifecycle = new_lifecycle(before)
    lifecycle.hand_over(new_lifecycle(after))
    lifecycle.take(made)
    assert (before.records, after.records) == ([], [made])
