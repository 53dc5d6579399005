"""Copies, shared parts, custom transports, other wrappers: what a client can be, and still be metered once."""

from __future__ import annotations

import asyncio
import copy
import importlib
import operator
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import openai
import pytest

from tests.rigs.forms import MESSAGES
from tokenmeter import ConfigurationError, Source, Tokenmeter
from tokenmeter.clients.support import hooks
from tokenmeter.testing import ProviderServer, Records, capture, sse

Make = Callable[..., Any]
# httpx2 for openai 3, httpx before.
HTTP: Any = importlib.import_module("httpx2" if int(openai.__version__.partition(".")[0]) >= 3 else "httpx")


def ask(client: Any, model: str = "gpt-4o") -> Any:
    return client.chat.completions.create(model=model, messages=MESSAGES)


def keys(server: ProviderServer) -> list[str]:
    return [request.headers["authorization"].removeprefix("Bearer ") for request in server.requests]


def test_the_same_object_comes_back(meter: Tokenmeter, bare: Make) -> None:
    client = bare()
    assert meter.wrap(client, provider="openai") is client
    assert type(client) is openai.OpenAI


def test_wrapping_twice_meters_once(meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make) -> None:
    client = meter.wrap(meter.wrap(bare(), provider="openai"), provider="openai")
    meter.instrument()
    ask(client)
    assert records.only().usage.output_tokens == 12
    assert len(server.requests) == 1


def test_copies_stay_metered_and_send_their_own_key(
    meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make
) -> None:
    client = meter.wrap(bare(), provider="openai")
    shallow = copy.copy(client)
    shallow.api_key = "other"
    for one in (client.with_options(max_retries=0), client.copy(api_key="third"), shallow, client):
        ask(one)
    assert keys(server) == ["any", "third", "other", "any"]
    assert len(records.drain()) == 4


def test_an_unwrapped_neighbour_is_left_alone(
    meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make
) -> None:
    meter.wrap(bare(), provider="openai")
    ask(bare())
    assert records.drain() == []


