"""Budgets over real SDKs and a local provider: refused calls never reach the server, and records agree with budgets."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.rigs.ways import WAYS, Ask, Setting, Way
from tokenmeter import Budget, BudgetExceeded, End, Tokenmeter
from tokenmeter.budgets.sqlite_store import SqliteBudgetStore
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


# Every way to send a call ------------------------------------------------------------------------------------------

_LIBRARIES = ("openai", "anthropic", "httpx", "requests", "aiohttp", "http.client", "urllib")
LONG = ";chunks=3000;tokens_out=3000"


def _ways(stream: bool) -> list[Any]:
    named = [way for way in WAYS if way.name.removeprefix("async ") in _LIBRARIES]
    skip = pytest.mark.skipif
    return [
        pytest.param(
            way, stream, id=f"{way.name}{' stream' if stream else ''}", marks=skip(not way.here, reason="not installed")
        )
        for way in named
    ]


def _long(way: Way) -> Way:
    """The way, with room for a long answer where the API wants a limit."""
    if way.provider != "anthropic":
        return way

    def ask(client: Any, asked: Ask) -> Any:
        return client.messages.create(model=asked.model, max_tokens=8000, messages=asked.messages, stream=True)

    return replace(way, ask=ask)


def _meter(way: Way, server: ProviderServer, budget: Budget, **settings: Any) -> Tokenmeter:
    hosts = {server.host: way.provider or "openai"}
    return Tokenmeter(budgets=[budget], spans="none", hosts=hosts, **settings)


def _run(meter: Tokenmeter, way: Way, server: ProviderServer, *asks: Ask) -> tuple[list[int], BaseException | None]:
    """The pieces that came of each answer, and the error at which the program ended."""
    came: list[int] = []

    async def run() -> None:
        client = way.make(Setting(server, retries=2))
        try:
            for ask in asks:
                answer = way.ask(client, ask)
                answer = await answer if inspect.isawaitable(answer) else answer
                came.append(0)
                if not ask.stream:
                    continue
                if way.aio:
                    async for _ in answer:
                        came[-1] += 1
                else:
                    for _ in answer:
                        came[-1] += 1
        finally:
            close = getattr(client, "aclose", None) or getattr(client, "close", None)
            closing = close() if close is not None else None
            if inspect.isawaitable(closing):
                await closing

    meter.instrument()
    try:
        asyncio.run(run())
    except BudgetExceeded as error:
        return came, error
    finally:
        meter.uninstrument()
    return came, None


@pytest.mark.parametrize(("way", "stream"), [*_ways(stream=False), *_ways(stream=True)])
def test_a_refused_call_never_reaches_the_server(way: Way, stream: bool, server: ProviderServer) -> None:
    meter = _meter(way, server, Budget("2 calls", name="few", per="total"))
    with capture(meter) as records:
        came, error = _run(meter, way, server, *[Ask(way.model, "hi", stream)] * 3)
    assert len(came) == len(server.requests) == 2
    assert isinstance(error, BudgetExceeded)
    assert [record.end for record in records] == [End.COMPLETE, End.COMPLETE, End.REFUSED]
    assert not records[-1].attempts


@pytest.mark.parametrize(("way", "stream"), _ways(stream=True))
def test_a_cut_stream_is_charged_what_came(way: Way, stream: bool, server: ProviderServer) -> None:
    meter = _meter(way, server, Budget("1500 tokens", name="t", per="total", cut_streams=True))
    with capture(meter) as records:
        _, error = _run(meter, _long(way), server, Ask(way.model + LONG, "hi", stream))
    (record,) = records
    assert isinstance(error, BudgetExceeded)
    assert (record.end, record.flags[-1]) == (End.CLOSED_EARLY, "budget_cut")
    enforcer = meter._gate.enforcer
    assert enforcer is not None
    after = enforcer.store.read("t", 0, 1)
    assert after.held == 0
    assert after.spent == (record.usage.input_tokens or 0) + (record.usage.output_tokens or 0)
    assert 0 < (record.usage.output_tokens or 0) < 3000


class _NotedStore:
    """A real SQLite store; notes the thread of each operation that may wait for the disk."""

    def __init__(self, path: Path, threads: list[threading.Thread]) -> None:
        self._store = SqliteBudgetStore(path)
        self._threads = threads

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not callable(found) or name == "now":
            return found

        def noted(*args: Any, **kwargs: Any) -> Any:
            self._threads.append(threading.current_thread())
            return found(*args, **kwargs)

        return noted


@pytest.mark.parametrize(("way", "stream"), [one for one in _ways(stream=False) if one.values[0].aio])
def test_a_store_on_disk_is_never_asked_on_the_event_loop(
    way: Way, stream: bool, server: ProviderServer, tmp_path: Path
) -> None:
    operations: list[threading.Thread] = []
    store: Any = _NotedStore(tmp_path / "b.db", operations)
    meter = _meter(way, server, Budget("2 calls", name="few", per="total"), budget_store=store)
    came, error = _run(meter, way, server, *[Ask(way.model, "hi", stream)] * 3)
    meter.flush()
    assert isinstance(error, BudgetExceeded)
    assert len(came) == len(server.requests) == 2
    assert len(operations) >= 5  # three asked, two settled
    assert threading.main_thread() not in operations
