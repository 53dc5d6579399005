"""Endpoints that are billed beside the usual ones, and calls that look like more or less than one: one record each."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anthropic
import httpx
import openai
import pytest

from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Received, Records, Reply, capture, json_reply

MESSAGES: Any = [{"role": "user", "content": "hi"}]


@pytest.fixture
def meter() -> Iterator[Tokenmeter]:
    made = Tokenmeter(spans="none")
    yield made
    made.uninstrument()
    made.shutdown()


def test_compaction_is_a_call(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    usage = {"input_tokens": 5000, "output_tokens": 400, "total_tokens": 5400}
    body = {"id": "cmp", "object": "response.compaction", "created_at": 1, "output": [], "usage": usage}
    server.serve(lambda request: json_reply(body))
    client = meter.wrap(openai.OpenAI(base_url=server.url(), api_key="k"), provider="openai")
    client.responses.compact(model="gpt-5", input=[{"role": "user", "content": "x"}])
    record = records.only()
    assert (record.usage.input_tokens, record.usage.output_tokens, record.request_model) == (5000, 400, "gpt-5")
    # 5000 at 1.25 and 400 at 10 USD for a million
    assert record.cost.total is not None
    assert str(record.cost.total.amount.normalize()) == "0.01025"


def answer(request: Received) -> Reply:
    read = {"prompt_tokens": 1000, "completion_tokens": 0, "total_tokens": 1000}
    return json_reply({"id": "ctx", "model": "doubao-seed-1-6-250615", "mode": "session", "usage": read})


def test_writing_a_context_cache_is_a_call(server: ProviderServer) -> None:
    server.serve(answer)
    meter = Tokenmeter(spans="none", hosts={server.host: "volcengine"})
    with capture(meter) as records:
        meter.instrument()
        try:
            body = {"model": "doubao-seed-1-6-250615", "mode": "session", "messages": MESSAGES}
            httpx.post(f"{server.origin}/api/v3/context/create", json=body)
        finally:
            meter.uninstrument()
        record = records.only()
    assert (record.provider, record.usage.input_tokens, record.usage.output_tokens) == ("volcengine", 1000, 0)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("read", ["whole", "lines", "parse"])
def test_anthropic_with_streaming_response(
    meter: Tokenmeter, records: Records, server: ProviderServer, stream: bool, read: str
) -> None:
    client = meter.wrap(anthropic.Anthropic(base_url=server.url("anthropic"), api_key="k"), provider="anthropic")
    ask: Any = client.messages.with_streaming_response.create
    with ask(model="claude-sonnet-4-5", max_tokens=9, messages=MESSAGES, stream=stream) as response:
        if read == "whole":
            response.read()
        elif read == "lines":
            list(response.iter_lines())
        elif stream:
            list(response.parse())
        else:
            response.parse()
    record = records.only()
    assert (record.end, record.usage.input_tokens, record.usage.output_tokens) == (End.COMPLETE, 24, 12)
    assert record.usage.source is Source.REPORTED


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_are_one_record(
    meter: Tokenmeter, records: Records, server: ProviderServer, stream: bool
) -> None:
    client = meter.wrap(openai.OpenAI(base_url=server.url(), api_key="k"), provider="openai")
    got: Any = client.chat.completions.create(model="gpt-4o;out=30", messages=MESSAGES, n=3, stream=stream)
    if stream:
        list(got)
    assert records.only().usage.output_tokens == 30


def test_a_list_of_prompts_is_one_record(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = meter.wrap(openai.OpenAI(base_url=server.url(), api_key="k"), provider="openai")
    client.completions.create(model="gpt-3.5-turbo-instruct;in=40", prompt=["one", "two", "three"], n=2)
    assert records.only().usage.input_tokens == 40


def test_streams_of_mistral_in_threads(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    mistral = pytest.importorskip("mistralai", reason="needs mistralai; `make test-sdks` has it")
    make: Any = getattr(mistral, "Mistral", None) or pytest.importorskip("mistralai.client").Mistral
    client = meter.wrap(make(api_key="k", server_url=f"{server.origin}/v/mistral"), provider="mistral")
    start = threading.Barrier(8)

    def ask(number: int) -> int:
        start.wait()
        model = f"mistral-small-latest;in={100 + number}"
        with client.chat.stream(model=model, messages=MESSAGES) as events:
            return sum(1 for _ in events)

    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(ask, range(32)))
    found = records.drain()
    assert all(number > 1 for number in read)
    assert sorted(record.usage.input_tokens or 0 for record in found) == [100 + number for number in range(32)]
    assert {record.end for record in found} == {End.COMPLETE}


def test_a_stream_that_is_closed_while_its_reader_stops(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    """litellm's transports close the response inside the `except StopIteration` of their own iterator."""
    reader: dict[str, Any] = {"__name__": "litellm.transport"}
    source = """
def read(response):
    lines = until_done(response)
    while True:
        try:
            next(lines)
        except StopIteration:
            response.close()
            return

def until_done(response):
    for line in response.iter_lines():
        if line.startswith("data: [DONE]"):
            return
        yield line
"""
    exec(source, reader)
    client = meter.wrap(httpx.Client(), provider="deepseek")
    body = {"model": "deepseek-chat", "messages": MESSAGES, "stream": True}
    with client.stream("POST", f"{server.url('deepseek')}/chat/completions", json=body) as response:
        reader["read"](response)
    record = records.only()
    assert (record.end, record.error_type, record.usage.output_tokens) == (End.COMPLETE, None, 12)
