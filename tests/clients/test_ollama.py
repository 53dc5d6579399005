"""ollama: lines of JSON; a stream is a generator that sends when it is first read."""

from __future__ import annotations

import pytest

from tests.rigs.matrix import MESSAGES, Matrix, Sdk
from tokenmeter import End, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture

ollama = pytest.importorskip("ollama", reason="needs ollama; `make test-sdks` has it")


class TestOllama(Matrix):
    sdk = Sdk(
        "ollama",
        provider="ollama",
        model="qwen3",
        api="ollama.chat",
        make=lambda server: ollama.Client(host=f"{server.origin}/v/ollama"),
        amake=lambda server: ollama.AsyncClient(host=f"{server.origin}/v/ollama"),
        ask=lambda client, model: client.chat(model=model, messages=MESSAGES),
        aask=lambda client, model: client.chat(model=model, messages=MESSAGES),
        stream=lambda client, model: client.chat(model=model, messages=MESSAGES, stream=True),
        astream=lambda client, model: client.chat(model=model, messages=MESSAGES, stream=True),
        closed=(End.CLOSED_EARLY, End.DROPPED),
    )


def test_an_address_nobody_knows_is_metered_and_said_to_be_unpriced(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    client = meter.wrap(ollama.Client(host=f"{server.origin}/v/ollama"))
    client.generate(model="qwen3", prompt="hi")
    record = records.only()
    assert (record.provider, record.usage.output_tokens) == (None, 12)
    # The line to type, as it is
    assert f'configure(hosts={{"{server.host}": "local"}}, rates={{"local/*": "free"}})' in (record.cost.reason or "")


def test_a_machine_of_the_network_is_known_once_named(server: ProviderServer) -> None:
    meter = Tokenmeter(spans="none", hosts={server.host: "ollama"})
    with capture(meter) as records:
        meter.wrap(ollama.Client(host=f"{server.origin}/v/ollama")).chat(model="qwen3", messages=MESSAGES)
    record = records.only()
    assert (record.provider, record.usage.output_tokens) == ("ollama", 12)
    assert "hosts" not in (record.cost.reason or "")


@pytest.mark.parametrize("stream", [False, True])
def test_another_machine_is_metered_without_wrap_or_hosts(server: ProviderServer, stream: bool) -> None:
    meter = Tokenmeter(spans="none")
    with capture(meter) as records:
        meter.instrument()
        try:
            got = ollama.Client(host=f"{server.origin}/v/ollama").chat(model="qwen3", messages=MESSAGES, stream=stream)
            if stream:
                assert len(list(got)) > 1
        finally:
            meter.uninstrument()
    record = records.only()
    assert (record.api, record.end, record.usage.output_tokens) == ("ollama.chat", End.COMPLETE, 12)
