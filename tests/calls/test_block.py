"""Blocks as context managers and decorators: whatever kind of function carries them, nothing changes for the caller."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import sys
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

import tokenmeter
from tests.rigs.one_call import one_call
from tokenmeter import Tokenmeter
from tokenmeter.calls.context import TAGS
from tokenmeter.calls.scope import SCOPE
from tokenmeter.testing import capture


@pytest.mark.parametrize("kind", ["plain", "coroutine", "generator", "async generator"])
def test_as_a_decorator(meter: Tokenmeter, kind: str) -> None:
    seen: list[tuple[str, ...]] = []

    def note() -> None:
        scope = SCOPE.get()
        assert scope is not None
        seen.append(scope.path)
        one_call(meter)

    @meter.scope("answer", feature="rerank")
    def plain(question: str, *, top: int = 3) -> str:
        note()
        return question

    @meter.scope("answer", feature="rerank")
    async def coroutine(question: str, *, top: int = 3) -> str:
        note()
        await asyncio.sleep(0)
        note()
        return question

    @meter.scope("answer", feature="rerank")
    def generator(question: str, *, top: int = 3) -> Iterator[str]:
        for _ in range(2):
            note()
            yield question

    @meter.scope("answer", feature="rerank")
    async def async_generator(question: str, *, top: int = 3) -> AsyncIterator[str]:
        for _ in range(2):
            note()
            await asyncio.sleep(0)
            yield question

    async def collect() -> list[str]:
        answers = []
        async for answer in async_generator("why"):
            assert SCOPE.get() is None, "a suspended generator leaks nothing to its caller"
            answers.append(answer)
        return answers

    def step() -> list[str]:
        answers = []
        for answer in generator("why"):
            assert SCOPE.get() is None, "a suspended generator leaks nothing to its caller"
            assert not TAGS.get()
            answers.append(answer)
        return answers

    with capture(meter) as records:
        if kind == "plain":
            assert plain("why") == "why"
        elif kind == "coroutine":
            assert asyncio.run(coroutine("why")) == "why"
        elif kind == "generator":
            assert step() == ["why", "why"]
        else:
            assert asyncio.run(collect()) == ["why", "why"]
    assert SCOPE.get() is None
    assert set(seen) == {("answer",)}
    assert len(records) == len(seen)
    assert all(record.tags == {"feature": "rerank"} for record in records)
    assert all(record.scope == ("answer",) for record in records)
    for function in (plain, coroutine, generator, async_generator):
        assert str(inspect.signature(function)).startswith("(question: ")
        assert "top: " in str(inspect.signature(function))
    assert inspect.iscoroutinefunction(coroutine)
    assert inspect.isgeneratorfunction(generator)
    assert inspect.isasyncgenfunction(async_generator)


def test_a_decorated_generator_is_driven_as_it_was(meter: Tokenmeter) -> None:
    log: list[object] = []

    @meter.scope("talk")
    def talk() -> Iterator[str]:
        try:
            got = yield "first"
            log.append(got)
            try:
                yield "second"
            except ValueError as error:
                log.append(str(error))
            yield "third"
        finally:
            log.append("closed")
        return "end"

    steps = talk()
    assert next(steps) == "first"
    assert steps.send("hello") == "second"  # type: ignore[attr-defined]
    assert steps.throw(ValueError("thrown in")) == "third"  # type: ignore[attr-defined]
    with pytest.raises(StopIteration) as stop:
        next(steps)
    assert stop.value.value == "end"
    assert log == ["hello", "thrown in", "closed"]
    early = talk()
    next(early)
    early.close()  # type: ignore[attr-defined]
    assert log[-1] == "closed"


def test_an_error_inside_passes_unchanged(meter: Tokenmeter) -> None:
    @meter.scope("work")
    def work() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        work()
    assert SCOPE.get() is None


class Service:
    @tokenmeter.scope("method")
    def method(self) -> tuple[str, ...]:
        scope = tokenmeter.current()
        return scope.path if scope is not None else ()

    @staticmethod
    @tokenmeter.scope("static")
    def static() -> tuple[str, ...]:
        scope = tokenmeter.current()
        return scope.path if scope is not None else ()

    @tokenmeter.scope("class")
    @classmethod
    def of_class(cls) -> str:
        return cls.__name__


@tokenmeter.scope("module level")
def at_module_level() -> int:
    return 7


def test_methods_and_pickling_survive() -> None:
    assert Service().method() == ("method",)
    assert Service.static() == ("static",)
    assert Service.of_class() == "Service"
    assert pickle.loads(pickle.dumps(at_module_level))() == 7


def test_one_block_serves_many_threads(meter: Tokenmeter) -> None:
    block = meter.scope("shared")
    barrier = threading.Barrier(8)
    calls: list[int] = []

    def work() -> None:
        with block as scope:
            barrier.wait()
            one_call(meter)
            barrier.wait()
        calls.append(scope.calls)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1] * 8


def test_one_block_object_in_many_threads(meter: Tokenmeter) -> None:
    before = sys.getswitchinterval()
    scope, tags = meter.scope("shared"), meter.tags(team="search")
    wrong: list[object] = []

    def work() -> None:
        try:
            for _ in range(500):
                with scope as here, tags:
                    if SCOPE.get() is not here:
                        wrong.append("another thread's scope")
                if SCOPE.get() is not None or TAGS.get():
                    wrong.append("left behind")
        except BaseException as error:  # noqa: BLE001 it would end in a thread of its own
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert wrong == []


def test_functions_decorated_before_configure_follow_it() -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    @tokenmeter.call(provider="deepseek", model="deepseek-chat")
    def ask() -> dict[str, object]:
        return {"model": "deepseek-chat", "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}

    @tokenmeter.scope("decorated")
    def work() -> None:
        ask()

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tokenmeter.configure(spans="none")
    tokenmeter.configure(spans="auto", tracer_provider=provider, price_lists={"deepseek": "USD"})
    try:
        with capture() as records:
            work()
        cost = records.only().cost.total
        assert cost is not None
        assert cost.currency == "USD"
        assert [span.name for span in exporter.get_finished_spans()] == ["chat deepseek-chat", "decorated"]
    finally:
        tokenmeter.configure()
