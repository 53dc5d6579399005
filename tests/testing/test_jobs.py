"""Jobs of the provider server against the real OpenAI SDK, unmetered: submitted, polled, finished; batches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tokenmeter.testing import ProviderServer, provider_server


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with provider_server() as running:
        yield running


def client(server: ProviderServer) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.url(), api_key="any", max_retries=0)


def test_a_background_response_is_done_at_the_second_look(server: ProviderServer) -> None:
    sdk = client(server)
    queued = sdk.responses.create(model="gpt-5;out=7", input="hi", background=True)
    running, done = (sdk.responses.retrieve(queued.id) for _ in range(2))
    assert (queued.status, running.status, done.status) == ("queued", "in_progress", "completed")
    assert (queued.usage, running.usage, done.id) == (None, None, queued.id)
    assert done.usage is not None
    assert (done.usage.output_tokens, done.model) == (7, "gpt-5")


def test_a_batch_answers_each_line_of_its_file(server: ProviderServer) -> None:
    sdk = client(server)
    body: Any = {"model": "gpt-4o;in=10;out=2", "messages": [{"role": "user", "content": "hi"}]}
    lines = [{"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body} for name in "ab"]
    given = sdk.files.create(file=("in.jsonl", "\n".join(map(json.dumps, lines)).encode()), purpose="batch")
    made = sdk.batches.create(input_file_id=given.id, endpoint="/v1/chat/completions", completion_window="24h")
    done = sdk.batches.retrieve(made.id)
    assert (made.status, done.status) == ("validating", "completed")
    assert done.usage is not None
    assert (done.usage.input_tokens, done.usage.output_tokens) == (20, 4)
    assert done.output_file_id is not None
    read = [json.loads(line) for line in sdk.files.content(done.output_file_id).text.splitlines()]
    assert [line["custom_id"] for line in read] == ["a", "b"]
    assert read[0]["response"]["body"]["usage"]["completion_tokens"] == 2


def test_a_deferred_answer_has_no_body_until_it_is_there(server: ProviderServer) -> None:
    url = f"{server.origin}/v/xai/v1/chat"
    body = {"model": "grok-4", "messages": [], "deferred": True}
    name = httpx.post(f"{url}/completions", json=body).json()["request_id"]
    first, second = (httpx.get(f"{url}/deferred-completion/{name}") for _ in range(2))
    assert (first.status_code, first.content, second.json()["object"]) == (202, b"", "chat.completion")


def test_what_was_not_submitted_is_not_found(server: ProviderServer) -> None:
    with pytest.raises(openai.NotFoundError):
        client(server).responses.retrieve("resp_unknown")
