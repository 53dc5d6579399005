"""Budgets over real SDKs and a local provider: refused calls never reach the server, and records agree with budgets."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import nullcontext
from decimal import Decimal
from typing import Any

import pytest

from tokenmeter import Budget, BudgetExceeded, End, Tokenmeter
from tokenmeter.testing import ProviderServer, capture, provider_server

openai = pytest.importorskip("openai")


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with provider_server() as running:
        yield running


MESSAGES = [{"role": "user", "content": "hi"}]


def client(server: ProviderServer, kind: Any = None) -> Any:
    return (kind or openai.OpenAI)(base_url=server.url("deepseek"), api_key="k", max_retries=3)


def test_a_refused_call_is_not_sent_and_has_a_record(server: ProviderServer) -> None:
    meter = Tokenmeter(budgets=[Budget("2 calls", name="few", per="total")], spans="none")
    sdk = meter.wrap(client(server), provider="deepseek")
    with capture(meter) as records:
        for _ in range(2):
            sdk.chat.completions.create(model="deepseek-chat", messages=MESSAGES, max_tokens=20)
        with pytest.raises(BudgetExceeded) as caught:
            sdk.chat.completions.create(model="deepseek-chat", messages=MESSAGES, max_tokens=20)
    assert len(server.requests) == 2
    assert [record.end for record in records] == [End.COMPLETE, End.COMPLETE, End.REFUSED]
    refused = records[-1]
    assert refused.cost.total is not None
    assert refused.cost.total.amount == 0
    assert not refused.attempts
    assert (caught.value.kind, caught.value.left, caught.value.resets_at) == ("spent", 0, None)
    assert records[0].budget_window == {"few": "total"}


def test_the_budget_and_the_records_agree_to_the_digit(server: ProviderServer) -> None:
    meter = Tokenmeter(budgets=[Budget("1 CNY", name="day")], spans="none", price_lists={"deepseek": "CNY"})
    sdk = meter.wrap(client(server), provider="deepseek")
    with capture(meter) as records:
        for _ in range(5):
            sdk.chat.completions.create(model="deepseek-chat", messages=MESSAGES, max_tokens=20)
        for _ in sdk.chat.completions.create(model="deepseek-chat", messages=MESSAGES, max_tokens=20, stream=True):
            pass
        meter.flush()
    enforcer = meter._gate.enforcer
    assert enforcer is not None
    window = enforcer.lines.counters[0].windows.at(enforcer.store.now())
    counter = enforcer.store.read("day", window.bucket, 1)
    total = sum((record.cost.total.amount for record in records if record.cost.total), Decimal(0))
    assert len(records) == 6
    assert counter.held == 0
    assert Decimal(counter.spent).scaleb(-9) == total > 0


def test_an_async_call_is_refused_before_it_is_sent(server: ProviderServer) -> None:
    meter = Tokenmeter(budgets=[Budget("1 calls", name="one", per="total")], spans="none")

    async def main() -> None:
        sdk = meter.wrap(client(server, openai.AsyncOpenAI), provider="deepseek")
        await sdk.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
        with pytest.raises(BudgetExceeded):
            await sdk.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
        await sdk.close()

    asyncio.run(main())
    assert len(server.requests) == 1


def test_each_run_of_a_scope_has_its_own_budget(server: ProviderServer) -> None:
    meter = Tokenmeter(spans="none")
    sdk = meter.wrap(client(server), provider="deepseek")
    for _ in range(2):
        with meter.scope("nightly", budget="1 calls"):
            sdk.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
            with pytest.raises(BudgetExceeded, match="nightly"):
                sdk.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
    sdk.chat.completions.create(model="deepseek-chat", messages=MESSAGES)
    assert len(server.requests) == 3


def test_a_stream_holds_more_as_it_runs_and_is_charged_what_came(server: ProviderServer) -> None:
    """The answer is longer than what is held at first: the stream goes on while the budget has room."""
    meter = Tokenmeter(budgets=[Budget("100000 tokens", name="t", per="total")], spans="none")
    sdk = meter.wrap(client(server), provider="deepseek")
    stream = sdk.chat.completions.create(
        model="deepseek-chat;chunks=3000;tokens_out=3000", messages=MESSAGES, max_tokens=8000, stream=True
    )
    enforcer = meter._gate.enforcer
    assert enforcer is not None
    held = [enforcer.store.read("t", 0, 1).held for _ in stream]
    assert held[0] < 2_000 < held[-1] <= 9_000
    meter.flush()
    after = enforcer.store.read("t", 0, 1)
    assert (after.spent, after.held) == (3_024, 0)


@pytest.mark.parametrize("cut", [True, False])
def test_a_stream_that_does_not_fit_is_cut_or_overruns(server: ProviderServer, cut: bool) -> None:
    meter = Tokenmeter(budgets=[Budget("1500 tokens", name="t", per="total", cut_streams=cut)], spans="none")
    sdk = meter.wrap(client(server), provider="deepseek")
    came = 0
    with capture(meter) as records:
        stream = sdk.chat.completions.create(
            model="deepseek-chat;chunks=3000;tokens_out=3000", messages=MESSAGES, max_tokens=8000, stream=True
        )
        with pytest.raises(BudgetExceeded, match="'t'") if cut else nullcontext():
            for _ in stream:
                came += 1
    (record,) = records
    assert (record.end, record.flags[-1]) == (
        (End.CLOSED_EARLY, "budget_cut") if cut else (End.COMPLETE, "budget_overrun")
    )
    assert (came < 3000) is cut
    enforcer = meter._gate.enforcer
    assert enforcer is not None
    after = enforcer.store.read("t", 0, 1)
    assert after.held == 0
    assert after.spent == (record.usage.input_tokens or 0) + (record.usage.output_tokens or 0)
    assert (after.spent < 3000) is cut
