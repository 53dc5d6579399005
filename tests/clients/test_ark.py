"""volcengine's Ark SDK: made from OpenAI's, with other names inside."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.rigs.matrix import Matrix, Sdk, chat, chat_stream
from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Received, Records, Reply, capture, json_reply

VIDEO: Any = {"model": "doubao-seedance-1-0-pro-250528", "content": [{"type": "text", "text": "a cat"}]}

ark = pytest.importorskip("volcenginesdkarkruntime", reason="needs volcengine-ark-runtime; `make test-sdks` has it")


class TestArk(Matrix):
    sdk = Sdk(
        "volcenginesdkarkruntime",
        provider="volcengine",
        model="doubao-seed-1-6-250615",
        make=lambda server: ark.Ark(base_url=f"{server.origin}/v/ark/api/v3", api_key="k"),
        amake=lambda server: ark.AsyncArk(base_url=f"{server.origin}/v/ark/api/v3", api_key="k"),
        ask=chat,
        aask=chat,
        stream=chat_stream,
        astream=chat_stream,
    )


def test_usage_is_asked_for_and_hidden_again(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = meter.wrap(ark.Ark(base_url=f"{server.origin}/v/ark/api/v3", api_key="k"), provider="volcengine")
    chunks = list(chat_stream(client, "doubao-seed-1-6-250615"))
    assert server.requests[0].json["stream_options"] == {"include_usage": True}
    assert all(chunk.choices for chunk in chunks)
    assert records.only().usage.source is Source.REPORTED


def studio(status: str, polls: int = 2) -> Callable[[Received], Reply]:
    """Takes an order for a video, and has it ready after so many questions."""
    asked = iter(range(1000))

    def answer(request: Received) -> Reply:
        if request.method == "POST":
            return json_reply({"id": "cgt-1"})
        task: dict[str, Any] = {"id": "cgt-1", "model": VIDEO["model"], "status": "running"}
        if next(asked) + 1 >= polls:
            task["status"] = status
            if status == "succeeded":
                task["usage"] = {"completion_tokens": 108_000, "total_tokens": 108_000}
            else:
                task["error"] = {"code": "OutputVideoSensitiveContentDetected", "message": "no"}
        return json_reply(task)

    return answer


@pytest.mark.form("volcenginesdkarkruntime", "video task")
@pytest.mark.usefixtures("note")
def test_a_video_is_one_call_with_the_usage_of_its_end(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    server.serve(studio("succeeded"))
    client = meter.wrap(ark.Ark(base_url=f"{server.origin}/v/ark/api/v3", api_key="k"), provider="volcengine")
    task = client.content_generation.tasks.create(**VIDEO)
    for state in ("running", "succeeded", "succeeded"):
        assert len(records.drain()) == (state == "succeeded" and len(server.requests) > 2)
        assert client.content_generation.tasks.get(task_id=task.id).status == state
    record = records.only()
    assert (record.api, record.request_model, record.end) == ("volcengine.video", VIDEO["model"], End.COMPLETE)
    assert (record.usage.input_tokens, record.usage.output_tokens) == (0, 108_000)


@pytest.mark.form("volcenginesdkarkruntime", "async video task")
@pytest.mark.usefixtures("note")
def test_an_async_video_that_fails(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    server.serve(studio("failed", polls=1))

    async def ask() -> None:
        client = meter.wrap(ark.AsyncArk(base_url=f"{server.origin}/v/ark/api/v3", api_key="k"), provider="volcengine")
        task = await client.content_generation.tasks.create(**VIDEO)
        assert (await client.content_generation.tasks.get(task_id=task.id)).status == "failed"

    asyncio.run(ask())
    record = records.only()
    assert (record.end, record.error_type) == (End.ERROR, "OutputVideoSensitiveContentDetected")


def test_a_video_nobody_asked_for_again_is_not_lost(server: ProviderServer) -> None:
    server.serve(studio("succeeded"))
    meter = Tokenmeter(spans="none")
    with capture(meter) as records:
        client = meter.wrap(ark.Ark(base_url=f"{server.origin}/v/ark/api/v3", api_key="k"), provider="volcengine")
        client.content_generation.tasks.create(**VIDEO)
        assert records.drain() == []
        meter._lifecycle.abandon()  # as at the end of a program
    assert (records.only().end, records[0].request_model) == (End.DROPPED, VIDEO["model"])


def test_the_batch_client_says_batch(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = meter.wrap(ark.Ark(base_url=f"{server.origin}/v/ark/api/v3", api_key="k"), provider="volcengine")
    client.batch.chat.completions.create(model="doubao-seed-1-6-250615", messages=[{"role": "user", "content": "hi"}])
    assert (records.only().params.get("batch"), records[0].usage.output_tokens) == (True, 12)
