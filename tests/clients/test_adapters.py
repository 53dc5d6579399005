"""What holds for every SDK, shown on a small one of our own over httpx2 or httpx: no vendor's SDK is needed here."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import types
from collections.abc import Iterator
from typing import Any

import pytest

from tests.rigs.matrix import MESSAGES
from tokenmeter import ConfigurationError, End, Tokenmeter
from tokenmeter.clients import by_wire, install_all, known_roots
from tokenmeter.clients.support import hooks
from tokenmeter.clients.support.group import async_grouped, grouped
from tokenmeter.testing import ProviderServer, Records

HTTP: Any = pytest.importorskip("httpx2" if importlib.util.find_spec("httpx2") else "httpx", reason="needs httpx2")


class SmallSdk:
    """Tries three times, as several SDKs do: above the HTTP library, and by calling itself."""

    def __init__(self, server: ProviderServer) -> None:
        self._url = f"{server.url('deepseek')}/chat/completions"
        self._http = HTTP.Client()

    def request(self, model: str, tries: int = 3) -> Any:
        response = self._http.post(self._url, json={"model": model, "messages": MESSAGES})
        if response.status_code >= 500 and tries > 1:
            return self.request(model, tries - 1)
        return response

    def ask(self, model: str) -> Any:
        response = self.request(model)
        response.raise_for_status()
        return response.json()

    def stream(self, model: str) -> Any:
        request = self._http.build_request(
            "POST", self._url, json={"model": model, "messages": MESSAGES, "stream": True}
        )
        return self._http.send(request, stream=True)

    def nothing(self) -> str:
        return "no request"


class SmallAsyncSdk:
    def __init__(self, server: ProviderServer) -> None:
        self._url = f"{server.url('deepseek')}/chat/completions"

    async def request(self, model: str) -> Any:
        async with HTTP.AsyncClient() as http:
            for _ in range(3):
                # As SDKs with a time limit do: the request is sent by another task.
                response = await asyncio.wait_for(http.post(self._url, json={"model": model, "messages": MESSAGES}), 30)
                if response.status_code < 500:
                    break
            response.raise_for_status()
            return response.json()


@pytest.fixture(autouse=True)
def hooked() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("request", "stream", "nothing"):
            patch.setattr(SmallSdk, name, grouped(vars(SmallSdk)[name], lambda client: client))
        patch.setattr(SmallAsyncSdk, "request", async_grouped(SmallAsyncSdk.request, lambda client: client))
        yield


def wrapped(meter: Tokenmeter, client: Any) -> Any:
    install_all()
    hooks.mark(client, hooks.Mark(meter, "deepseek"))
    return client


@pytest.mark.parametrize(
    ("suffix", "statuses", "end"),
    [
        pytest.param("", [200], End.COMPLETE, id="at once"),
        pytest.param(";fail=2", [500, 500, 200], End.COMPLETE, id="at the third try"),
        pytest.param(";status=500", [500, 500, 500], End.ERROR, id="never"),
        pytest.param(";status=401", [401], End.ERROR, id="not tried again"),
    ],
)
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_all_tries_are_one_call(
    suffix: str,
    statuses: list[int],
    end: End,
    asynchronous: bool,
    meter: Tokenmeter,
    records: Records,
    server: ProviderServer,
) -> None:
    model = f"deepseek-chat{suffix}"
    error = None
    try:
        if asynchronous:
            asyncio.run(wrapped(meter, SmallAsyncSdk(server)).request(model))
        else:
            wrapped(meter, SmallSdk(server)).ask(model)
    except HTTP.HTTPStatusError as raised:
        error = raised
    assert [request.status for request in server.requests] == statuses
    record = records.only()
    assert [attempt.status for attempt in record.attempts] == statuses
    assert record.end is end
    assert (error is not None) == (end is End.ERROR)
    assert record.usage.output_tokens == (12 if end is End.COMPLETE else None)
    assert [attempt.usage for attempt in record.attempts] == [status == 200 for status in statuses]


def test_a_stream_outlives_the_method(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    response = wrapped(meter, SmallSdk(server)).stream("deepseek-chat")
    assert len(records) == 0
    assert response.read().endswith(b"data: [DONE]\n\n")
    assert (records.only().end, records.only().usage.output_tokens) == (End.COMPLETE, 12)


def test_a_method_that_sends_nothing_is_no_call(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    assert wrapped(meter, SmallSdk(server)).nothing() == "no request"
    assert records.drain() == []


def test_an_unmarked_client_is_left_alone(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    wrapped(meter, SmallSdk(server))
    SmallSdk(server).ask("deepseek-chat")
    assert records.drain() == []


def test_two_calls_one_after_the_other_are_two(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = wrapped(meter, SmallSdk(server))
    client.ask("deepseek-chat;out=3")
    client.ask("deepseek-chat;out=4")
    assert [record.usage.output_tokens for record in records.drain()] == [3, 4]


@pytest.mark.parametrize(
    "method", [method for sdk in by_wire._SDKS.values() for method in sdk.methods], ids=lambda method: method.module
)
def test_an_sdk_by_the_wire_built_otherwise_is_said_once(method: Any, caplog: pytest.LogCaptureFixture) -> None:
    package = method.module.partition(".")[0]
    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.WARNING, logger="tokenmeter"):
        patch.setattr(hooks, "_unknown", set())
        by_wire._hook(package, by_wire._SDKS[package])(types.ModuleType(method.module))
    assert [package in message for message in caplog.messages] == [True]


def test_what_is_no_client_is_said_with_the_way_out(meter: Tokenmeter) -> None:
    class Client:
        pass

    with pytest.raises(ConfigurationError, match=r"tokenmeter\.call") as raised:
        meter.wrap(Client())
    assert all(root in str(raised.value) for root in known_roots())
