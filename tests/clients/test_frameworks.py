"""Frameworks over a vendor's SDK: each call to a model is counted once, by the lowest layer that sees it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.rigs.services import until
from tokenmeter import End, Record, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture

# litellm would fetch its prices from the net when imported.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
REASON = "needs {}; `make test-sdks` has it"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def instrumented(server: ProviderServer) -> Iterator[Callable[[str], Records]]:
    """Meters the whole process, with the local server as this provider."""
    meters: list[Any] = []

    def start(provider: str) -> Records:
        meter = Tokenmeter(spans="none", hosts={server.host: provider})
        capturing = capture(meter)
        records = capturing.__enter__()
        meters.append((meter, capturing))
        meter.instrument()
        return records

    yield start
    for meter, capturing in meters:
        meter.uninstrument()
        capturing.__exit__(None, None, None)


def package(name: str) -> Any:
    return pytest.importorskip(name, reason=REASON.format(name))


MESSAGE = {"role": "user", "content": "hi"}


def litellm(server: ProviderServer, stream: bool, dialect: str = "openai", **options: Any) -> None:
    model, base = ("openai/gpt-4o", server.url()) if dialect == "openai" else claude(server)
    got = package("litellm").completion(model, [MESSAGE], api_base=base, api_key="k", stream=stream, **options)
    list(got if stream else [got])


def litellm_async(server: ProviderServer, stream: bool, dialect: str = "openai") -> None:
    model, base = ("openai/gpt-4o", server.url()) if dialect == "openai" else claude(server)

    async def run() -> None:
        got = await package("litellm").acompletion(model, [MESSAGE], api_base=base, api_key="k", stream=stream)
        if stream:
            async for _ in got:
                pass

    asyncio.run(run())


def litellm_over_httpx(server: ProviderServer, stream: bool) -> None:
    """To a provider that litellm reaches without an SDK."""
    options: dict[str, Any] = {"api_base": server.url("deepseek"), "api_key": "k", "stream": stream}
    got = package("litellm").completion("deepseek/deepseek-chat", [MESSAGE], **options)
    list(got if stream else [got])


def litellm_over_httpx_async(server: ProviderServer, stream: bool) -> None:
    options: dict[str, Any] = {"api_base": server.url("deepseek"), "api_key": "k", "stream": stream}

    async def run() -> None:
        got = await package("litellm").acompletion("deepseek/deepseek-chat", [MESSAGE], **options)
        if stream:
            async for _ in got:
                pass

    asyncio.run(run())


def claude(server: ProviderServer) -> tuple[str, str]:
    return "anthropic/claude-sonnet-5-5", f"{server.origin}/v/anthropic"


def litellm_asking(server: ProviderServer, stream: bool) -> None:
    litellm(server, stream, **({"stream_options": {"include_usage": True}} if stream else {}))


def litellm_at_openai(server: ProviderServer, stream: bool) -> None:
    """By OpenAI's own address, where litellm asks for usage by itself."""
    openai = package("openai")
    through = openai.DefaultHttpxClient(proxy=server.origin)
    client = openai.OpenAI(base_url="http://api.openai.com/v1", api_key="k", http_client=through)
    got = package("litellm").completion("openai/gpt-4o", [MESSAGE], client=client, stream=stream)
    list(got if stream else [got])


def litellm_anthropic(server: ProviderServer, stream: bool) -> None:
    litellm(server, stream, "anthropic")


def litellm_anthropic_async(server: ProviderServer, stream: bool) -> None:
    litellm_async(server, stream, "anthropic")


def langchain_openai(server: ProviderServer, stream: bool) -> None:
    model = package("langchain_openai").ChatOpenAI(model="gpt-4o", base_url=server.url("openai"), api_key="k")
    list(model.stream("hi")) if stream else model.invoke("hi")


def langchain_openai_async(server: ProviderServer, stream: bool) -> None:
    # langchain keeps its HTTP clients by these arguments, and one that served another event loop is broken.
    model = package("langchain_openai").ChatOpenAI(
        model="gpt-4o", base_url=server.url("openai"), api_key="k", timeout=20 + stream
    )

    async def run() -> None:
        if stream:
            async for _ in model.astream("hi"):
                pass
        else:
            await model.ainvoke("hi")

    asyncio.run(run())


def langchain_anthropic(server: ProviderServer, stream: bool) -> None:
    model = package("langchain_anthropic").ChatAnthropic(
        model="claude-sonnet-5-5", base_url=f"{server.origin}/v/anthropic", api_key="k"
    )
    list(model.stream("hi")) if stream else model.invoke("hi")


def llama_index(server: ProviderServer, stream: bool) -> None:
    model = package("llama_index.llms.openai").OpenAI(model="gpt-4o", api_base=server.url("openai"), api_key="k")
    list(model.stream_complete("hi")) if stream else model.complete("hi")


