"""The provider server against the real OpenAI SDK, unmetered: what other tests rest on."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import http.client
import json
import ssl
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from tokenmeter.testing import ProviderServer, Reply, json_reply, provider_server
from tokenmeter.testing.dialects import DIALECTS
from tokenmeter.testing.faults import Faults, UnknownKnob

# Reading the machine's certificates takes an SDK 30 ms for each client, and nothing here speaks TLS.
TLS = ssl.create_default_context()
MESSAGES: Any = [{"role": "user", "content": "你好"}]


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    with provider_server() as running:
        yield running


def client(server: ProviderServer, dialect: str = "openai", **options: Any) -> openai.OpenAI:
    http = openai.DefaultHttpxClient(verify=TLS)
    return openai.OpenAI(base_url=server.url(dialect), api_key="any", http_client=http, **options)


def chunks(server: ProviderServer, dialect: str, model: str = "m", **more: Any) -> list[dict[str, Any]]:
    stream = client(server, dialect).chat.completions.create(model=model, messages=MESSAGES, stream=True, **more)
    return [chunk.model_dump(exclude_unset=True) for chunk in stream]


def places(found: list[dict[str, Any]]) -> list[str]:
    """Where usage stood, chunk by chunk; chunks without any are left out."""
    answer = []
    for number, chunk in enumerate(found):
        last = "last" if number == len(found) - 1 else str(number)
        if chunk.get("usage"):
            answer.append(f"{last}:top" if chunk["choices"] else f"{last}:extra")
        if chunk["choices"] and chunk["choices"][0].get("usage"):
            answer.append(f"{last}:choice")
        if chunk.get("x_groq", {}).get("usage"):
            answer.append(f"{last}:x_groq")
    return answer


@pytest.mark.parametrize(
    ("dialect", "unasked", "asked"),
    [
        pytest.param("openai", [], ["last:extra"], id="openai: only when asked"),
        pytest.param("dashscope", [], ["last:extra"], id="dashscope: only when asked"),
        pytest.param("deepseek", ["last:top"], ["last:top"], id="deepseek: with the finish reason"),
        pytest.param("zhipu", ["last:top"], ["last:top"], id="zhipu: with the finish reason"),
        pytest.param("moonshot", ["last:choice"], ["7:choice", "last:extra"], id="moonshot: inside the choice"),
        pytest.param("groq", ["last:top", "last:x_groq"], ["last:top", "last:x_groq"], id="groq: twice"),
        pytest.param("openrouter", ["last:extra"], ["last:extra"], id="openrouter: extra chunk unasked"),
    ],
)
def test_usage_of_a_stream_stands_where_the_provider_puts_it(
    server: ProviderServer, dialect: str, unasked: list[str], asked: list[str]
) -> None:
    assert places(chunks(server, dialect)) == unasked
    found = places(chunks(server, dialect, stream_options={"include_usage": True}))
    assert found == asked


def test_cumulative_usage_grows_to_the_total(server: ProviderServer) -> None:
    counts = [chunk["usage"]["completion_tokens"] for chunk in chunks(server, "stepfun", "m;out=40;chunks=6")]
    assert counts == sorted(counts)
    assert (len(counts), counts[0], counts[-1]) == (8, 5, 40)


def test_every_dialect_answers_with_the_tokens_asked_for(server: ProviderServer) -> None:
    for dialect in [name for name, row in DIALECTS.items() if row.base]:
        answer = client(server, dialect).chat.completions.create(
            model="m;in=100;out=50;cached=30;reasoning=5", messages=MESSAGES
        )
        usage = answer.usage
        assert usage is not None
        assert (usage.prompt_tokens, usage.total_tokens) == (100, 150), dialect
        assert usage.completion_tokens == (45 if dialect == "xai" else 50), dialect
        assert answer.model == "m"


def test_stream_options_are_refused_where_the_provider_refuses_them(server: ProviderServer) -> None:
    asked: Any = {"model": "m", "messages": MESSAGES, "stream": True, "stream_options": {"include_usage": True}}
    with pytest.raises(openai.UnprocessableEntityError):
        client(server, "mistral").chat.completions.create(**asked)
    azure = openai.AzureOpenAI(azure_endpoint=server.origin, api_key="k", api_version="2023-05-15")
    with pytest.raises(openai.BadRequestError, match="stream_options"):
        azure.chat.completions.create(**asked)


def test_azure_deployment_in_the_path_and_its_first_chunk_without_choices(server: ProviderServer) -> None:
    azure = openai.AzureOpenAI(azure_endpoint=server.origin, api_key="k", api_version="2024-10-21")
    stream = azure.chat.completions.create(model="gpt-4o;fail=1", messages=MESSAGES, stream=True)
    found = list(stream)
    assert found[0].choices == []
    assert found[0].model == "gpt-4o"
    assert [request.status for request in server.requests] == [500, 200]
    assert server.requests[-1].path.startswith("/openai/deployments/gpt-4o")


def test_a_providers_own_host_name_through_the_proxy(server: ProviderServer) -> None:
    httpx = pytest.importorskip("httpx2")
    proxied = openai.OpenAI(
        base_url="http://api.moonshot.cn/v1", api_key="k", http_client=httpx.Client(proxy=server.origin)
    )
    usage = proxied.chat.completions.create(model="kimi", messages=MESSAGES).usage
    assert usage is not None
    assert usage.model_dump()["cached_tokens"] == 8
    request = server.requests[0]
    assert (request.host, request.path, request.dialect) == ("api.moonshot.cn", "/v1/chat/completions", "moonshot")


class Weather(BaseModel):
    city: str
    degrees: int


def test_parse_tools_and_embeddings(server: ProviderServer) -> None:
    ask = client(server)
    parsed = ask.chat.completions.parse(model="m", messages=MESSAGES, response_format=Weather)
    assert parsed.choices[0].message.parsed == Weather(city="杭州", degrees=3)
    tools: Any = [{"type": "function", "function": {"name": "weather", "parameters": Weather.model_json_schema()}}]
    called = ask.chat.completions.create(model="m", messages=MESSAGES, tools=tools).choices[0]
    assert called.finish_reason == "tool_calls"
    assert called.message.tool_calls
    assert json.loads(called.message.tool_calls[0].function.arguments) == {"city": "杭州", "degrees": 3}
    after: Any = [*MESSAGES, called.message.model_dump(), {"role": "tool", "tool_call_id": "c", "content": "3"}]
    assert ask.chat.completions.create(model="m", messages=after, tools=tools).choices[0].finish_reason == "stop"
    assert ask.embeddings.create(model="m", input=["a", "b"]).data[1].embedding[:2] == [0.0625, 0.125]


def test_responses_whole_parsed_and_as_events(server: ProviderServer) -> None:
    ask = client(server)
    whole = ask.responses.create(model="m;reasoning=4", input="hi")
    assert whole.usage is not None
    assert (whole.usage.output_tokens, whole.usage.output_tokens_details.reasoning_tokens) == (12, 4)
    assert ask.responses.parse(model="m", input="hi", text_format=Weather).output_parsed == Weather(
        city="杭州", degrees=3
    )
    with ask.responses.stream(model="m;lang=zh", input="hi") as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_response()
    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert final.output_text == "每次调用的价格，都清楚明白。"


@pytest.mark.parametrize(
    ("suffix", "error"),
    [
        pytest.param("status=401", openai.AuthenticationError, id="401"),
        pytest.param("status=429", openai.RateLimitError, id="429"),
        pytest.param("status=503", openai.InternalServerError, id="503"),
        pytest.param("drop=0", openai.APIConnectionError, id="cut before the head"),
        pytest.param("drop=1", openai.APIConnectionError, id="cut in the body"),
        pytest.param("hang=0", openai.APITimeoutError, id="no head ever"),
        pytest.param("hang=1", openai.APITimeoutError, id="half a body, then nothing"),
        pytest.param("bad=1", json.JSONDecodeError, id="JSON cut short"),
        pytest.param("bad=empty", json.JSONDecodeError, id="no body"),
        pytest.param("wrong=1", openai.BadRequestError, id="a knob that is not there"),
        pytest.param("drop=soon", openai.BadRequestError, id="a knob's value that is not a number"),
        pytest.param("bad=ugly", openai.BadRequestError, id="a knob's value that is not there"),
    ],
)
def test_a_plain_call_that_fails(server: ProviderServer, suffix: str, error: type[Exception]) -> None:
    ask = client(server, max_retries=0, timeout=0.2)
    with pytest.raises(error):
        ask.chat.completions.create(model=f"m;{suffix}", messages=MESSAGES)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("suffix", "seen", "error"),
    [
        pytest.param("drop=4", 4, openai.APIConnectionError, id="cut"),
        pytest.param("err=3", 3, openai.APIError, id="error event"),
        pytest.param("bad=1", 1, json.JSONDecodeError, id="malformed event"),
        pytest.param("hang=2", 2, openai.APITimeoutError, id="hangs"),
        pytest.param("bad=html", 0, None, id="a page instead of a stream"),
        pytest.param("frag=3;gzip=1;lang=zh", 8, None, id="packed, in fragments"),
        pytest.param("delay=5;chunks=3", 5, None, id="slow"),
    ],
)
def test_a_stream_that_fails(server: ProviderServer, suffix: str, seen: int, error: type[Exception] | None) -> None:
    stream = client(server, max_retries=0, timeout=0.3).chat.completions.create(
        model=f"m;{suffix}", messages=MESSAGES, stream=True
    )
    found = []
    with pytest.raises(error) if error else contextlib.nullcontext():
        for chunk in stream:
            found.append(chunk)  # noqa: PERF402 what came before the error counts
    assert len(found) == seen


def test_fragments_cut_characters_and_come_together_again(server: ProviderServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    body = json.dumps({"model": "m;frag=1;lang=zh;gzip=1", "messages": MESSAGES})
    connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    assert answer.getheader("content-encoding") == "gzip"
    text = json.loads(gzip.decompress(answer.read()))["choices"][0]["message"]["content"]
    assert text == "每次调用的价格，都清楚明白。"


def test_what_came_over_the_wire_is_kept(server: ProviderServer) -> None:
    client(server).chat.completions.create(model="m", messages=MESSAGES, extra_headers={"X-Team": "search"})
    (request,) = server.requests
    assert request.json == {"messages": MESSAGES, "model": "m"}
    assert (request.method, request.headers["x-team"], request.api) == ("POST", "search", "openai.chat")
    server.clear()
    assert server.requests == []


def test_a_client_that_leaves_is_noticed(server: ProviderServer) -> None:
    stream = client(server).chat.completions.create(model="m;chunks=500;delay=2", messages=MESSAGES, stream=True)
    next(iter(stream))
    stream.close()
    assert server.settled(5)
    assert server.requests[0].disconnected


def test_retries_are_counted_for_each_request_apart(server: ProviderServer) -> None:
    ask = client(server)
    for _ in range(2):
        server.clear()
        ask.chat.completions.create(model="m;fail=2", messages=MESSAGES)
        assert [request.status for request in server.requests] == [500, 500, 200]


def test_a_function_may_give_every_answer(server: ProviderServer) -> None:
    server.serve(lambda request: json_reply({"object": "list", "data": [{"id": request.path}]}))
    assert [model.id for model in client(server).models.list()] == ["/v/openai/v1/models"]
    server.serve(lambda request: Reply(418, [b"tea"], "text/plain"))
    with pytest.raises(openai.APIStatusError, match="418"):
        client(server).models.list()


def test_faults_of_the_whole_server_give_way_to_the_models() -> None:
    with provider_server(status=503, lang="zh") as server:
        ask = client(server, max_retries=0)
        with pytest.raises(openai.InternalServerError):
            ask.chat.completions.create(model="m", messages=MESSAGES)
        with pytest.raises(openai.RateLimitError):
            ask.chat.completions.create(model="m;status=429", messages=MESSAGES)
    with pytest.raises(UnknownKnob, match="langs"):
        ProviderServer(langs="zh")


def test_the_same_request_gets_the_same_answer(server: ProviderServer) -> None:
    asked = chunks(server, "openai", stream_options={"include_usage": True})
    plain = chunks(server, "openai")
    assert {chunk["id"] for chunk in asked + plain} == {plain[0]["id"]}


def test_many_at_once_and_a_quick_stop() -> None:
    async def together(server: ProviderServer) -> int:
        async with openai.AsyncOpenAI(base_url=server.url(), api_key="any") as ask:
            calls = [ask.chat.completions.create(model="m;ttft=20", messages=MESSAGES) for _ in range(40)]
            return len(await asyncio.gather(*calls))

    with provider_server() as server:
        assert asyncio.run(together(server)) == 40
        hanging = client(server, timeout=30).chat.completions.create(model="m;hang=1", messages=MESSAGES, stream=True)
        next(iter(hanging))
        began = time.monotonic()
    assert server.requests[-1].done.wait(5)
    assert time.monotonic() - began < 5  # not the client's 30 s
    hanging.close()


def test_a_suffix_reads_into_faults() -> None:
    name, faults = Faults().of_model("deepseek-chat;fail=2;ttft=1.5;gzip=1;usage=choice;in=7")
    assert name == "deepseek-chat"
    assert faults == Faults(fail=2, ttft=1.5, gzip=True, usage="choice", tokens_in=7)
