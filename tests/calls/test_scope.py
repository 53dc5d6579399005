"""Scopes sum the calls inside them, whatever kind of function carries them, and leak nothing to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest

import tokenmeter
from tests.rigs.one_call import NOON, THOUSAND, one_call
from tokenmeter import Money, Tokenmeter, Usage
from tokenmeter.calls.scope import SCOPE
from tokenmeter.testing import capture


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