def pydantic_ai(server: ProviderServer, stream: bool) -> None:
    package("pydantic_ai")
    anthropic = package("pydantic_ai.models.anthropic")
    provider = package("pydantic_ai.providers.anthropic").AnthropicProvider(
        base_url=f"{server.origin}/v/anthropic", api_key="k"
    )
    agent = package("pydantic_ai").Agent(anthropic.AnthropicModel("claude-sonnet-5-5", provider=provider))

    async def run() -> None:
        if not stream:
            await agent.run("hi")
            return
        async with agent.run_stream("hi") as result:
            async for _ in result.stream_text():
                pass

    asyncio.run(run())


def openai_agents(server: ProviderServer, stream: bool) -> None:
    agents = package("agents")
    openai = package("openai")
    agents.set_tracing_disabled(True)

    async def run() -> None:
        client = openai.AsyncOpenAI(base_url=server.url("openai"), api_key="k")
        model = agents.OpenAIChatCompletionsModel(model="gpt-4o", openai_client=client)
        agent = agents.Agent(name="a", instructions="be brief", model=model)
        if not stream:
            await agents.Runner.run(agent, "hi")
            return
        async for _ in agents.Runner.run_streamed(agent, "hi").stream_events():
            pass

    asyncio.run(run())


def _once(records: Records, server: ProviderServer, provider: str) -> Record:
    until(records.drain, "the record")  # litellm logs in a thread, which holds the stream a little longer
    record = records.only()
    assert len(server.requests) == 1
    assert (record.provider, record.end) == (provider, End.COMPLETE)
    return record


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize(
    ("call", "provider"),
    [
        pytest.param(litellm, "openai", id="litellm over openai"),
        pytest.param(litellm_asking, "openai", id="litellm over openai asking for usage"),
        pytest.param(litellm_at_openai, "openai", id="litellm at openai's address"),
        pytest.param(litellm_async, "openai", id="litellm over openai, async"),
        pytest.param(litellm_over_httpx, "deepseek", id="litellm over httpx"),
        pytest.param(litellm_over_httpx_async, "deepseek", id="litellm over httpx, async"),
        pytest.param(litellm_anthropic, "anthropic", id="litellm to anthropic"),
        pytest.param(litellm_anthropic_async, "anthropic", id="litellm to anthropic, async"),
        pytest.param(langchain_openai, "openai", id="langchain over openai"),
        pytest.param(langchain_openai_async, "openai", id="langchain over openai, async"),
        pytest.param(langchain_anthropic, "anthropic", id="langchain over anthropic"),
        pytest.param(llama_index, "openai", id="llama-index over openai"),
        pytest.param(pydantic_ai, "anthropic", id="pydantic-ai over anthropic"),
        pytest.param(openai_agents, "openai", id="openai-agents over openai"),
    ],
)
@pytest.mark.usefixtures("note")
def test_a_frameworks_call_is_counted_once(
    call: Callable[[ProviderServer, bool], None],
    provider: str,
    stream: bool,
    instrumented: Callable[[str], Records],
    server: ProviderServer,
    records: Records,
    request: pytest.FixtureRequest,
) -> None:
    name, _, way = request.node.callspec.id.removesuffix("-stream").removesuffix("-plain").partition(", ")
    request.node.add_marker(pytest.mark.form(name, f"{way} stream".strip() if stream else way or "plain"))
    found = instrumented(provider)
    call(server, stream)
    record = _once(found, server, provider)
    records.extend(found)  # to be noted
    assert (record.usage.input_tokens, record.usage.output_tokens) == (24, 12)
    assert record.usage_source is Source.REPORTED


@pytest.mark.parametrize(("dialect", "provider"), [("openai", "openai"), ("ark", "volcengine")])
def test_what_litellm_was_not_asked_for_is_hidden_from_it(dialect: str, provider: str, server: ProviderServer) -> None:
    """Its streams are raw responses to us, whose usage is asked for and hidden where they are parsed."""

    def chunks() -> list[Any]:
        model, base = "openai/gpt-4o", server.url(dialect)
        stream = package("litellm").completion(model, [MESSAGE], api_base=base, api_key="k", stream=True)
        return [chunk.model_dump(exclude={"id", "created"}) for chunk in stream]

    bare = chunks()
    meter = Tokenmeter(spans="none", hosts={server.host: provider})
    meter.instrument()
    try:
        assert chunks() == bare
    finally:
        meter.uninstrument()
    asked = [(request.json.get("stream_options") or {}).get("include_usage") for request in server.requests]
    assert asked == [None, True]


def test_raw_responses_of_others_are_not_asked(instrumented: Callable[[str], Records], server: ProviderServer) -> None:
    openai = package("openai")
    package("litellm")
    records = instrumented("openai")
    client = openai.OpenAI(base_url=server.url(), api_key="k")
    list(client.chat.completions.with_raw_response.create(model="gpt-4o", messages=[MESSAGE], stream=True).parse())
    assert "stream_options" not in server.requests[0].json
    assert records.only().usage_source is not Source.REPORTED
