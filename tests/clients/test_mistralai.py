"""mistralai: by the wire; its own retries, if asked for, are one call."""

from __future__ import annotations

import asyncio
import importlib
import itertools
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.rigs.matrix import MESSAGES, Matrix, Sdk
from tokenmeter import End, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture

mistralai = pytest.importorskip("mistralai", reason="needs mistralai; `make test-sdks` has it")
MODEL = "mistral-large-2512"
# 1.x has the client at the top, 2.x and 3.x one package lower.
HOME: Any = mistralai if hasattr(mistralai, "Mistral") else importlib.import_module("mistralai.client")


def make(server: ProviderServer, **options: Any) -> Any:
    return HOME.Mistral(server_url=f"{server.origin}/v/mistral", api_key="k", **options)


class TestMistral(Matrix):
    sdk = Sdk(
        "mistralai",
        provider="mistral",
        model=MODEL,
        make=make,
        amake=make,
        ask=lambda client, model: client.chat.complete(model=model, messages=MESSAGES),
        aask=lambda client, model: client.chat.complete_async(model=model, messages=MESSAGES),
        stream=lambda client, model: client.chat.stream(model=model, messages=MESSAGES),
        astream=lambda client, model: client.chat.stream_async(model=model, messages=MESSAGES),
    )


def test_its_own_retries_are_one_call(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    utils = importlib.import_module(f"{HOME.__name__}.utils")
    often = utils.RetryConfig("backoff", utils.BackoffStrategy(1, 5, 1.1, 5000), True)
    client = meter.wrap(make(server, retry_config=often), provider="mistral")
    client.chat.complete(model=f"{MODEL};fail=2;status=503", messages=MESSAGES)
    record = records.only()
    assert record.end is End.COMPLETE
    assert [attempt.status for attempt in record.attempts] == [503, 503, 200]
    assert record.usage.output_tokens == 12


def test_streams_in_threads_are_each_a_call_of_their_own(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    """They share one client; some are left early, so that their bodies are closed in another thread's midst."""
    client = meter.wrap(make(server), provider="mistral")

    def ask(number: int) -> int:
        with meter.scope(f"thread {number % 8}"), client.chat.stream(model=MODEL, messages=MESSAGES) as events:
            return sum(1 for _ in itertools.islice(events, 2 if number % 4 == 3 else None))

    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(ask, range(40)))
    server.settled()
    assert len(server.requests) == len(records.drain()) == 40
    whole = [record for record in records if record.end is End.COMPLETE]
    assert {(record.usage.input_tokens, record.usage.output_tokens) for record in whole} == {(24, 12)}
    assert len(whole) == sum(1 for events in read if events > 2) == 30
    assert {record.end for record in records} == {End.COMPLETE, End.CLOSED_EARLY}
    assert Counter(record.scope for record in records) == {(f"thread {number}",): 5 for number in range(8)}


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_its_own_span_gets_the_cost(asynchronous: bool, server: ProviderServer) -> None:
    tracing = importlib.import_module("mistralai.extra.observability")
    if not hasattr(tracing, "set_tracer_provider"):
        pytest.skip("1.x does not make its span the current one: there ours stands beside it")
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    meter = Tokenmeter(tracer_provider=provider)
    client = meter.wrap(make(server), provider="mistral")
    tracing.set_tracer_provider(client, provider)
    with capture(meter) as records:
        if asynchronous:
            asyncio.run(client.chat.complete_async(model=MODEL, messages=MESSAGES))
        else:
            client.chat.complete(model=MODEL, messages=MESSAGES)
        record = records.only()
    (span,) = exporter.get_finished_spans()
    assert span.instrumentation_scope.name == "mistralai_sdk_tracer"
    assert span.attributes["tokenmeter.cost.amount"] == record.cost.to_dict()["cost"]["amount"]
    assert record.telemetry == "enriched"
