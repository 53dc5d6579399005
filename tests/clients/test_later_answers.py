"""Answers that come later, over real SDKs and plain HTTP: one record each, made when the finished answer is seen."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import httpx
import openai
import pytest
import requests

from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Received, Records, Reply, capture, json_reply
from tokenmeter.testing.faults import Faults
from tokenmeter.testing.reply import sse, sse_reply

MESSAGES: Any = [{"role": "user", "content": "hi"}]
DONE: Any = {"input_tokens": 100, "output_tokens": 900, "total_tokens": 1000}


@pytest.fixture
def meter() -> Iterator[Tokenmeter]:
    made = Tokenmeter(spans="none")
    yield made
    made.uninstrument()
    made.shutdown()


def client(server: ProviderServer, dialect: str = "openai") -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url(dialect), api_key="k", max_retries=0)


# By SDK -----------------------------------------------------------------------------------------------------------


def test_a_background_response_is_one_record_once_it_is_there(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    sdk = meter.wrap(client(server), provider="openai")
    response = sdk.responses.create(model="gpt-5;in=100;out=900", input="hi", background=True)
    assert (response.status, len(records.drain())) == ("queued", 0)
    states = [sdk.responses.retrieve(response.id).status for _ in range(4)]
    assert states == ["in_progress", "completed", "completed", "completed"]
    record = records.only()
    assert (record.end, record.usage.input_tokens, record.usage.output_tokens) == (End.COMPLETE, 100, 900)
    assert (record.usage.source, record.request_model) == (Source.REPORTED, "gpt-5;in=100;out=900")


def test_another_client_that_is_not_metered_may_poll(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    response = meter.wrap(client(server), provider="openai").responses.create(
        model="gpt-5", input="hi", background=True
    )
    for _ in range(2):
        client(server).responses.retrieve(response.id)
    assert records.only().usage.output_tokens == 12


def test_an_async_background_response(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    async def ask() -> None:
        sdk = meter.wrap(openai.AsyncOpenAI(base_url=server.url("openai"), api_key="k"), provider="openai")
        response = await sdk.responses.create(model="gpt-5", input="hi", background=True)
        for _ in range(2):
            await sdk.responses.retrieve(response.id)

    asyncio.run(ask())
    assert records.only().usage.output_tokens == 12


def test_it_is_priced_once_and_in_the_scope_it_began_in(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    sdk = meter.wrap(client(server), provider="openai")
    with meter.scope("research") as scope:
        response = sdk.responses.create(model="gpt-5;in=100;out=900", input="hi", background=True)
    for _ in range(3):
        sdk.responses.retrieve(response.id)
    record = records.only()
    # 100 - 8 cached at 1.25, 8 at 0.125 and 900 at 10 USD for a million
    assert (record.scope, str(record.cost.total)) == (("research",), str(scope.cost["USD"]))
    assert scope.cost["USD"].amount.normalize() == sum_of((92, "1.25"), (8, "0.125"), (900, "10"))


def sum_of(*parts: tuple[int, str]) -> Any:
    from decimal import Decimal

    return sum((Decimal(price) * tokens / 1_000_000 for tokens, price in parts), Decimal(0)).normalize()


def resumable(request: Received) -> Reply:
    """A background stream that is cut after its first event, and the rest of it."""
    head = {"id": "resp_9", "object": "response", "model": "gpt-5", "output": []}
    created = {"type": "response.created", "sequence_number": 0, "response": {**head, "status": "in_progress"}}
    done = {"type": "response.completed", "sequence_number": 2}
    whole = {**done, "response": {**head, "status": "completed", "usage": DONE}}
    delta = {"type": "response.output_text.delta", "sequence_number": 1, "delta": "hi", "item_id": "m"}
    events = [created] if request.method == "POST" else [delta, whole]
    return sse_reply([sse(event, str(event["type"])) for event in events], b"")


@pytest.mark.parametrize("left", ["read", "closed", "broken"])
def test_a_background_stream_is_resumed(
    meter: Tokenmeter, records: Records, server: ProviderServer, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    server.serve(resumable)
    if left == "broken":
        monkeypatch.setattr(server, "faults", Faults(drop=1))
    sdk = meter.wrap(client(server), provider="openai")
    stream = sdk.responses.create(model="gpt-5", input="hi", background=True, stream=True)
    if left == "read":
        assert [event.type for event in stream] == ["response.created"]
    elif left == "broken":
        with pytest.raises(Exception, match=r"peer closed|Connection error"):
            list(stream)
        monkeypatch.undo()
    else:
        next(iter(stream))
        stream.close()
    assert records.drain() == []
    resumed = client(server).responses.retrieve("resp_9", stream=True, starting_after=0)
    assert [event.type for event in resumed][-1] == "response.completed"
    record = records.only()
    assert (record.end, record.usage.input_tokens, record.usage.output_tokens) == (End.COMPLETE, 100, 900)


def test_a_video_is_one_call(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    sdk = meter.wrap(client(server), provider="openai")
    video = sdk.videos.create(model="sora-2", prompt="a cat", seconds="8")
    assert records.drain() == []
    for _ in range(3):
        sdk.videos.retrieve(video.id)
    record = records.only()
    assert (record.end, dict(record.usage.quantities)) == (End.COMPLETE, {"video_seconds": 8})


def test_a_response_that_is_cancelled_or_fails_is_an_error(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    head: Any = {"id": "resp_2", "object": "response", "model": "gpt-5", "output": [], "usage": None}
    status = {True: "cancelled", False: "queued"}
    server.serve(lambda request: json_reply({**head, "status": status[request.path.endswith("/cancel")]}))
    sdk = meter.wrap(client(server), provider="openai")
    sdk.responses.create(model="gpt-5", input="hi", background=True)
    sdk.responses.cancel("resp_2")
    assert (records.only().end, records[0].error_type) == (End.ERROR, "cancelled")


# By plain HTTP ----------------------------------------------------------------------------------------------------


def by_httpx(url: str, body: Any, poll: str) -> None:
    found = httpx.post(url, json=body, headers={"X-DashScope-Async": "enable"}).json()
    for _ in range(3):
        httpx.get(poll.format(**name_of(found)))


def by_requests(url: str, body: Any, poll: str) -> None:
    found = requests.post(url, json=body, headers={"X-DashScope-Async": "enable"}, timeout=9).json()
    for _ in range(3):
        assert requests.get(poll.format(**name_of(found)), timeout=9).status_code in (200, 202)


def by_urllib(url: str, body: Any, poll: str) -> None:
    headers = {"Content-Type": "application/json", "X-DashScope-Async": "enable"}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(body).encode(), headers)) as answer:
        found = json.loads(answer.read())
    for _ in range(3):
        with urllib.request.urlopen(poll.format(**name_of(found))) as answer:
            answer.read()


def by_aiohttp(url: str, body: Any, poll: str) -> None:
    async def ask() -> None:
        async with aiohttp.ClientSession() as session:
            async with session.post(url, json=body, headers={"X-DashScope-Async": "enable"}) as answer:
                found = await answer.json()
            for _ in range(3):
                async with session.get(poll.format(**name_of(found))) as answer:
                    await answer.read()

    asyncio.run(ask())


def name_of(answer: Any) -> dict[str, str]:
    output = answer.get("output") or {}
    return {"id": answer.get("id") or answer.get("request_id") or answer.get("task_id")} | (
        {"id": output["task_id"]} if isinstance(output, dict) and "task_id" in output else {}
    )


VENDORS = [
    pytest.param(
        "openai", "openai", "/v1/responses", {"model": "gpt-5", "input": "hi", "background": True},
        "/v1/responses/{id}", (24, 12, {}), id="openai responses",
    ),
    pytest.param(
        "zhipu", "zhipu", "/api/paas/v4/async/chat/completions", {"model": "glm-4.6", "messages": MESSAGES},
        "/api/paas/v4/async-result/{id}", (24, 12, {}), id="zhipu async chat",
    ),
    pytest.param(
        "openai", "perplexity", "/async/chat/completions",
        {"model": "sonar-deep-research", "request": {"model": "sonar-deep-research", "messages": MESSAGES}},
        "/async/chat/completions/{id}", (24, 12, {}), id="perplexity async chat",
    ),
    pytest.param(
        "openai", "xai", "/v1/chat/completions", {"model": "grok-4", "messages": MESSAGES, "deferred": True},
        "/v1/chat/deferred-completion/{id}", (24, 12, {}), id="xai deferred",
    ),
    pytest.param(
        "ark", "volcengine", "/api/v3/contents/generations/tasks", {"model": "doubao-seedance-1-0-pro-250528"},
        "/api/v3/contents/generations/tasks/{id}", (0, 12, {}), id="ark video",
    ),
    pytest.param(
        "dashscope", "alibaba", "/api/v1/services/aigc/text2image/image-synthesis",
        {"model": "wanx2.1-t2i-turbo", "input": {"prompt": "a cat"}, "parameters": {"n": 2}}, "/api/v1/tasks/{id}",
        (None, None, {"images": 2}), id="dashscope images",
    ),
    pytest.param(
        "openai", "openai", "/v1/videos", {"model": "sora-2", "prompt": "a cat", "seconds": "8"}, "/v1/videos/{id}",
        (None, None, {"video_seconds": 8}), id="openai videos",
    ),
    pytest.param(
        "minimax", "minimax", "/v1/video_generation", {"model": "MiniMax-Hailuo-02", "prompt": "a cat"},
        "/v1/query/video_generation?task_id={id}", (None, None, None), id="minimax video",
    ),
]  # fmt: skip


@pytest.mark.parametrize("send", [by_httpx, by_requests, by_urllib, by_aiohttp])
@pytest.mark.parametrize(("dialect", "provider", "path", "body", "poll", "expected"), VENDORS)
def test_plain_http(
    server: ProviderServer,
    send: Callable[[str, Any, str], None],
    dialect: str,
    provider: str,
    path: str,
    body: Any,
    poll: str,
    expected: tuple[int | None, int | None, dict[str, int] | None],
) -> None:
    meter = Tokenmeter(spans="none", hosts={server.host: provider})
    with capture(meter) as records:
        meter.instrument()
        try:
            send(f"{server.origin}/v/{dialect}{path}", body, f"{server.origin}/v/{dialect}{poll}")
        finally:
            meter.uninstrument()
        assert len(server.requests) == 4
        record = records.only()
    given, written, quantities = expected
    assert (record.end, record.provider) == (End.COMPLETE, provider)
    if given is not None:
        assert (record.usage.input_tokens, record.usage.output_tokens) == (given, written)
    if quantities is not None:
        assert dict(record.usage.quantities) == quantities


@pytest.mark.parametrize(("dialect", "provider", "path", "body", "poll", "expected"), VENDORS)
def test_what_is_never_polled_is_unknown_at_the_end(
    server: ProviderServer, dialect: str, provider: str, path: str, body: Any, poll: str, expected: Any
) -> None:
    meter = Tokenmeter(spans="none", hosts={server.host: provider})
    with capture(meter) as records:
        meter.instrument()
        try:
            headers = {"X-DashScope-Async": "enable"}
            httpx.post(f"{server.origin}/v/{dialect}{path}", json=body, headers=headers)
            assert records.drain() == []
            meter._lifecycle.abandon()  # as at the end of a program
        finally:
            meter.uninstrument()
        record = records.only()
    assert (record.end, record.usage.input_tokens, record.usage.output_tokens) == (End.DROPPED, None, None)
    assert record.cost.total is None
    assert record.reason == "the vendor answers later, and that answer was not seen"
