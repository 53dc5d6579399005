"""Scopes sum the calls inside them, whatever kind of function carries them, and leak nothing to the caller."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

import tokenmeter
from tokenmeter import Money, Tokenmeter, Usage
from tokenmeter.calls.context import TAGS
from tokenmeter.calls.scope import SCOPE
from tokenmeter.testing import FixedClock, capture

NOON = "2026-06-01T12:00:00+08:00"
THOUSAND = Usage(input_tokens=1000, output_tokens=500)


@pytest.fixture
def meter() -> Iterator[Tokenmeter]:
    made = Tokenmeter(clock=FixedClock(NOON))
    yield made
    made.shutdown()


def one_call(meter: Tokenmeter, model: str = "deepseek-chat", provider: str = "deepseek") -> None:
    with meter.call(provider=provider, model=model) as call:
        call.observe_usage(THOUSAND)


def cost_of_one(meter: Tokenmeter) -> Money:
    total = meter.price(THOUSAND, provider="deepseek", model="deepseek-chat", at=NOON).total
    assert total is not None
    return total


def test_nested_scopes_roll_up(meter: Tokenmeter) -> None:
    with meter.scope("outer", team="search") as outer:
        one_call(meter)
        with meter.scope("inner", feature="rerank") as inner:
            one_call(meter)
            one_call(meter)
    assert (outer.calls, inner.calls) == (3, 2)
    assert outer.cost == {"CNY": cost_of_one(meter) * 3}
    assert inner.cost == {"CNY": cost_of_one(meter) * 2}
    assert outer.usage == {"input_tokens": 3000, "output_tokens": 1500}
    assert inner.tags == {"team": "search", "feature": "rerank"}
    assert inner.path == ("outer", "inner")
    assert outer.complete
    assert outer.pending == 0


def test_what_cannot_be_priced_is_counted_apart(meter: Tokenmeter) -> None:
    with meter.scope("work") as scope:
        one_call(meter)
        one_call(meter, model="no-such-model")
    assert scope.unpriced == 1
    assert scope.cost == {"CNY": cost_of_one(meter)}
    assert not scope.complete


def test_currencies_stay_apart(meter: Tokenmeter) -> None:
    with meter.scope("work") as scope:
        one_call(meter)
        one_call(meter, model="gpt-4o", provider="openai")
    assert set(scope.cost) == {"CNY", "USD"}


def test_a_call_belongs_to_the_scope_it_started_in(meter: Tokenmeter) -> None:
    with meter.scope("first") as first:
        block = meter.call(provider="deepseek", model="deepseek-chat")
        call = block.__enter__()
        assert first.pending == 1
        assert not first.complete
    call.observe_usage(THOUSAND)
    block.__exit__(None, None, None)
    assert first.pending == 0
    assert first.calls == 1


def test_many_calls_are_folded_without_losing_any(meter: Tokenmeter) -> None:
    with meter.scope("many") as scope:
        for _ in range(1000):
            one_call(meter)
    assert scope.calls == 1000
    assert scope.cost == {"CNY": cost_of_one(meter) * 1000}


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


def test_carry_takes_scope_and_tags_into_a_pool(meter: Tokenmeter) -> None:
    with meter.scope("pooled", team="search") as scope, ThreadPoolExecutor(4) as pool:
        list(pool.map(tokenmeter.carry(lambda _: one_call(meter)), range(20)))
        list(pool.map(lambda _: one_call(meter), range(5)))
    assert scope.calls == 20, "what was not carried belongs to no scope"


def test_gathered_tasks_share_their_scope(meter: Tokenmeter) -> None:
    async def work() -> None:
        await asyncio.sleep(0)
        one_call(meter)

    async def main() -> int:
        async with meter.scope("gathered") as scope:
            await asyncio.gather(*(work() for _ in range(10)))
        return scope.calls

    assert asyncio.run(main()) == 10


def test_a_scope_left_in_another_context_restores_nothing_there(meter: Tokenmeter) -> None:
    async def numbers() -> AsyncIterator[int]:
        with meter.scope("inside a generator"):
            yield 1
            yield 2

    async def main() -> None:
        steps = numbers()
        await steps.__anext__()
        with meter.scope("other") as other:
            await asyncio.create_task(steps.aclose())  # type: ignore[attr-defined]
            assert SCOPE.get() is other

    asyncio.run(main())


@pytest.mark.parametrize("value", [object(), [1], {"a": 1}])
def test_a_tag_that_is_no_plain_value_is_refused(value: object) -> None:
    with pytest.raises(tokenmeter.ConfigurationError, match="tag tenant="):
        tokenmeter.tags(tenant=value)


def test_tags_nest_and_none_leaves_one_out(meter: Tokenmeter) -> None:
    with capture(meter) as records, meter.tags(tenant="acme", user=7), meter.tags(user=8, beta=True, nothing=None):
        one_call(meter)
    assert records.only().tags == {"tenant": "acme", "user": "8", "beta": "true"}


def test_a_scope_shows_itself(meter: Tokenmeter) -> None:
    with meter.scope("<work>") as scope:
        one_call(meter)
    assert "<Scope <work> cost: " in repr(scope)
    assert "&lt;work&gt;" in scope._repr_html_()
    assert "1,000" in scope._repr_html_()


def test_money_is_summed_exactly(meter: Tokenmeter) -> None:
    with meter.scope("exact") as scope:
        for tokens in (1, 3, 7):
            with meter.call(provider="deepseek", model="deepseek-chat") as call:
                call.observe_usage(Usage(input_tokens=tokens, output_tokens=0))
    rate = meter.price(
        Usage(input_tokens=1_000_000, output_tokens=0), provider="deepseek", model="deepseek-chat", at=NOON
    )
    assert rate.total is not None
    assert scope.cost["CNY"].amount == rate.total.amount * Decimal(11) / Decimal(1_000_000)


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
    tokenmeter.configure(tracer_provider=provider, price_lists={"deepseek": "USD"})
    try:
        with capture() as records:
            work()
        cost = records.only().cost.total
        assert cost is not None
        assert cost.currency == "USD"
        assert [span.name for span in exporter.get_finished_spans()] == ["chat deepseek-chat", "decorated"]
    finally:
        tokenmeter.configure()


def test_a_call_that_outlives_two_configurations_is_recorded() -> None:
    tokenmeter.configure(spans="none")
    block = tokenmeter.call(provider="deepseek", model="deepseek-chat")
    block.__enter__().observe_usage(THOUSAND)
    tokenmeter.configure(spans="none")
    tokenmeter.configure(spans="none")
    try:
        with capture() as records:
            block.__exit__(None, None, None)
        assert records.only().usage == THOUSAND
    finally:
        tokenmeter.configure()


def test_no_sink_can_change_whose_spend_it_is(meter: Tokenmeter) -> None:
    with capture(meter) as records, meter.scope("work", team="search") as scope, meter.tags(tenant="acme") as tags:
        one_call(meter)
    for shared in (records.only().tags, scope.tags, tags):
        with pytest.raises(TypeError):
            shared["team"] = "other"  # type: ignore[index]
