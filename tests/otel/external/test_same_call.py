"""Which spans of two instrumentations are one call: by response id and time, else by all that they state."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rigs.foreign_shapes import GENAI, USED
from tokenmeter import Tokenmeter
from tokenmeter.otel.external.records import Recorder, call_id
from tokenmeter.otel.external.same_call import CountedCalls
from tokenmeter.otel.external.span_data import SpanData
from tokenmeter.record import Record

METER = Tokenmeter()


def span(scope: str, started: int, ended: int, *, parent: int | None = 7, home: str = "a", **stated: Any) -> SpanData:
    attributes = GENAI | USED | {name.replace("__", "."): value for name, value in stated.items()}
    return SpanData(f"{scope}{started}", parent, scope, attributes, started, ended, False, "1", "2", {}, home)


def record(data: SpanData) -> Record:
    made = Recorder(METER, (), None).record(data, call_id(data))
    assert made is not None
    return made


FIRST = span("openlit", 100, 200)
FIRST_WITH_ID = span("openlit", 100, 200, gen_ai__response__id="chatcmpl-1")


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        pytest.param(FIRST, span("langsmith", 110, 190), True, id="inside"),
        pytest.param(FIRST, span("langsmith", 90, 210), True, id="around"),
        pytest.param(FIRST, span("langsmith", 110, 210), False, id="neither contains the other"),
        pytest.param(FIRST, span("openlit", 110, 190), False, id="one instrumentation"),
        pytest.param(FIRST, span("langsmith", 110, 190, parent=8), False, id="another parent"),
        pytest.param(FIRST, span("langsmith", 110, 190, gen_ai__usage__input_tokens=999), False, id="other tokens"),
        pytest.param(FIRST, span("langsmith", 110, 190, gen_ai__request__model="gpt-4"), False, id="another model"),
        pytest.param(
            FIRST_WITH_ID, span("langsmith", 150, 250, parent=8, gen_ai__response__id="chatcmpl-1"), True,
            id="one response id, overlapping in time",
        ),
        pytest.param(
            FIRST_WITH_ID, span("langsmith", 201, 250, gen_ai__response__id="chatcmpl-1"), False,
            id="a response id that comes again later",
        ),
        pytest.param(
            FIRST_WITH_ID, span("langsmith", 110, 190, gen_ai__response__id="chatcmpl-2"), False, id="two response ids"
        ),
        pytest.param(FIRST_WITH_ID, span("langsmith", 110, 190), True, id="one of them has no response id"),
        pytest.param(FIRST, span("logfire", 250, 250, parent=None), True, id="logfire reports a stream's end"),
        pytest.param(FIRST, span("logfire", 250, 250, home="b"), False, id="logfire reports another process's"),
        pytest.param(FIRST, span("logfire", 200 + 2 * 10**9, 200 + 2 * 10**9), False, id="too long after the end"),
        pytest.param(FIRST, span("logfire", 199, 199, parent=8), False, id="before the end"),
    ],
)  # fmt: skip
def test_two_spans_are_one_call(first: SpanData, second: SpanData, same: bool) -> None:
    counted = CountedCalls()
    counted.add(first, record(first))
    assert counted.include(second, record(second)) is same


def test_each_instrumentation_has_one_span_for_each_call() -> None:
    counted = CountedCalls()
    counted.add(FIRST, record(FIRST))
    again = span("langsmith", 120, 180)
    assert [counted.include(again, record(again)) for _ in range(2)] == [True, False]


def test_roots_are_one_call_in_one_process_only() -> None:
    first = span("openlit", 100, 200, parent=None)
    counted = CountedCalls()
    counted.add(first, record(first))
    assert [
        counted.include(one, record(one))
        for one in (span("langsmith", 110, 190, parent=None, home=home) for home in ("b", "a"))
    ] == [False, True]
