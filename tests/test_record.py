"""A record: how a call ended, its durations, its source, and what is priced when it is first asked for."""

from __future__ import annotations

import asyncio

import pytest

from tests.rigs.made_records import priced, record
from tokenmeter.calls.scope import ScopePath
from tokenmeter.record import End, end_of
from tokenmeter.usage import Source, Usage


@pytest.mark.parametrize(
    ("error", "end"),
    [
        pytest.param(None, End.COMPLETE, id="none"),
        pytest.param(ValueError("x"), End.ERROR, id="error"),
        pytest.param(asyncio.CancelledError(), End.CANCELLED, id="a task that was cancelled"),
        pytest.param(KeyboardInterrupt(), End.CANCELLED, id="an interrupt"),
    ],
)
def test_an_exception_says_how_a_call_ended(error: BaseException | None, end: End) -> None:
    assert end_of(error) is end


def test_it_is_priced_once_and_when_asked_for() -> None:
    asked = []
    one = record(pricer=lambda _: asked.append(1) or priced("0.5"))
    assert asked == []
    assert one.cost is one.cost
    assert asked == [1]
    assert one.model == "deepseek-chat"


def test_durations_are_seconds_and_instants_are_in_utc() -> None:
    one = record()
    assert one.duration == 1.0
    assert one.ended_at.isoformat() == "2026-11-01T12:00:00+00:00"


@pytest.mark.parametrize(
    ("usage", "end", "source"),
    [
        pytest.param(Usage(input_tokens=1, output_tokens=1), End.COMPLETE, Source.REPORTED, id="reported"),
        pytest.param(Usage(source=Source.NONE), End.COMPLETE, Source.NONE, id="nothing"),
        pytest.param(Usage(input_tokens=1, output_tokens=1), End.DELEGATED, Source.NONE, id="carried by another call"),
        pytest.param(
            Usage(input_tokens=1, output_tokens=1, sources={"output_tokens": Source.ESTIMATED}), End.COMPLETE,
            Source.ESTIMATED, id="the worst of both",
        ),
    ],
)  # fmt: skip
def test_the_source_is_the_least_sure_one(usage: Usage, end: End, source: Source) -> None:
    assert record(usage=usage, end=end).usage_source is source


def test_the_run_of_a_scope_is_that_of_its_path() -> None:
    assert record(scope=("nightly",)).scope_run is None
    assert record(scope=ScopePath.of(("nightly", "answer"), "r1")).scope_run == "r1"
