"""The provider server against the vendors' own SDKs: they must read its answers as they read the vendor's.

Runs where an SDK is installed: `make test-sdks` has an environment with all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tokenmeter.testing import ProviderServer, provider_server

MESSAGES: Any = [{"role": "user", "content": "hi"}]
TEXT = "每次调用的价格，都清楚明白。"


@pytest.fixture(scope="module")
def server() -> Iterator[ProviderServer]:
    with provider_server(lang="zh") as running:
        yield running


@pytest.mark.cell(way="server", form="anthropic")
def test_anthropic(server: ProviderServer) -> None:
    anthropic = pytest.importorskip("anthropic")
    client = anthropic.Anthropic(base_url=server.url("anthropic"), api_key="any", max_retries=2)
    whole = client.messages.create(model="claude;reasoning=3;fail=1", max_tokens=9, messages=MESSAGES)
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert (whole.usage.input_tokens, whole.usage.cache_read_input_tokens, whole.usage.output_tokens) == (16, 8, 12)
    with client.messages.stream(model="claude;frag=5;gzip=1", max_tokens=9, messages=MESSAGES) as stream:
        assert "".join(stream.text_stream) == TEXT
        assert stream.get_final_message().usage.output_tokens == 12
    with pytest.raises(anthropic.APIStatusError, match="Overloaded"):
        list(client.messages.create(model="claude;err=3", max_tokens=9, messages=MESSAGES, stream=True))


@pytest.mark.cell(way="server", form="google-genai")
def test_google(server: ProviderServer) -> None:
    genai = pytest.importorskip("google.genai")
    client = genai.Client(api_key="any", http_options={"base_url": server.url("google")})
    whole = client.models.generate_content(model="gemini-2.5-pro;reasoning=4", contents="hi")
    usage = whole.usage_metadata
    assert (whole.text, usage.candidates_token_count, usage.thoughts_token_count) == (TEXT, 8, 4)
    stream = list(client.models.generate_content_stream(model="gemini-2.5-pro", contents="hi"))
    assert "".join(chunk.text for chunk in stream) == TEXT
    assert [chunk.usage_metadata.candidates_token_count for chunk in stream] == [2, 4, 6, 8, 10, 12]


@pytest.mark.cell(way="server", form="dashscope")
def test_dashscope(server: ProviderServer) -> None:
    dashscope = pytest.importorskip("dashscope")
    dashscope.base_http_api_url = server.url("dashscope-native")
    arguments: dict[str, Any] = {"api_key": "any", "messages": MESSAGES, "result_format": "message"}
    whole = dashscope.Generation.call(model="qwen-plus", **arguments)
    assert (whole.output.choices[0].message.content, whole.usage.output_tokens) == (TEXT, 12)
    pieces = list(dashscope.Generation.call(model="qwen-plus", stream=True, incremental_output=True, **arguments))
    assert "".join(piece.output.choices[0].message.content for piece in pieces) == TEXT
    refused = dashscope.Generation.call(model="qwen-plus;status=429", **arguments)
    assert (refused.status_code, refused.code) == (429, "Throttling.RateQuota")
    vectors = dashscope.TextEmbedding.call(model="text-embedding-v4", api_key="any", input=["a", "b"])
    assert (len(vectors.output["embeddings"]), vectors.usage["total_tokens"]) == (2, 24)


@pytest.mark.cell(way="server", form="cohere")
def test_cohere(server: ProviderServer) -> None:
    client = pytest.importorskip("cohere").ClientV2(api_key="any", base_url=server.url("cohere"))
    whole = client.chat(model="command-a", messages=MESSAGES)
    assert (whole.message.content[0].text, whole.usage.billed_units.output_tokens) == (TEXT, 12)
    events = list(client.chat_stream(model="command-a;frag=7", messages=MESSAGES))
    assert events[-1].type == "message-end"
    assert events[-1].delta.usage.billed_units.input_tokens == 24


@pytest.mark.cell(way="server", form="ollama")
def test_ollama(server: ProviderServer) -> None:
    client = pytest.importorskip("ollama").Client(host=server.url("ollama"))
    assert client.chat(model="qwen3", messages=MESSAGES).message.content == TEXT
    stream = list(client.chat(model="qwen3;frag=3", messages=MESSAGES, stream=True))
    assert "".join(chunk.message.content for chunk in stream) == TEXT
    assert (stream[-1].prompt_eval_count, stream[-1].eval_count) == (24, 12)
    assert client.generate(model="qwen3", prompt="hi").response == TEXT


@pytest.mark.cell(way="server", form="boto3 bedrock-runtime")
def test_bedrock(server: ProviderServer) -> None:
    boto3 = pytest.importorskip("boto3")
    client = boto3.client(
        "bedrock-runtime",
        endpoint_url=server.url("bedrock"),
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    turns = [{"role": "user", "content": [{"text": "hi"}]}]
    whole = client.converse(modelId="claude", messages=turns)
    assert (whole["output"]["message"]["content"][0]["text"], whole["usage"]["outputTokens"]) == (TEXT, 12)
    stream = list(client.converse_stream(modelId="claude;frag=7", messages=turns)["stream"])
    assert stream[-1]["metadata"]["usage"]["inputTokens"] == 16
    invoked = client.invoke_model_with_response_stream(modelId="claude", body=b'{"messages": []}')
    assert len(list(invoked["body"])) == 12
    with pytest.raises(client.exceptions.ClientError, match="internalServerException"):
        list(client.converse_stream(modelId="claude;err=3", messages=turns)["stream"])
