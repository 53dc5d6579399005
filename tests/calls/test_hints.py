"""A program that would wonder why nothing is there is told once, with the remedy; others are told nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

import tokenmeter
from tokenmeter import Tokenmeter, Usage
from tokenmeter.calls import hints, marks

USAGE = Usage(input_tokens=10, output_tokens=1)


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hints, "_said", set())
    monkeypatch.setattr(marks, "_marked", False)


@pytest.fixture
def meter() -> Iterator[Tokenmeter]:
    made = Tokenmeter()
    yield made
    made.shutdown()


def one_call(meter: Tokenmeter) -> None:
    with meter.call(provider="deepseek", model="deepseek-chat") as call:
        call.observe_usage(USAGE)


def late(meter: Tokenmeter) -> None:
    with meter.call(provider="deepseek", model="deepseek-chat") as call:
        pass
    call.observe_usage(USAGE)


def empty(meter: Tokenmeter) -> None:
    with meter.scope("answer"):
        pass


def empty_but_wrapped(meter: Tokenmeter) -> None:
    marks.mark(SimpleNamespace(), marks.Mark(meter))
    empty(meter)


def in_a_pool(meter: Tokenmeter) -> None:
    with meter.scope("answer"), ThreadPoolExecutor(1) as pool:
        one_call(meter)
        pool.submit(one_call, meter).result()


def carried(meter: Tokenmeter) -> None:
    with meter.scope("answer"), ThreadPoolExecutor(1) as pool:
        pool.submit(tokenmeter.carry(one_call), meter).result()


def in_a_task(meter: Tokenmeter) -> None:
    async def answer() -> None:
        with meter.scope("answer"):
            await asyncio.to_thread(one_call, meter)

    asyncio.run(answer())


def in_a_pool_without_scopes(meter: Tokenmeter) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(one_call, meter).result()


@pytest.mark.parametrize(
    ("program", "remedy"),
    [
        (late, "observe_usage came after the end of the call's block and changes nothing: call it inside the block"),
        (empty, "the scope 'answer' ended and no call was metered: call tokenmeter.instrument()"),
        (in_a_pool, "a call in a thread of a ThreadPoolExecutor belongs to no scope and has no tags"),
        (empty_but_wrapped, None),
        (carried, None),
        (in_a_task, None),
        (in_a_pool_without_scopes, None),
    ],
)
def test_each_is_said_once(
    program: Callable[[Tokenmeter], None], remedy: str | None, meter: Tokenmeter, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "tokenmeter"):
        program(meter)
        program(meter)
    said = [record.getMessage() for record in caplog.records]
    assert [line.startswith(remedy or "") for line in said] == ([] if remedy is None else [True])
