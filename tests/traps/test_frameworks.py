"""Frameworks over the OpenAI SDK: each request counted once, by the layer below the framework."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture

KINDS = ["invoke", "ainvoke", "stream", "astream"]


@pytest.fixture
def everywhere(server: ProviderServer) -> Iterator[Records]:
    """Everything in the process is metered; the server counts as OpenAI."""
    meter = Tokenmeter(spans="none", hosts={server.host: "openai"})
    meter.instrument()
    with capture(meter) as found:
        yield found
    meter.uninstrument()


def _check(
    records: Records, server: ProviderServer, statuses: list[int], end: End = End.COMPLETE, *, reported: bool = True
) -> None:
    assert [request.status for request in server.requests] == statuses
    record = records.only()
    assert record.end is end
    assert record.provider == "openai"
    if not reported:
        assert record.usage.source_of("output_tokens") in (Source.COUNTED, Source.ESTIMATED)
        assert record.usage.output_tokens
    elif end is End.COMPLETE:
        assert (record.usage.input_tokens, record.usage.output_tokens) == (24, 12)
        assert record.usage.source_of("output_tokens") is Source.REPORTED


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.cell(way="langchain-openai", form=kind)) for kind in KINDS]
)
def test_langchain(kind: str, everywhere: Records, server: ProviderServer) -> None:
    # langchain shares one async client among event loops, and a connection of a loop that is gone costs a retry.
    own = openai.DefaultAsyncHttpxClient()
    chat = pytest.importorskip("langchain_openai").ChatOpenAI(
        model="gpt-4o", base_url=server.url(), api_key="any", temperature=0, http_async_client=own
    )
    match kind:
        case "invoke":
            assert chat.invoke("hi").content
        case "ainvoke":
            assert asyncio.run(chat.ainvoke("hi")).content
        case "stream":
            assert "".join(str(chunk.content) for chunk in chat.stream("hi"))
        case _:
            assert asyncio.run(_collect(chat.astream("hi")))
    _check(everywhere, server, [200])


async def _collect(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]


def test_langchain_tools_structured_output_and_retries(everywhere: Records, server: ProviderServer) -> None:
    from tests.rigs.forms import Weather

    openai_chat = pytest.importorskip("langchain_openai").ChatOpenAI
    chat = openai_chat(model="gpt-4o;fail=1", base_url=server.url(), api_key="any")
    answer = chat.with_structured_output(Weather).invoke("hi")
    assert answer == Weather(city="杭州", degrees=3)
    _check(everywhere, server, [500, 200])


def test_langchain_embeddings(everywhere: Records, server: ProviderServer) -> None:
    embeddings = pytest.importorskip("langchain_openai").OpenAIEmbeddings(
        model="text-embedding-3-small", base_url=server.url(), api_key="any", check_embedding_ctx_length=False
    )
    assert len(embeddings.embed_documents(["a", "b"])) == 2
    record = everywhere.only()
    assert (record.usage.input_tokens, record.usage.output_tokens) == (24, 0)


def _litellm_arguments(server: ProviderServer, model: str = "gpt-4o") -> dict[str, Any]:
    message = {"role": "user", "content": "hi"}
    return {"model": f"openai/{model}", "messages": [message], "api_base": server.url(), "api_key": "any"}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.cell(way="litellm", form=kind)) for kind in KINDS]
)
def test_litellm(kind: str, everywhere: Records, server: ProviderServer) -> None:
    litellm = pytest.importorskip("litellm")
    arguments = _litellm_arguments(server)

    async def astream() -> list[Any]:
        return await _collect(await litellm.acompletion(stream=True, **arguments))

    match kind:
        case "invoke":
            assert litellm.completion(**arguments).choices[0].message.content
        case "ainvoke":
            assert asyncio.run(litellm.acompletion(**arguments)).choices[0].message.content
        case "stream":
            assert list(litellm.completion(stream=True, **arguments))
        case _:
            assert asyncio.run(astream())
    _check(everywhere, server, [200])


def test_litellm_that_asks_for_usage_itself(everywhere: Records, server: ProviderServer) -> None:
    litellm = pytest.importorskip("litellm")
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    chunks = list(litellm.completion(**_litellm_arguments(server), **asked))
    assert chunks[-1].usage.completion_tokens == 12
    _check(everywhere, server, [200])


def test_litellm_that_fails(everywhere: Records, server: ProviderServer) -> None:
    litellm = pytest.importorskip("litellm")
    with pytest.raises(litellm.RateLimitError):
        litellm.completion(**_litellm_arguments(server, "gpt-4o;status=429"), num_retries=0, max_retries=0)
    _check(everywhere, server, [429], End.ERROR)
