"""No SDK at all: aiohttp, to an address that is known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.rigs.matrix import MESSAGES, Matrix, Sdk
from tokenmeter import End, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture

aiohttp = pytest.importorskip("aiohttp", reason="needs aiohttp; `make test-sdks` has it")

MODEL = "gpt-4o"

PATH = "chat/completions"

WHOLE = "/v/openai/v1/chat/completions"


def body(model: str, *, stream: bool = False, ask: bool = True) -> dict[str, Any]:
    options = {"stream": True, **({"stream_options": {"include_usage": True}} if ask else {})} if stream else {}
    return {"model": model, "messages": MESSAGES, **options}


def session(server: ProviderServer) -> Any:
    return aiohttp.ClientSession(server.origin, raise_for_status=True)


async def _ask_async(client: Any, model: str) -> Any:
    async with client, client.post(WHOLE, json=body(model)) as answer:
        return await answer.json()


async def _stream_async(client: Any, model: str) -> AsyncIterator[bytes]:
    async with client, client.post(WHOLE, json=body(model, stream=True)) as answer:
        async for line in answer.content:
            yield line


class TestAiohttp(Matrix):
    sdk = Sdk(
        "aiohttp",
        provider="openai",
        model=MODEL,
        amake=session,
        aask=_ask_async,
        astream=_stream_async,
        closed=(End.CLOSED_EARLY, End.DROPPED),
    )


async def _lines(content: Any) -> Any:
    return [line async for line in content]


async def _chunks(content: Any) -> Any:
    return [piece async for piece, _ in content.iter_chunks()]


async def _exactly(content: Any) -> Any:
    with pytest.raises(asyncio.IncompleteReadError):
        await content.readexactly(10**6)


async def _patiently(content: Any) -> Any:
    """A read for each line, given up and tried again."""
    lines = []
    while not content.at_eof():
        try:
            lines.append(await asyncio.wait_for(content.readline(), 0.01))
        except TimeoutError:
            continue
    return lines


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda answer: answer.read(), id="read"),
        pytest.param(lambda answer: answer.text(), id="text"),
        pytest.param(lambda answer: _lines(answer.content), id="lines"),
        pytest.param(lambda answer: _lines(answer.content.iter_any()), id="any"),
        pytest.param(lambda answer: _lines(answer.content.iter_chunked(7)), id="chunked"),
        pytest.param(lambda answer: _chunks(answer.content), id="chunks"),
        pytest.param(lambda answer: _exactly(answer.content), id="too many bytes asked for"),
        pytest.param(lambda answer: _patiently(answer.content), id="given up and tried again"),
    ],
)
def test_however_an_async_response_is_read(
    read: Callable[[Any], Awaitable[Any]], meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    model = f"{MODEL};gzip=1;lang=zh;delay=15"

    async def ask(wrap: Callable[[Any], Any]) -> Any:
        async with wrap(session(server)) as own, own.post(WHOLE, json=body(model, stream=True)) as answer:
            assert type(answer) is aiohttp.ClientResponse
            assert isinstance(answer.content, aiohttp.StreamReader)
            return await read(answer)

    bare = asyncio.run(ask(lambda made: made))
    metered = asyncio.run(ask(lambda made: meter.wrap(made, provider="openai")))
    assert _joined(metered) == _joined(bare)
    record = records.only()
    assert (record.end, record.usage.input_tokens, record.usage.output_tokens) == (End.COMPLETE, 24, 12)


def _joined(pieces: Any) -> Any:
    return b"".join(pieces) if isinstance(pieces, list) else pieces


def test_an_async_body_nobody_reads(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    async def ask() -> None:
        own = meter.wrap(session(server), provider="openai")
        async with own, own.post(WHOLE, json=body(f"{MODEL};chunks=200;delay=5", stream=True)) as answer:
            assert answer.status == 200

    asyncio.run(ask())
    assert records.only().end is End.CLOSED_EARLY


def test_a_connection_cut_in_an_async_stream(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    async def ask() -> None:
        own = meter.wrap(session(server), provider="openai")
        async with own, own.post(WHOLE, json=body(f"{MODEL};drop=4", stream=True)) as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()

    asyncio.run(ask())
    record = records.only()
    assert (record.end, record.error_type) == (End.ERROR, "ClientPayloadError")


def test_a_total_timeout_in_an_async_stream(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    async def ask() -> None:
        own = meter.wrap(session(server), provider="openai")
        limit = aiohttp.ClientTimeout(total=1.5)
        async with own, own.post(WHOLE, json=body(f"{MODEL};hang=3", stream=True), timeout=limit) as answer:
            with pytest.raises(TimeoutError):
                await answer.read()

    asyncio.run(ask())
    assert records.only().end is End.ERROR


def test_an_httpx_transport_over_aiohttp_is_one_call(server: ProviderServer) -> None:
    httpx = pytest.importorskip("httpx", reason="the library above")

    class Transport(httpx.AsyncBaseTransport):  # type: ignore[misc]
        """As litellm's and httpx-aiohttp's do."""

        async def handle_async_request(self, request: Any) -> Any:
            async with aiohttp.ClientSession() as own, own.post(str(request.url), data=await request.aread()) as answer:
                return httpx.Response(answer.status, headers=answer.headers, content=await answer.read())

    async def ask() -> None:
        async with httpx.AsyncClient(transport=Transport()) as client:
            await client.post(f"{server.url()}/{PATH}", json=body(MODEL))

    meter = Tokenmeter(spans="none", hosts={server.host: "openai"})
    meter.instrument()
    try:
        with capture(meter) as records:
            asyncio.run(ask())
    finally:
        meter.uninstrument()
    record = records.only()
    assert (record.usage.output_tokens, len(record.attempts), len(server.requests)) == (12, 1, 1)
