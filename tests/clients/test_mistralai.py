"""mistralai: by the wire; its own retries, if asked for, are one call."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.rigs.matrix import MESSAGES, Matrix, Sdk
from tokenmeter import End, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture

mistralai = pytest.importorskip("mistralai", reason="needs mistralai; `make test-sdks` has it")
# 1.x has the client at the top, 2.x and 3.x one package lower.
HOME: Any = mistralai if hasattr(mistralai, "Mistral") else importlib.import_module("mistralai.client")


def make(server: ProviderServer, **options: Any) -> Any:
    return HOME.Mistral(server_url=f"{server.origin}/v/mistral", api_key="k", **options)


class TestMistral(Matrix):
    sdk = Sdk(
        "mistralai",
        provider="mistral",
        model="mistral-large-2512",
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
    client.chat.complete(model="mistral-large-2512;fail=2;status=503", messages=MESSAGES)
    record = records.only()
    assert record.end is End.COMPLETE
    assert [attempt.status for attempt in record.attempts] == [503, 503, 200]
    assert record.usage.output_tokens == 12


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
            asyncio.run(client.chat.complete_async(model="mistral-large-2512", messages=MESSAGES))
        else:
            client.chat.complete(model="mistral-large-2512", messages=MESSAGES)
        record = records.only()
    (span,) = exporter.get_finished_spans()
    assert span.instrumentation_scope.name == "mistralai_sdk_tracer"
    assert span.attributes["tokenmeter.cost.amount"] == record.cost.to_dict()["cost"]["amount"]
    assert record.telemetry == "enriched"
