"""No SDK at all: plain httpx and httpx2, sync and async, to an address that is known."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from tests.rigs.matrix import MESSAGES, Matrix, Sdk
from tokenmeter import End, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture

PATH = "chat/completions"


def body(model: str, *, stream: bool = False) -> dict[str, Any]:
    asked = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    return {"model": model, "messages": MESSAGES, **asked}


def made(library: str, kind: str) -> Callable[[ProviderServer], Any]:
    def make(server: ProviderServer) -> Any:
        pytest.importorskip(library, reason=f"needs {library}; `make test-sdks` has it")
        return getattr(importlib.import_module(library), kind)(base_url=server.url())

    return make


def _ask(client: Any, model: str) -> Any:
    return client.post(PATH, json=body(model)).raise_for_status().json()


def _stream(client: Any, model: str) -> Iterator[str]:
    with client.stream("POST", PATH, json=body(model, stream=True)) as answer:
        answer.raise_for_status()
        yield from answer.iter_lines()


async def _ask_async(client: Any, model: str) -> Any:
    return (await client.post(PATH, json=body(model))).raise_for_status().json()


async def _stream_async(client: Any, model: str) -> AsyncIterator[str]:
    async with client.stream("POST", PATH, json=body(model, stream=True)) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            yield line


def plain(library: str) -> Sdk:
    return Sdk(
        library,
        provider="openai",
        model="gpt-4o",
        make=made(library, "Client"),
        amake=made(library, "AsyncClient"),
        ask=_ask,
        aask=_ask_async,
        stream=_stream,
        astream=_stream_async,
        closed=(End.CLOSED_EARLY, End.DROPPED),
    )


class TestHttpx(Matrix):
    sdk = plain("httpx")


class TestHttpx2(Matrix):
    sdk = plain("httpx2")


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_other_requests_of_the_client_are_left_alone(
    library: str, meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    client = meter.wrap(made(library, "Client")(server), provider="openai")
    client.get("models")
    client.post("files", content=b"x")
    assert len(server.requests) == 2
    assert records.drain() == []


@pytest.mark.parametrize(
    ("host", "path", "body", "provider", "model"),
    [
        pytest.param(
            "generativelanguage.googleapis.com",
            "/v1beta/models/gemini-2.5-flash:generateContent",
            {"contents": []},
            "google",
            "gemini-2.5-flash",
            id="Gemini",
        ),
        pytest.param(
            "us-east5-aiplatform.googleapis.com",
            "/v1/projects/p/locations/us-east5/publishers/anthropic/models/claude-sonnet-4-6@default:streamRawPredict",
            {"messages": MESSAGES, "stream": True},
            "google-vertex",
            "claude-sonnet-4-6@default",
            id="Claude on Vertex",
        ),
        pytest.param(
            "bedrock-runtime.us-east-1.amazonaws.com",
            "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse",
            {"messages": []},
            "aws-bedrock",
            "anthropic.claude-3-5-sonnet-20241022-v2:0",
            id="Claude on Bedrock",
        ),
    ],
)
def test_the_path_names_the_model(
    host: str, path: str, body: dict[str, Any], provider: str, model: str, meter: Tokenmeter, server: ProviderServer
) -> None:
    httpx = pytest.importorskip("httpx")
    meter.instrument()
    with capture(meter) as records, httpx.Client(proxy=server.origin) as client:
        assert client.post(f"http://{host}{path}", json=body).status_code == 200
    record = records.only()
    assert (record.provider, record.request_model, record.usage.output_tokens) == (provider, model, 12)
