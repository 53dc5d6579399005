"""Every wire format of the provider server, read by our own extraction: the same usage, whole and streamed."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any

import pytest

from tokenmeter.testing import ProviderServer, provider_server
from tokenmeter.wire.events import EventSplitter
from tokenmeter.wire.extract import extract
from tokenmeter.wire.stream_reader import StreamReader

MESSAGES = [{"role": "user", "content": "hi"}]
CHAT = {"model": "m", "messages": MESSAGES}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
SSE_HEADER = {"x-dashscope-sse": "enable"}


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    with provider_server() as running:
        yield running


def post(server: ProviderServer, path: str, body: Any, headers: dict[str, str] | None = None) -> tuple[Any, bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("POST", path, json.dumps(body), {"content-type": "application/json", **(headers or {})})
    answer = connection.getresponse()
    return answer, answer.read()


WHOLE = [
    pytest.param("/v/openai/v1/chat/completions", CHAT, "openai.chat", id="chat"),
    pytest.param("/v/openai/v1/responses", {"model": "m", "input": "hi"}, "openai.responses", id="responses"),
    pytest.param("/v/openai/v1/completions", {"model": "m", "prompt": "hi"}, "openai.completions", id="completions"),
    pytest.param("/v/anthropic/v1/messages", CHAT, "anthropic.messages", id="anthropic"),
    pytest.param("/v/google/v1beta/models/m:generateContent", CONTENTS, "gemini.generate", id="gemini"),
    pytest.param(
        "/v/dashscope-native/api/v1/services/aigc/text-generation/generation",
        {"model": "m", "input": {"messages": MESSAGES}},
        "dashscope.generation",
        id="dashscope",
    ),
    pytest.param("/v/cohere/v2/chat", CHAT, "cohere.chat.v2", id="cohere"),
    pytest.param(
        "/v/ollama/api/chat", {"model": "m", "messages": MESSAGES, "stream": False}, "ollama.chat", id="ollama"
    ),
    pytest.param("/v/bedrock/model/m/converse", {"messages": []}, "bedrock.converse", id="bedrock"),
]


@pytest.mark.parametrize(("path", "body", "api"), WHOLE)
def test_a_whole_answer(server: ProviderServer, path: str, body: Any, api: str) -> None:
    answer, data = post(server, path, body)
    assert answer.status == 200
    usage = extract(json.loads(data), api=api).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (24, 12)


STREAMED = [
    pytest.param("/v/anthropic/v1/messages", {"model": "m", "stream": True}, {}, "anthropic.messages", id="anthropic"),
    pytest.param("/v/google/v1/models/m:streamGenerateContent?alt=sse", CONTENTS, {}, "gemini.generate", id="gemini"),
    pytest.param(
        "/v/dashscope-native/api/v1/services/aigc/text-generation/generation",
        {"model": "m", "input": {"messages": MESSAGES}},
        SSE_HEADER,
        "dashscope.generation",
        id="dashscope",
    ),
    pytest.param("/v/cohere/v2/chat", {"model": "m", "stream": True}, {}, "cohere.chat.v2", id="cohere"),
    pytest.param("/v/ollama/api/chat", CHAT, {}, "ollama.chat", id="ollama"),
]


@pytest.mark.parametrize(("path", "body", "headers", "api"), STREAMED)
def test_a_streamed_answer(server: ProviderServer, path: str, body: Any, headers: dict[str, str], api: str) -> None:
    answer, data = post(server, path, body, headers)
    reader = StreamReader(provider=None, api=api)
    for name, event in EventSplitter(answer.getheader("content-type") or "").feed(data):
        reader.feed(event, name)
    usage = reader.result().usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (24, 12)


def test_amazons_event_stream_is_framed_and_checked(server: ProviderServer) -> None:
    _, data = post(server, "/v/bedrock/model/m;lang=zh/converse-stream", {"messages": []})
    kinds = []
    while data:
        length, headers, head_sum = struct.unpack(">III", data[:12])
        message, data = data[:length], data[length:]
        assert zlib.crc32(message[:8]) == head_sum
        assert zlib.crc32(message[:-4]) == struct.unpack(">I", message[-4:])[0]
        body = json.loads(message[12 + headers : -4])
        kinds.append(next(iter(body)))
    assert body["usage"]["outputTokens"] == 12
    assert kinds[0] == "role"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/v/openai/v1/chat/completions", ("error", "message")),
        ("/v/anthropic/v1/messages", ("error", "message")),
        ("/v/google/v1beta/models/m;status=429:generateContent", ("error", "message")),
        ("/v/dashscope-native/api/v1/services/aigc/text-generation/generation", ("message",)),
        ("/v/cohere/v2/chat", ("message",)),
        ("/v/ollama/api/chat", ("error",)),
        ("/v/bedrock/model/m;status=429/converse", ("message",)),
    ],
)
def test_a_refusal_in_each_formats_own_words(server: ProviderServer, path: str, place: tuple[str, ...]) -> None:
    answer, data = post(server, path, {"model": "m;status=429"})
    assert answer.status == 429
    said = json.loads(data)
    for step in place:
        said = said[step]
    assert said == "Rate limit reached"


def test_what_nobody_serves(server: ProviderServer) -> None:
    for path in ("/v/nobody/v1/chat/completions", "/v/openai/v1/nothing"):
        answer, data = post(server, path, {})
        assert answer.status == 404
        assert path in json.loads(data)["error"]["message"]