def test_two_clients_over_one_http_client(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    with HTTP.Client() as shared:
        made = [openai.OpenAI(base_url=server.url(), api_key=key, http_client=shared) for key in ("a", "b")]
        for client in made:
            ask(meter.wrap(client, provider="openai"))
    assert keys(server) == ["a", "b"]
    assert len(records.drain()) == 2


def test_a_transport_of_ones_own(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    class Counting(HTTP.HTTPTransport):
        seen = 0

        def handle_request(self, request: Any) -> Any:
            type(self).seen += 1
            return super().handle_request(request)

    with HTTP.Client(transport=Counting()) as own:
        client = meter.wrap(openai.OpenAI(base_url=server.url(), api_key="k", http_client=own), provider="openai")
        ask(client, "gpt-4o;fail=1")
    assert Counting.seen == 2
    assert [attempt.status for attempt in records.only().attempts] == [500, 200]


def test_resources_made_before_wrapping(
    meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make
) -> None:
    client = bare()
    create = client.chat.completions.create
    raw = client.chat.completions.with_raw_response
    meter.wrap(client, provider="openai")
    create(model="gpt-4o", messages=MESSAGES)
    raw.create(model="gpt-4o", messages=MESSAGES)
    assert len(records.drain()) == 2


def test_several_vendors_by_host(records: Records, server: ProviderServer) -> None:
    meter = Tokenmeter(spans="none", hosts={server.host: "deepseek"})
    meter.instrument()
    try:
        with capture(meter) as found:
            ask(openai.OpenAI(base_url=server.url("deepseek"), api_key="k"), "deepseek-chat")
            assert found.only().provider == "deepseek"
    finally:
        meter.uninstrument()
    assert records.drain() == []


def test_a_vendors_real_host_name(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    with HTTP.Client(proxy=server.origin) as proxied:
        for host, path in (("api.deepseek.com", ""), ("api.moonshot.cn", "/v1"), ("open.bigmodel.cn", "/api/paas/v4")):
            client = openai.OpenAI(base_url=f"http://{host}{path}", api_key="k", http_client=proxied)
            ask(meter.wrap(client), "m")
    assert [record.provider for record in records.drain()] == ["deepseek", "moonshot", "zhipu"]
    assert [record.usage.output_tokens for record in records] == [12, 12, 12]


def test_after_uninstrument_nothing_is_metered(
    meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make
) -> None:
    meter.instrument()
    client = bare()
    ask(client)
    meter.uninstrument()
    ask(client)
    assert len(records.drain()) == 1
    assert len(server.requests) == 2


def test_threads_each_get_their_scope(meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make) -> None:
    client = meter.wrap(bare(), provider="openai")

    def work(name: str) -> None:
        with meter.scope(name, team=name):
            ask(client)

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {(record.scope, record.tags["team"]) for record in records.drain()}
    assert found == {((f"t{number}",), f"t{number}") for number in range(8)}


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
@pytest.mark.parametrize(
    ("stream", "read"),
    [
        pytest.param(False, False, id="plain"),
        pytest.param(True, True, id="stream"),
        pytest.param(True, False, id="stream, read at once"),
    ],
)
def test_no_sdk_at_all(library: str, stream: bool, read: bool, server: ProviderServer) -> None:
    http = pytest.importorskip(library)
    meter = Tokenmeter(spans="none", hosts={server.host: "deepseek"})
    body = {"model": "deepseek-chat", "messages": MESSAGES, "stream": stream}
    meter.instrument()
    try:
        with capture(meter) as found, http.Client() as client:
            if read:
                with client.stream("POST", server.url("deepseek") + "/chat/completions", json=body) as response:
                    text = "".join(response.iter_text())
            else:
                text = client.post(server.url("deepseek") + "/chat/completions", json=body).text
            assert text.endswith("data: [DONE]\n\n") is stream
            client.get(server.url("deepseek") + "/models")
            record = found.only()
    finally:
        meter.uninstrument()
    assert (record.provider, record.usage.input_tokens, record.usage.output_tokens) == ("deepseek", 24, 12)


def test_a_hand_made_call_around_an_sdk_call_counts_once(
    meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make
) -> None:
    client = meter.wrap(bare(), provider="openai")
    with meter.call(provider="openai", model="gpt-4o"):
        ask(client)
    records.drain()
    assert sorted(str(record.end) for record in records) == ["complete", "delegated"]
    assert sum(record.usage.output_tokens or 0 for record in records) == 12


def test_a_sink_that_breaks_harms_nobody(server: ProviderServer, bare: Make) -> None:
    from tokenmeter._support import guard

    class Broken:
        def write(self, record: object) -> None:
            raise RuntimeError("full disk")

        def flush(self, timeout: float) -> bool:
            raise RuntimeError("full disk")

        def close(self, timeout: float) -> None:
            raise RuntimeError("full disk")

    broken = Broken()
    meter = Tokenmeter(spans="none", sinks=[broken])
    guard.raise_failures(False)
    try:
        with capture(meter) as found:
            assert ask(meter.wrap(bare(), provider="openai")).usage.completion_tokens == 12
            assert len(found.drain()) == 1
    finally:
        meter.remove_sink(broken)
        guard.raise_failures(True)


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        pytest.param(HTTP.Client, "send", id="the HTTP client's send"),
        pytest.param(openai.OpenAI, "request", id="the method that a client inherits"),
    ],
)
def test_wrapped_by_somebody_else_before_us(owner: type, name: str, server: ProviderServer) -> None:
    program = f"""
import openai, wrapt
def listening(wrapped, instance, args, kwargs):
    assert isinstance(instance, {owner.__name__}), instance
    return wrapped(*args, **kwargs)
from {owner.__module__.partition(".")[0]} import {owner.__name__}
wrapt.wrap_function_wrapper({owner.__name__}, {name!r}, listening)
from tokenmeter import Tokenmeter
from tokenmeter.testing import capture
meter = Tokenmeter(spans="none")
client = meter.wrap(openai.OpenAI(base_url={server.url()!r}, api_key="k", max_retries=1), provider="openai")
with capture(meter) as records:
    for stream in (False, True):
        got = client.chat.completions.create(model="gpt-4o;fail=1", messages={MESSAGES!r}, stream=stream)
        list(got)
print([(len(one.attempts), one.usage.output_tokens, str(one.usage.source)) for one in records.drain()])
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert found.stdout.strip() == str([(2, 12, "reported")] * 2), found.stderr


@pytest.mark.parametrize("what", ["chat", "chat.completions"])
def test_a_part_of_a_client_is_refused(what: str, meter: Tokenmeter, bare: Make) -> None:
    with pytest.raises(ConfigurationError, match="wrap the client"):
        meter.wrap(operator.attrgetter(what)(bare()))


STREAM = [
    {"choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": "stop"}]},
    {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}},
]


def test_a_stream_whose_body_is_there_at_once(meter: Tokenmeter, records: Records) -> None:
    """Mocks and caches answer so; the usage that only we asked for is hidden as ever."""
    body = b"".join(sse({"id": "1", "object": "chat.completion.chunk", "model": "gpt-4o", **one}) for one in STREAM)
    transport = HTTP.MockTransport(
        lambda request: HTTP.Response(200, content=body + sse("[DONE]"), headers={"content-type": "text/event-stream"})
    )
    with HTTP.Client(transport=transport) as http:
        client = meter.wrap(openai.OpenAI(api_key="k", http_client=http))
        chunks = list(client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
    assert [len(chunk.choices) for chunk in chunks] == [1]
    record = records.only()
    assert (record.usage.input_tokens, record.usage.output_tokens) == (5, 2)
    assert record.usage.source is Source.REPORTED


def test_a_stream_that_a_hook_of_the_users_read(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    with HTTP.Client(event_hooks={"response": [lambda response: response.read()]}) as http:
        client = meter.wrap(openai.OpenAI(base_url=server.url(), api_key="k", http_client=http), provider="openai")
        list(client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
    assert records.only().usage.source is Source.REPORTED


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_hook_that_calls_a_model_makes_a_call_of_its_own(
    stream: bool, meter: Tokenmeter, records: Records, server: ProviderServer, bare: Make
) -> None:
    other = meter.wrap(bare(), provider="openai")

    def judge(request: Any) -> None:
        list(other.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES, stream=stream))

    with HTTP.Client(event_hooks={"request": [judge]}) as http:
        client = meter.wrap(openai.OpenAI(base_url=server.url(), api_key="k", http_client=http), provider="openai")
        ask(client)
    assert [(record.request_model, record.usage.output_tokens, len(record.attempts)) for record in records.drain()] == [
        ("gpt-4o-mini", 12, 1),
        ("gpt-4o", 12, 1),
    ]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_task_begun_during_a_request_makes_calls_of_its_own(
    stream: bool, meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    async def main() -> None:
        begun: list[asyncio.Task[Any]] = []
        answered = asyncio.Event()

        async def later() -> None:
            await answered.wait()
            await client.chat.completions.create(model="gpt-4o-mini", messages=MESSAGES)

        async def begin(request: Any) -> None:
            if not begun:
                begun.append(asyncio.create_task(later()))

        async with HTTP.AsyncClient(event_hooks={"request": [begin]}) as http:
            client: Any = meter.wrap(
                openai.AsyncOpenAI(base_url=server.url(), api_key="k", http_client=http), provider="openai"
            )
            got = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=stream)
            answered.set()
            await begun[0]
            if stream:
                async for _ in got:
                    pass

    asyncio.run(main())
    found = {record.request_model: (record.usage.output_tokens, len(record.attempts)) for record in records.drain()}
    assert found == {"gpt-4o": (12, 1), "gpt-4o-mini": (12, 1)}


@pytest.mark.parametrize("library", ["httpx", "httpx2"])
def test_a_marked_client_in_a_process_with_wrong_settings(library: str, server: ProviderServer) -> None:
    pytest.importorskip(library)
    program = f"""
import pickle, tokenmeter.meter, {library}
from tokenmeter.clients import install_all
from tokenmeter.clients.support import hooks
install_all()
client = {library}.Client()
hooks.mark(client, pickle.loads({pickle.dumps(hooks.Mark(None, "openai"))!r}))
print(client.post({server.url() + "/chat/completions"!r}, json={{"model": "m", "messages": []}}).status_code)
"""
    found = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TOKENMETER_SPANS": "wrong"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.stdout.strip() == "200", found.stderr
    assert "TOKENMETER_SPANS='wrong'" in found.stderr
