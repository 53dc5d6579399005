"""cohere: its request method calls itself for every new try, and billed units are what is billed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rigs.matrix import MESSAGES, Matrix, Sdk
from tokenmeter import End, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture, json_reply

cohere = pytest.importorskip("cohere", reason="needs cohere; `make test-sdks` has it")


def make(server: ProviderServer, **options: Any) -> Any:
    return cohere.ClientV2(base_url=server.origin, api_key="k", **options)


class TestCohere(Matrix):
    sdk = Sdk(
        "cohere",
        provider="cohere",
        model="command-a-03-2025",
        api="cohere.chat.v2",
        make=make,
        amake=lambda server: cohere.AsyncClientV2(base_url=server.origin, api_key="k"),
        ask=lambda client, model: client.chat(model=model, messages=MESSAGES),
        aask=lambda client, model: client.chat(model=model, messages=MESSAGES),
        stream=lambda client, model: client.chat_stream(model=model, messages=MESSAGES),
        astream=lambda client, model: client.chat_stream(model=model, messages=MESSAGES),
        closed=(End.CLOSED_EARLY, End.DROPPED),
    )


@pytest.mark.parametrize("named", [False, True], ids=["by the host", "by the user"])
def test_behind_a_gateways_prefix(named: bool, server: ProviderServer) -> None:
    client = cohere.ClientV2(base_url=f"{server.origin}/v/cohere/gateway", api_key="k")
    meter = Tokenmeter(spans="none", hosts={} if named else {server.host: "cohere"})
    with capture(meter) as records:
        meter.wrap(client, provider="cohere" if named else None)
        client.chat(model="command-a-03-2025", messages=MESSAGES)
        assert client.chat(model="command-a-03-2025", messages=MESSAGES).usage.billed_units.output_tokens == 12
    assert [(record.provider, record.api, record.usage.output_tokens) for record in records] == [
        ("cohere", "cohere.chat.v2", 12)
    ] * 2


def test_tries_that_recurse_are_one_call(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = meter.wrap(make(server), provider="cohere")
    client.chat(model="command-a-03-2025;fail=2;status=503", messages=MESSAGES)
    assert [attempt.status for attempt in records.only().attempts] == [503, 503, 200]


def test_embeddings(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    body = {
        "id": "e",
        "embeddings": {"float": [[0.1, 0.2]]},
        "texts": ["a"],
        "meta": {"billed_units": {"input_tokens": 7}},
        "response_type": "embeddings_by_type",
    }
    server.serve(lambda request: json_reply(body))
    client = meter.wrap(make(server), provider="cohere")
    client.embed(model="embed-v4.0", texts=["a"], input_type="search_query", embedding_types=["float"])
    record = records.only()
    assert (record.operation, record.usage.input_tokens, record.usage.output_tokens) == ("embeddings", 7, 0)
