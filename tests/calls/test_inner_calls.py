"""What the program hands us may call a model itself: each such call is metered once and starts no circle."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

import tokenmeter
from tokenmeter import Record, Tokenmeter, Usage
from tokenmeter.calls import hints
from tokenmeter.calls.sampler import CALLS, SPREAD
from tokenmeter.testing import capture
from tokenmeter.tokens.calibration.fit import Pair
from tokenmeter.tokens.calibration.store import Key, MemoryStore

USAGE = Usage(input_tokens=10, output_tokens=1)
MOST = 50
"""Calls after which a circle is broken off."""


class Judge:
    """Whatever a meter calls back: each time it asks a model through the meter."""

    def __init__(self) -> None:
        self.meter: Tokenmeter | None = None
        self.asked = 0

    def ask(self) -> None:
        if self.meter is not None and self.asked < MOST:
            self.asked += 1
            with self.meter.call(provider="deepseek", model="judge") as call:
                call.observe_usage(USAGE)

    # As a sink
    def write(self, record: Record) -> None:
        self.ask()

    def flush(self, timeout: float) -> bool:
        return True

    def close(self, timeout: float) -> None: ...

    # As a clock
    def __call__(self) -> int:
        self.ask()
        return 1_800_000_000_000_000_000


class JudgingProcessor(SpanProcessor):
    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def on_end(self, span: ReadableSpan) -> None:
        self._judge.ask()


def _processor(judge: Judge) -> Tokenmeter:
    provider = TracerProvider()
    provider.add_span_processor(JudgingProcessor(judge))
    return Tokenmeter(tracer_provider=provider)


@pytest.mark.parametrize(
    ("make", "asked"),
    [
        pytest.param(lambda judge: Tokenmeter(sinks=[judge]), 1, id="a sink"),
        pytest.param(lambda judge: Tokenmeter(sinks=[judge, judge]), 2, id="two sinks"),
        pytest.param(lambda judge: Tokenmeter(clock=judge), 1, id="a clock"),
        pytest.param(_processor, 1, id="a span processor"),
    ],
)
def test_a_call_made_inside_is_recorded_once(make: Callable[[Judge], Tokenmeter], asked: int) -> None:
    judge = Judge()
    meter = make(judge)
    with capture(meter) as records, meter.scope("outer") as scope:
        judge.meter = meter
        with meter.call(provider="deepseek", model="user") as call:
            call.observe_usage(USAGE)
        judge.meter = None
    assert judge.asked == asked
    assert sorted(record.request_model or "" for record in records) == [*["judge"] * asked, "user"]
    assert scope.calls == 1 + asked
    meter.shutdown()


class AskingStore(MemoryStore):
    """A store of what was learnt that asks a model before it keeps a pair."""

    def __init__(self, judge: Judge) -> None:
        super().__init__()
        self._judge = judge

    def add(self, key: Key, pair: Pair) -> list[Pair]:
        self._judge.ask()
        return super().add(key, pair)


def test_a_call_made_by_the_store_of_what_was_learnt_teaches_nothing() -> None:
    judge = Judge()
    meter = judge.meter = Tokenmeter(calibrate=True, calibration=AskingStore(judge))
    request = {"model": "deepseek-chat", "messages": [{"role": "user", "content": "What is the capital of France?"}]}
    reply = {
        "choices": [{"message": {"role": "assistant", "content": "It is Paris."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14},
    }
    for _ in range(CALLS + SPREAD):
        with meter.call(provider="deepseek", api="openai.chat", request=request) as call:
            call.observe(reply)
    assert meter.flush()
    assert judge.asked == 2, "one of the calls was learnt from: its input and its output"
    meter.shutdown()


def test_calls_of_other_tasks_are_no_inner_calls() -> None:
    judge = Judge()
    meter = judge.meter = Tokenmeter(sinks=[judge])

    async def ask() -> None:
        with meter.call(provider="deepseek", model="user") as call:
            await asyncio.sleep(0)
            call.observe_usage(USAGE)

    async def main() -> None:
        await asyncio.gather(*(ask() for _ in range(5)))

    asyncio.run(main())
    assert judge.asked == 5
    meter.shutdown()


class OwnThread(Judge):
    """A sink that asks on a thread of its own, without the context. `begin` says how it comes there."""

    def __init__(self, begin: Callable[[OwnThread, Record], None]) -> None:
        super().__init__()
        self._begin = begin
        self.records: queue.SimpleQueue[Record | None] = queue.SimpleQueue()
        self.pool = ThreadPoolExecutor(2)
        self.seen: list[str | None] = []
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def write(self, record: Record) -> None:
        self.seen.append(record.request_model)
        self._begin(self, record)

    def _work(self) -> None:
        while self.records.get() is not None:
            self.ask()

    def close(self, timeout: float) -> None:
        self.pool.shutdown()
        self.records.put(None)
        self._thread.join()


class Closure(OwnThread):
    def write(self, record: Record) -> None:
        self.seen.append(record.request_model)

        def work() -> None:
            self.ask()

        self.pool.submit(work)


def _by_pool(judge: OwnThread, record: Record) -> None:
    judge.pool.submit(judge.ask)


def _by_thread(judge: OwnThread, record: Record) -> None:
    threading.Thread(target=judge.ask).start()


def _in_a_loop(judge: OwnThread, record: Record) -> None:
    async def ask() -> None:
        judge.ask()

    judge.pool.submit(lambda: asyncio.run(ask()))


def _elsewhere(judge: Judge) -> None:
    judge.ask()


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: OwnThread(lambda judge, record: judge.records.put(record)), id="a queue and a thread"),
        pytest.param(lambda: OwnThread(_by_pool), id="a pool"),
        pytest.param(lambda: OwnThread(_by_thread), id="a thread"),
        pytest.param(lambda: Closure(lambda judge, record: None), id="a function in a method"),
        pytest.param(lambda: OwnThread(_in_a_loop), id="an event loop, begun by a function that the sink carries"),
    ],
)
def test_a_call_made_on_a_thread_of_the_sink_starts_no_circle(
    make: Callable[[], OwnThread], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hints, "_said", set())
    judge = make()
    meter = judge.meter = Tokenmeter(sinks=[judge])
    with capture(meter) as records:
        with meter.call(provider="deepseek", model="user") as call:
            call.observe_usage(USAGE)
        until = time.monotonic() + 20
        while len(records) < 2 and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.05)  # a circle would turn meanwhile
    assert sorted(record.request_model or "" for record in records) == ["judge", "user"]
    assert judge.seen == ["user"]
    assert judge.asked == 1
    assert caplog.text.count("set makes_calls = False") == 1
    meter.shutdown()


def test_a_function_of_no_sink_is_given_the_context_by_carry() -> None:
    pool = ThreadPoolExecutor(1)

    class Carrying(Judge):
        def write(self, record: Record) -> None:
            pool.submit(tokenmeter.carry(_elsewhere), self)

    judge = Carrying()
    meter = judge.meter = Tokenmeter(sinks=[judge])
    with meter.call(provider="deepseek", model="user") as call:
        call.observe_usage(USAGE)
    time.sleep(0.1)
    pool.shutdown()
    assert judge.asked == 1
    meter.shutdown()


def test_threads_of_the_program_are_not_those_of_a_sink() -> None:
    seen: list[str | None] = []

    class Listing(Judge):
        def write(self, record: Record) -> None:
            seen.append(record.request_model)

    meter = Tokenmeter(sinks=[Listing()])

    def work() -> None:
        with meter.call(provider="deepseek", model="user") as call:
            call.observe_usage(USAGE)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(10):
            pool.submit(work)
    meter.flush()
    assert seen == ["user"] * 10
    meter.shutdown()
