"""A stream whose own iterator raises at an event ends as an error, whoever closes its body and when."""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from tests.rigs.matrix import MESSAGES
from tests.rigs.services import until
from tokenmeter import End, Tokenmeter
from tokenmeter.clients.support import hooks
from tokenmeter.clients.support.stream_errors import stepping, watching
from tokenmeter.clients.transport.tee import call_of_body
from tokenmeter.testing import ProviderServer, Records


def call_of(stream: Any) -> Any:
    return call_of_body(stream.response.stream)


class Stepped:
    """A vendor's stream that keeps a generator over the body and leaves closing to its caller."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._events = self._read()

    def _read(self) -> Iterator[Any]:
        for line in self.response.iter_lines():
            if line.startswith(("data: {", "data: bad")):
                yield json.loads(line[6:])

    def __iter__(self) -> Stepped:
        return self

    def __next__(self) -> Any:
        return next(self._events)


class Made(Stepped):
    """One whose `__iter__` makes the iterator."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        return self._read()


def _slowly(events: Iterator[Any]) -> Iterator[Any]:
    """Between the end of the generator that raised and its caller, other threads run."""
    try:
        yield from events
    except json.JSONDecodeError:
        time.sleep(0.2)
        raise


class SlowlyStepped(Stepped):
    def __init__(self, response: httpx.Response) -> None:
        super().__init__(response)
        self._events = _slowly(self._read())


class SlowlyMade(Stepped):
    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        return _slowly(self._read())


class AsyncStepped:
    """The same for an async body."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._events = self._read()

    async def _read(self) -> AsyncIterator[Any]:
        async for line in self.response.aiter_lines():
            if line.startswith(("data: {", "data: bad")):
                yield json.loads(line[6:])

    def __aiter__(self) -> AsyncStepped:
        return self

    async def __anext__(self) -> Any:
        return await anext(self._events)


hooks.patch(Stepped, "__next__", stepping(call_of))
hooks.patch(Made, "__iter__", watching(call_of))
hooks.patch(SlowlyStepped, "__next__", stepping(call_of))
hooks.patch(SlowlyMade, "__iter__", watching(call_of))
hooks.patch(AsyncStepped, "__anext__", stepping(call_of))


def body(fault: str) -> dict[str, Any]:
    return {"model": f"gpt-4o{fault}", "messages": MESSAGES, "stream": True}


@pytest.mark.parametrize("kind", [Stepped, Made, SlowlyStepped, SlowlyMade])
@pytest.mark.parametrize("fault", ["", ";bad=1"])
def test_sync(kind: type[Stepped], fault: str, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = meter.wrap(httpx.Client(base_url=server.url()), provider="openai")
    response = client.send(client.build_request("POST", "chat/completions", json=body(fault)), stream=True)
    stream = kind(response)
    if fault:
        with pytest.raises(json.JSONDecodeError):
            list(stream)
    else:
        assert list(stream)
    _ended(records, fault)


@pytest.mark.parametrize("fault", ["", ";bad=1"])
def test_async(fault: str, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    async def run() -> None:
        client = meter.wrap(httpx.AsyncClient(base_url=server.url()), provider="openai")
        response = await client.send(client.build_request("POST", "chat/completions", json=body(fault)), stream=True)
        stream = AsyncStepped(response)
        if fault:
            with pytest.raises(json.JSONDecodeError):
                [one async for one in stream]
        else:
            assert [one async for one in stream]

    asyncio.run(run())
    _ended(records, fault)


def _ended(records: Records, fault: str) -> None:
    gc.collect()
    record = records.only()
    assert (record.end, record.error_type) == ((End.ERROR, "JSONDecodeError") if fault else (End.COMPLETE, None))


def test_a_stream_that_a_step_of_another_drops_ends_at_once(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    """The body of the one is collected while the other's iterator runs: its end waits for no step."""
    client = meter.wrap(httpx.Client(base_url=server.url()), provider="openai")
    request = client.build_request("POST", "chat/completions", json=body(";chunks=50"))
    left = [Stepped(client.send(request, stream=True))]
    next(left[0])

    class Dropping(Stepped):
        def __next__(self) -> Any:
            left.clear()
            until(records.drain, "the record of the stream that was dropped")
            return super().__next__()

    hooks.patch(Dropping, "__next__", stepping(call_of))
    stream = Dropping(client.send(client.build_request("POST", "chat/completions", json=body("")), stream=True))
    assert list(stream)
    assert sorted(record.end for record in records.drain()) == [End.COMPLETE, End.DROPPED]
