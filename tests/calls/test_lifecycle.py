"""From an open call to its record: put off within a bound, handed on whole although a part fails."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from tests.rigs.local_provider import own_meter, running, server
from tests.rigs.otel_rig import in_production
from tokenmeter import End, Tokenmeter, Usage
from tokenmeter.calls.opencall import OpenCall
from tokenmeter.record import Record
from tokenmeter.testing import ProviderServer, capture

__all__ = ["running", "server"]

PUT_OFF_MOST = 64
"""Calls that may wait in memory for somebody to ask for a sum."""


class Kept:
    """A sink that keeps what it gets, and fails first if told so."""

    def __init__(self, *, broken: bool = False) -> None:
        self.records: list[Record] = []
        self.broken = broken

    def write(self, record: Record) -> None:
        if self.broken:
            raise OSError("the disk is full")
        self.records.append(record)

    def flush(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def quiet() -> Iterator[Tokenmeter]:
    """A meter of whose records nobody asks for one: only the process's own sums are kept."""
    with own_meter() as made:
        yield made


def call_often(meter: Tokenmeter, server: ProviderServer, times: int) -> None:
    httpx = pytest.importorskip("httpx")
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    with meter.wrap(httpx.Client(base_url=server.url()), provider="openai") as client:
        for _ in range(times):
            client.post("chat/completions", json=body).raise_for_status()


def open_calls() -> int:
    return sum(type(one) is OpenCall for one in gc.get_objects())


def test_calls_that_nobody_waits_for_are_put_off_within_a_bound(quiet: Tokenmeter, server: ProviderServer) -> None:
    gc.collect()
    before = open_calls()
    call_often(quiet, server, PUT_OFF_MOST - 1)
    assert open_calls() - before == PUT_OFF_MOST - 1, "all of them wait"
    call_often(quiet, server, 2 * PUT_OFF_MOST)
    assert open_calls() - before < PUT_OFF_MOST


def test_calls_put_off_are_in_no_record_of_a_sink_added_later(quiet: Tokenmeter, server: ProviderServer) -> None:
    call_often(quiet, server, 3)
    with capture(quiet) as records:
        call_often(quiet, server, 2)
    assert len(records) == 2


def test_a_sink_that_fails_does_not_starve_the_next() -> None:
    broken, whole = Kept(broken=True), Kept()
    meter = Tokenmeter(spans="none", sinks=[broken, whole])
    with in_production(), meter.call(provider="openai", model="gpt-4o") as call:
        call.observe_usage(Usage(input_tokens=1, output_tokens=1))
    assert [record.request_model for record in whole.records] == ["gpt-4o"]


@pytest.mark.parametrize(
    ("outer", "expected"),
    [
        pytest.param(
            Usage(input_tokens=9, output_tokens=9), [("inner", End.DELEGATED), ("outer", End.COMPLETE)], id="outer"
        ),
        pytest.param(None, [("inner", End.COMPLETE), ("outer", End.DELEGATED)], id="inner"),
    ],
)
def test_each_token_of_calls_inside_calls_is_counted_once(
    quiet: Tokenmeter, outer: Usage | None, expected: list[tuple[str, End]]
) -> None:
    with capture(quiet) as records, quiet.call(provider="openai", model="outer") as around:
        with quiet.call(provider="openai", model="inner") as inside:
            inside.observe_usage(Usage(input_tokens=5, output_tokens=5))
        if outer is not None:
            around.observe_usage(outer)
    assert [(record.request_model, record.end) for record in records] == expected
    assert [record.usage.input_tokens for record in records if record.end is not End.DELEGATED] == [
        9 if outer is not None else 5
    ]


@pytest.mark.parametrize("of", ["model", "answer", "tag"])
def test_long_names_of_others_are_not_kept(of: str) -> None:
    tracer, reader = TracerProvider(), InMemoryMetricReader()
    meter = Tokenmeter(tracer_provider=tracer, meter_provider=MeterProvider([reader]))

    def one_call(number: int) -> None:
        name = f"{number:04d}" + "m" * 100_000
        tags = {"user": name} if of == "tag" else {}
        with (
            meter.tags(**tags),
            meter.call(provider="openai", model=name if of == "model" else "gpt-4o", api="openai.chat") as call,
        ):
            usage = {"prompt_tokens": 10, "completion_tokens": 1}
            call.observe({"model": name if of == "answer" else "gpt-4o", "choices": [], "usage": usage})

    one_call(0)
    meter.flush()
    tracemalloc.start()
    for number in range(1, 101):
        one_call(number)
    meter.flush()
    gc.collect()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2_000_000, "a tenth of what was sent may not be kept"
    meter.shutdown()
