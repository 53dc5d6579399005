"""A stream that its caller forgets lets go of its connection when it would unmetered; a server counts the open ones."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.rigs.open_connections import OpenConnections, open_connections
from tokenmeter import End, Tokenmeter
from tokenmeter.testing import capture

BODY: Final[dict[str, Any]] = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "stream": True}
PATIENCE: Final = 0.4
"""Seconds in which a connection is seen to close, or stays."""


@pytest.fixture
def server() -> Iterator[OpenConnections]:
    with open_connections() as running:
        yield running


def _loaded(name: str) -> Any:
    return pytest.importorskip(name, reason=f"needs {name}; `make test-sdks` has it")


# Each opens a stream, perhaps reads of it, and forgets first the stream and then the client. It yields after each step.


def _openai(url: str, read: int) -> Iterator[None]:
    client = _loaded("openai").OpenAI(base_url=url, api_key="k", max_retries=0)
    stream = client.chat.completions.create(**BODY)
    for _ in range(read):
        next(stream)
    del stream
    yield
    del client
    yield


def _httpx(url: str, read: int) -> Iterator[None]:
    client = _loaded("httpx").Client(trust_env=False)
    answer = client.send(client.build_request("POST", f"{url}/chat/completions", json=BODY), stream=True)
    if read:
        lines = answer.iter_lines()
        next(lines)
        del lines
    del answer
    yield
    del client
    yield


def _requests(url: str, read: int) -> Iterator[None]:
    session = _loaded("requests").Session()
    session.trust_env = False
    answer = session.post(f"{url}/chat/completions", json=BODY, stream=True)
    if read:
        lines = answer.iter_lines(chunk_size=1)
        next(lines)
        del lines
    del answer
    yield
    del session
    yield


def _urllib(url: str, read: int) -> Iterator[None]:
    request = importlib.import_module("urllib.request")
    json = importlib.import_module("json")
    asked = request.Request(f"{url}/chat/completions", json.dumps(BODY).encode(), {"content-type": "application/json"})
    opener = request.build_opener(request.ProxyHandler({}))
    answer = opener.open(asked)
    if read:
        answer.readline()
    del answer
    yield
    del opener
    yield


def _aiohttp(url: str, read: int) -> Iterator[None]:
    aiohttp = _loaded("aiohttp")
    loop = asyncio.new_event_loop()

    async def opened() -> tuple[Any, Any]:
        session = aiohttp.ClientSession()
        answer = await session.post(f"{url}/chat/completions", json=BODY)
        if read:
            await answer.content.readline()
        return session, answer

    session, answer = loop.run_until_complete(opened())
    del answer
    loop.run_until_complete(asyncio.sleep(0))
    yield
    del session
    loop.run_until_complete(asyncio.sleep(0))
    yield
    loop.close()


def _async_openai(url: str, read: int) -> Iterator[None]:
    openai = _loaded("openai")
    loop = asyncio.new_event_loop()

    async def opened() -> tuple[Any, Any]:
        client = openai.AsyncOpenAI(base_url=url, api_key="k", max_retries=0)
        stream = await client.chat.completions.create(**BODY)
        for _ in range(read):
            await anext(stream)
        return client, stream

    client, stream = loop.run_until_complete(opened())
    del stream
    loop.run_until_complete(asyncio.sleep(0))
    yield
    del client
    loop.run_until_complete(asyncio.sleep(0))
    yield
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


def _then_collected(steps: Iterator[None]) -> Iterator[None]:
    yield from steps
    gc.collect()
    yield


def _closed_after(server: OpenConnections, steps: Iterator[None]) -> int | None:
    """Which step closes the connection: forgetting the stream, forgetting the client, or collecting garbage."""
    found = None
    for number, _ in enumerate(_then_collected(steps)):
        until = time.monotonic() + PATIENCE
        while found is None and time.monotonic() < until:
            if not server.now:
                found = number
            time.sleep(0.005)
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("read", [0, 1], ids=["unread", "read once"])
@pytest.mark.parametrize(
    "way",
    [
        pytest.param(_openai, id="openai"),
        pytest.param(_async_openai, id="async openai"),
        pytest.param(_httpx, id="httpx"),
        pytest.param(_requests, id="requests"),
        pytest.param(_aiohttp, id="aiohttp"),
        pytest.param(_urllib, id="urllib"),
    ],
)
def test_a_forgotten_stream_lets_go_of_its_connection_as_unmetered(
    way: Callable[[str, int], Iterator[None]], read: int, server: OpenConnections
) -> None:
    gc.collect()
    gc.disable()  # what lets go by counting references must not wait for the collector when metered
    try:
        bare = _closed_after(server, way(server.url, read))
        assert bare is not None
        meter = Tokenmeter(hosts={server.url.split("/")[2]: "openai"}, spans="none")
        meter.instrument()
        with contextlib.ExitStack() as cleaning:
            cleaning.callback(meter.shutdown)
            cleaning.callback(meter.uninstrument)
            records = cleaning.enter_context(capture(meter))
            before = server.opened
            metered = _closed_after(server, way(server.url, read))
            assert server.opened == before + 1
            assert metered == bare
            assert records.only().end in (End.DROPPED, End.CLOSED_EARLY)
    finally:
        gc.enable()
