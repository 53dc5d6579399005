"""Batches: one record for each result line that is read, else one for the finished batch; each counts once."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
import requests

from tokenmeter import End, Tokenmeter
from tokenmeter.testing import ProviderServer, Received, Records, Reply, json_reply

MESSAGES: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture
def meter() -> Iterator[Tokenmeter]:
    made = Tokenmeter(spans="none")
    yield made
    made.uninstrument()
    made.shutdown()


def client(server: ProviderServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url("openai"), api_key="k", max_retries=0)


def lines(number: int) -> bytes:
    body = {"model": "gpt-4o-2024-08-06;in=1000;out=100;cached=0", "messages": MESSAGES}
    head = {"method": "POST", "url": "/v1/chat/completions", "body": body}
    return b"\n".join(json.dumps({"custom_id": f"q{position}", **head}).encode() for position in range(number))


def finished(server: ProviderServer, sdk: openai.OpenAI, number: int = 3) -> Any:
    """A batch that is over, as the SDK shows it. Its ids are those of no other test."""
    name = uuid.uuid4().hex[:8]
    given = sdk.files.create(file=("in.jsonl", lines(number)), purpose="batch")
    made = sdk.batches.create(input_file_id=given.id, endpoint="/v1/chat/completions", completion_window="24h")
    jobs = server._jobs
    batch = jobs._batches[f"{made.id}-{name}"] = {**jobs._batches[made.id], "id": f"{made.id}-{name}"}
    batch["output_file_id"] = f"file-{name}"
    jobs._files[f"file-{name}"] = jobs._files.pop(f"file-of-{made.id}")
    found = sdk.batches.retrieve(f"{made.id}-{name}")
    assert found.status == "completed"
    return found


def test_each_line_is_a_record_at_the_batch_price(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    sdk = meter.wrap(client(server), provider="openai")
    batch = finished(server, sdk)
    assert records.drain() == []
    assert sdk.files.content(batch.output_file_id).text.count("\n") == 3
    found = records.drain()
    assert [(record.usage.input_tokens, record.usage.output_tokens) for record in found] == [(1000, 100)] * 3
    assert {(record.provider, record.model, record.params.get("batch")) for record in found} == {
        ("openai", "gpt-4o-2024-08-06", True)
    }
    # half of 2.5 and 10 USD for a million
    assert [str(record.cost.total.amount.normalize()) for record in found if record.cost.total] == ["0.00175"] * 3


def test_a_batch_counts_once(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    sdk = meter.wrap(client(server), provider="openai")
    batch = finished(server, sdk)
    for _ in range(2):
        sdk.files.content(batch.output_file_id)
        sdk.batches.retrieve(batch.id)
    assert len(records.drain()) == 3
    meter._lifecycle.abandon()
    assert len(records.drain()) == 3


def test_a_batch_whose_lines_are_not_read_is_one_record(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    sdk = meter.wrap(client(server), provider="openai")
    batch = finished(server, sdk)
    sdk.batches.retrieve(batch.id)
    assert records.drain() == []
    meter._lifecycle.abandon()  # as at the end of a program
    record = records.only()
    assert (record.end, record.usage.input_tokens, record.usage.output_tokens) == (End.COMPLETE, 3000, 300)
    assert (record.model, record.params.get("batch")) == ("gpt-4o-2024-08-06;in=1000;out=100;cached=0", True)


def test_a_download_that_is_cut_goes_on_where_it_stopped(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    sdk = meter.wrap(client(server), provider="openai")
    batch = finished(server, sdk, 4)
    with sdk.files.with_streaming_response.content(batch.output_file_id) as response:
        next(response.iter_lines())
    before = len(records.drain())
    sdk.files.content(batch.output_file_id)
    assert (before <= 4, len(records.drain())) == (True, 4)


def test_an_async_client(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    batch = finished(server, client(server))

    async def ask() -> None:
        sdk = meter.wrap(openai.AsyncOpenAI(base_url=server.url("openai"), api_key="k"), provider="openai")
        await sdk.files.content(batch.output_file_id)

    asyncio.run(ask())
    assert len(records.drain()) == 3


@pytest.mark.parametrize("get", [httpx.get, requests.get])
def test_plain_http(server: ProviderServer, get: Any) -> None:
    from tokenmeter.testing import capture

    meter = Tokenmeter(spans="none", hosts={server.host: "openai"})
    batch = finished(server, client(server))
    with capture(meter) as records:
        meter.instrument()
        try:
            get(f"{server.url('openai')}/files/{batch.output_file_id}/content", timeout=9)
        finally:
            meter.uninstrument()
        assert [record.usage.output_tokens for record in records.drain()] == [100] * 3


def test_anthropic_results(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    sdk = meter.wrap(anthropic.Anthropic(base_url=server.url("anthropic"), api_key="k"), provider="anthropic")
    params: Any = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": MESSAGES}
    batch = sdk.messages.batches.create(requests=[{"custom_id": name, "params": params} for name in ("a", "b")])
    assert (batch.processing_status, records.drain()) == ("in_progress", [])
    read = [entry.result.type for entry in sdk.messages.batches.results(batch.id)]
    found = records.drain()
    assert (read, len(found)) == (["succeeded"] * 2, 2)
    assert {(record.provider, record.model, record.params.get("batch")) for record in found} == {
        ("anthropic", "claude-sonnet-4-5", True)
    }
    list(sdk.messages.batches.results(batch.id))
    assert len(records.drain()) == 2


def gemini(request: Received) -> Reply:
    """A finished batch of Gemini with its answers inside, and one with a file of results."""
    usage = {"promptTokenCount": 50, "candidatesTokenCount": 5, "totalTokenCount": 55}
    answer = {"candidates": [], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash"}
    head = {"name": "batches/one", "metadata": {"state": "BATCH_STATE_SUCCEEDED"}, "done": True}
    if request.path.startswith("/download/"):
        return Reply(200, [json.dumps({"key": key, "response": answer}).encode() + b"\n" for key in "abc"])
    if request.path.endswith("/batches/one"):
        return json_reply({**head, "response": {"inlinedResponses": {"inlinedResponses": [{"response": answer}] * 2}}})
    return json_reply({**head, "name": "batches/two", "response": {"responsesFile": "files/res"}})


def test_gemini_by_http(server: ProviderServer) -> None:
    from tokenmeter.testing import capture

    server.serve(gemini)
    meter = Tokenmeter(spans="none", hosts={server.host: "google"})
    with capture(meter) as records:
        meter.instrument()
        try:
            for path in ("/v1beta/batches/one", "/v1beta/batches/one", "/v1beta/batches/two"):
                httpx.get(server.origin + path)
            assert [record.usage.input_tokens for record in records.drain()] == [50, 50]
            for _ in range(2):
                httpx.get(f"{server.origin}/download/v1beta/files/res:download?alt=media")
        finally:
            meter.uninstrument()
        found = records.drain()
    assert [(record.usage.output_tokens, record.params.get("batch")) for record in found] == [(5, True)] * 5


def test_a_file_that_is_no_result_makes_no_record(server: ProviderServer) -> None:
    from tokenmeter.testing import capture

    server.serve(lambda request: Reply(200, [b'{"messages": []}\n' * 3], "application/octet-stream"))
    meter = Tokenmeter(spans="none", hosts={server.host: "openai"})
    with capture(meter) as records:
        meter.instrument()
        try:
            httpx.get(f"{server.url('openai')}/files/training/content")
        finally:
            meter.uninstrument()
        assert records.drain() == []


def test_a_path_that_says_batch(server: ProviderServer) -> None:
    from tokenmeter.testing import capture

    meter = Tokenmeter(spans="none", hosts={server.host: "volcengine"})
    body = {"model": "doubao-seed-1-6-250615", "messages": MESSAGES}
    with capture(meter) as records:
        meter.instrument()
        try:
            httpx.post(f"{server.origin}/v/ark/api/v3/batch/chat/completions", json=body)
        finally:
            meter.uninstrument()
        assert records.only().params.get("batch") is True
