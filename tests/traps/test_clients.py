"""Copies, shared parts, custom transports, other wrappers: what a client can be, and still be metered once."""

from __future__ import annotations

import copy
import importlib
import threading
from collections.abc import Callable
from typing import Any

import openai
import pytest

from tokenmeter import Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture

from .forms import MESSAGES

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
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_no_sdk_at_all(library: str, stream: bool, server: ProviderServer) -> None:
    http = pytest.importorskip(library)
    meter = Tokenmeter(spans="none", hosts={server.host: "deepseek"})
    body = {"model": "deepseek-chat", "messages": MESSAGES, "stream": stream}
    meter.instrument()
    try:
        with capture(meter) as found, http.Client() as client:
            if stream:
                with client.stream("POST", server.url("deepseek") + "/chat/completions", json=body) as response:
                    text = "".join(response.iter_text())
                assert text.endswith("data: [DONE]\n\n")
            else:
                client.post(server.url("deepseek") + "/chat/completions", json=body)
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
    from tokenmeter import _guard

    class Broken:
        def write(self, record: object) -> None:
            raise RuntimeError("full disk")

        def flush(self, timeout: float) -> bool:
            raise RuntimeError("full disk")

        def close(self, timeout: float) -> None:
            raise RuntimeError("full disk")

    meter = Tokenmeter(spans="none", sinks=[Broken()])
    _guard.raise_failures(False)
    try:
        with capture(meter) as found:
            assert ask(meter.wrap(bare(), provider="openai")).usage.completion_tokens == 12
            assert len(found.drain()) == 1
    finally:
        _guard.raise_failures(True)
