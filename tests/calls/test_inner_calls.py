"""What the program hands us may call a model itself: each such call is metered once and starts no circle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from tokenmeter import Record, Tokenmeter, Usage
from tokenmeter.calls.calibrator import CALLS, SPREAD
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
