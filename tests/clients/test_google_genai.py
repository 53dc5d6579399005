"""google-genai: httpx or httpx2 for sync calls, aiohttp where it is installed for async ones; functions as tools."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from tests.rigs.matrix import Matrix, Sdk
from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Received, Records, Reply, json_reply

genai = pytest.importorskip("google.genai", reason="needs google-genai; `make test-sdks` has it")
MODEL = "gemini-2.5-flash"
CONTENTS = "今天天气怎么样？ What is the price of a call?"


def make(server: ProviderServer, **options: Any) -> Any:
    retry = {"attempts": 2, "initial_delay": 0.001, "max_delay": 0.001, "exp_base": 1, "jitter": 0}
    http = {"base_url": server.url("google"), "retry_options": retry, **options}
    return genai.Client(api_key="k", vertexai=False, http_options=http)


class TestGoogleGenai(Matrix):
    """As it is installed: async calls through aiohttp, if that is there."""

    sdk = Sdk(
        "google-genai",
        provider="google",
        model=MODEL,
        api="gemini.generate",
        make=make,
        amake=make,
        ask=lambda client, model: client.models.generate_content(model=model, contents=CONTENTS).model_dump(
            exclude={"sdk_http_response"}
        ),
        aask=lambda client, model: _dumped(client.aio.models.generate_content(model=model, contents=CONTENTS)),
        stream=lambda client, model: _headless(client.models.generate_content_stream(model=model, contents=CONTENTS)),
        astream=lambda client, model: _async_headless(client, model),
        closed=(End.CLOSED_EARLY, End.DROPPED),
        unseen=("async bad=1",),  # with aiohttp, a body may end before the SDK reads its events
        early=(Source.PARTIAL, Source.COUNTED),
    )


class TestGoogleGenaiAsyncByHttpx(Matrix):
    """Without aiohttp, async calls go through httpx."""

    sdk = dataclasses.replace(TestGoogleGenai.sdk, package="google-genai (async by httpx)", make=None, unseen=())

    @pytest.fixture(autouse=True)
    def no_aiohttp(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("google.genai._api_client.has_aiohttp", False)


async def _dumped(made: Any) -> Any:
    return (await made).model_dump(exclude={"sdk_http_response"})


def _headless(stream: Any) -> Any:
    for chunk in stream:
        yield chunk.model_dump(exclude={"sdk_http_response"})


async def _async_headless(client: Any, model: str) -> Any:
    async for chunk in await client.aio.models.generate_content_stream(model=model, contents=CONTENTS):
        yield chunk.model_dump(exclude={"sdk_http_response"})


def weather(city: str) -> str:
    """The weather in a city."""
    return f"sunny in {city}"


def _afc(client: Any) -> Any:
    return client.models.generate_content(model=MODEL, contents=CONTENTS, config={"tools": [weather]})


def _afc_stream(client: Any) -> Any:
    return list(client.models.generate_content_stream(model=MODEL, contents=CONTENTS, config={"tools": [weather]}))


def _afc_async(client: Any) -> Any:
    config = {"tools": [weather]}
    return asyncio.run(client.aio.models.generate_content(model=MODEL, contents=CONTENTS, config=config))


def _afc_async_stream(client: Any) -> Any:
    async def ask() -> Any:
        config = {"tools": [weather]}
        stream = await client.aio.models.generate_content_stream(model=MODEL, contents=CONTENTS, config=config)
        return [chunk async for chunk in stream]

    return asyncio.run(ask())


@pytest.mark.parametrize("ask", [_afc, _afc_stream, _afc_async, _afc_async_stream])
def test_functions_called_by_the_sdk_are_several_calls_in_one_scope(
    ask: Callable[[Any], Any], meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    client = meter.wrap(make(server), provider="google")
    with meter.scope("question") as scope:
        ask(client)
    assert len(server.requests) == 2
    assert [record.scope for record in records.drain()] == [("question", "automatic function calling")] * 2
    assert [record.usage.output_tokens for record in records] == [12, 12]
    assert (scope.calls, scope.usage["output_tokens"], scope.pending) == (2, 24, 0)


def test_a_plain_tool_makes_no_scope(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = meter.wrap(make(server), provider="google")
    declared = {"function_declarations": [{"name": "weather", "parameters": {"type": "OBJECT", "properties": {}}}]}
    client.models.generate_content(model=MODEL, contents=CONTENTS, config={"tools": [declared]})
    assert records.only().scope == ()


def test_vertex_is_told_by_its_host(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    credentials = pytest.importorskip("google.oauth2.credentials").Credentials(token="t")
    client = genai.Client(
        vertexai=True,
        project="p",
        location="us-central1",
        credentials=credentials,
        http_options={
            "base_url": "http://us-central1-aiplatform.googleapis.com",
            "client_args": {"proxy": server.origin},
        },
    )
    meter.wrap(client).models.generate_content(model=MODEL, contents=CONTENTS)
    record = records.only()
    assert (record.provider, record.region, record.request_model) == ("google-vertex", "us-central1", MODEL)
    assert (record.usage.input_tokens, record.usage.output_tokens) == (24, 12)


def test_an_error_event_raises_the_sdks_own_error(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = meter.wrap(make(server), provider="google")
    with pytest.raises(genai.errors.APIError):
        list(client.models.generate_content_stream(model=f"{MODEL};err=3", contents=CONTENTS))
    record = records.only()
    assert record.end is End.ERROR
    assert record.usage.input_tokens == 24


def test_embeddings(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    from tokenmeter.testing import json_reply

    body = {"embeddings": [{"values": [0.1, 0.2]}], "usageMetadata": {"promptTokenCount": 7}}
    server.serve(lambda request: json_reply(body))
    client = meter.wrap(make(server), provider="google")
    client.models.embed_content(model="gemini-embedding-001", contents=["a"])
    record = records.only()
    assert (record.operation, record.usage.input_tokens, record.usage.output_tokens) == ("embeddings", 7, 0)


def test_counting_tokens_is_no_call(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    from tokenmeter.testing import json_reply

    server.serve(lambda request: json_reply({"totalTokens": 7}))
    client = meter.wrap(make(server), provider="google")
    client.models.count_tokens(model=MODEL, contents="hi")
    assert records.drain() == []


def test_a_video_is_one_record_of_its_operation(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    name = "projects/p/locations/l/publishers/google/models/veo-3.0-generate-001/operations/o1"
    polls = iter((False, True, True))

    def answer(request: Received) -> Reply:
        done = "fetchPredictOperation" in request.path and next(polls)
        return json_reply({"name": name, "done": True, "response": {"videos": [{}]}} if done else {"name": name})

    server.serve(answer)
    options: Any = {"base_url": server.origin}
    client = meter.wrap(genai.Client(vertexai=True, api_key="k", http_options=options), provider="google-vertex")
    operation = client.models.generate_videos(model="veo-3.0-generate-001", prompt="a cat")
    assert records.drain() == []
    for _ in range(3):
        operation.done = None
        operation = client.operations.get(operation)
    record = records.only()
    assert (record.api, record.end, record.request_model) == ("google.videos", End.COMPLETE, "veo-3.0-generate-001")


def test_a_batch_with_its_answers_inside(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    usage = {"promptTokenCount": 50, "candidatesTokenCount": 5, "totalTokenCount": 55}
    answers = {"inlinedResponses": [{"response": {"candidates": [], "usageMetadata": usage}}] * 2}
    head = {"name": "batches/of-two", "metadata": {"state": "BATCH_STATE_SUCCEEDED"}, "done": True}
    server.serve(lambda request: json_reply({**head, "response": {"inlinedResponses": answers}}))
    options: Any = {"base_url": server.origin}
    client = meter.wrap(genai.Client(api_key="k", http_options=options), provider="google")
    for _ in range(2):
        client.batches.get(name="batches/of-two")
    assert [(record.usage.output_tokens, record.params.get("batch")) for record in records.drain()] == [(5, True)] * 2
