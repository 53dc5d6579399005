"""anthropic, and its clients for Bedrock and Vertex."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.rigs.matrix import MESSAGES, Matrix, Sdk
from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, capture, json_reply

anthropic = pytest.importorskip("anthropic", reason="needs anthropic's SDK; `make test-sdks` has it")

MODEL = "claude-sonnet-5-5"
ARGUMENTS: dict[str, Any] = {"max_tokens": 50, "messages": MESSAGES}
pytestmark = pytest.mark.filterwarnings("ignore:The model")


def ask(client: Any, model: str) -> Any:
    return client.messages.create(model=model, **ARGUMENTS)


def stream(client: Any, model: str) -> Any:
    return client.messages.create(model=model, stream=True, **ARGUMENTS)


def make(server: ProviderServer, **options: Any) -> Any:
    return anthropic.Anthropic(base_url=f"{server.origin}/v/anthropic", api_key="k", **options)


class TestAnthropic(Matrix):
    sdk = Sdk(
        "anthropic",
        provider="anthropic",
        model=MODEL,
        api="anthropic.messages",
        make=make,
        amake=lambda server: anthropic.AsyncAnthropic(base_url=f"{server.origin}/v/anthropic", api_key="k"),
        ask=ask,
        aask=ask,
        stream=stream,
        astream=stream,
    )


def bedrock(kind: str) -> Callable[[ProviderServer], Any]:
    def made(server: ProviderServer) -> Any:
        pytest.importorskip("botocore", reason="needs anthropic[bedrock]; `make test-sdks` has it")
        client = getattr(anthropic, kind)
        return client(
            base_url=f"{server.origin}/v/bedrock", aws_region="us-east-1", aws_access_key="a", aws_secret_key="b"
        )

    return made


class TestBedrock(Matrix):
    """Posts to `/model/{id}/invoke…`; a stream is Amazon's binary one."""

    sdk = Sdk(
        "anthropic (Bedrock)",
        provider="aws-bedrock",
        model="anthropic.claude-sonnet-4-5-20250929-v1:0",
        api="anthropic.messages",
        make=bedrock("AnthropicBedrock"),
        amake=bedrock("AsyncAnthropicBedrock"),
        ask=ask,
        aask=ask,
        stream=stream,
        astream=stream,
    )


def vertex(kind: str) -> Callable[[ProviderServer], Any]:
    def made(server: ProviderServer) -> Any:
        pytest.importorskip("google.auth", reason="needs anthropic[vertex]; `make test-sdks` has it")
        client = getattr(anthropic, kind)
        return client(base_url=f"{server.origin}/v/anthropic/v1", region="us-east5", project_id="p", access_token="t")

    return made


class TestVertex(Matrix):
    """Posts to `…/publishers/anthropic/models/{id}:rawPredict`, and the model is in the path."""

    sdk = Sdk(
        "anthropic (Vertex)",
        provider="google-vertex",
        model=f"{MODEL}@20260101",
        api="anthropic.messages",
        make=vertex("AnthropicVertex"),
        amake=vertex("AsyncAnthropicVertex"),
        ask=ask,
        aask=ask,
        stream=stream,
        astream=stream,
    )

    def _complete(self, records: Records, *, stream: bool) -> None:
        super()._complete(records, stream=stream)
        assert (records[0].request_model or "").startswith(self.sdk.model)


def _helper(messages: Any) -> list[Any]:
    with messages.stream(model=MODEL, **ARGUMENTS) as events:
        return [*events.text_stream, events.get_final_message().stop_reason]


def _raw(client: Any, *, stream: bool) -> list[Any]:
    extra: dict[str, Any] = {"stream": True} if stream else {}
    raw = client.messages.with_raw_response.create(model=MODEL, **extra, **ARGUMENTS)
    parsed = raw.parse()
    return [type(raw).__qualname__, raw.http_response.status_code, *(parsed if stream else [parsed])]


def _streaming(client: Any, read: Callable[[Any], list[Any]], *, stream: bool = False) -> list[Any]:
    extra: dict[str, Any] = {"stream": True} if stream else {}
    with client.messages.with_streaming_response.create(model=MODEL, **extra, **ARGUMENTS) as response:
        return [type(response).__qualname__, *read(response)]


@pytest.mark.parametrize(
    ("form", "streams"),
    [
        pytest.param(
            lambda client: [client.beta.messages.create(model=MODEL, betas=["x"], **ARGUMENTS)], False, id="beta"
        ),
        pytest.param(lambda client: _helper(client.messages), True, id="helper"),
        pytest.param(lambda client: _helper(client.beta.messages), True, id="beta helper"),
        pytest.param(lambda client: _raw(client, stream=False), False, id="raw"),
        pytest.param(lambda client: _raw(client, stream=True), True, id="raw stream"),
        pytest.param(
            lambda client: _streaming(client, lambda got: list(got.iter_lines())), False, id="streaming response, lines"
        ),
        pytest.param(
            lambda client: _streaming(client, lambda got: [got.parse()]), False, id="streaming response, parsed"
        ),
        pytest.param(lambda client: _streaming(client, lambda got: [got.read()]), False, id="streaming response, read"),
        pytest.param(
            lambda client: _streaming(client, lambda got: list(got.iter_lines()), stream=True),
            True,
            id="streaming response of a stream, lines",
        ),
        pytest.param(
            lambda client: _streaming(client, lambda got: list(got.parse()), stream=True),
            True,
            id="streaming response of a stream, parsed",
        ),
        pytest.param(lambda client: [ask(client.with_options(max_retries=0), MODEL)], False, id="with_options"),
        pytest.param(lambda client: [ask(client.copy(), MODEL)], False, id="copy"),
    ],
)
def test_every_form_is_metered_once(
    form: Callable[[Any], list[Any]], streams: bool, meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    expected = form(make(server))
    server.clear()
    assert form(meter.wrap(make(server), provider="anthropic")) == expected
    assert len(server.requests) == 1
    record = records.only()
    assert (record.end, record.stream) == (End.COMPLETE, streams)
    usage = record.usage
    # Cached input stands beside the input on the wire, and inside it here.
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (24, 8, 12)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_an_async_streaming_response_is_metered_once(
    stream: bool, meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    async def lines(client: Any) -> list[str]:
        extra: dict[str, Any] = {"stream": True} if stream else {}
        async with client.messages.with_streaming_response.create(model=MODEL, **extra, **ARGUMENTS) as response:
            return [line async for line in response.iter_lines()]

    def client() -> Any:
        return anthropic.AsyncAnthropic(base_url=f"{server.origin}/v/anthropic", api_key="k")

    assert asyncio.run(lines(client())) == asyncio.run(lines(meter.wrap(client(), provider="anthropic")))
    record = records.only()
    assert (record.end, record.stream) == (End.COMPLETE, stream)
    assert (record.usage.input_tokens, record.usage.output_tokens) == (24, 12)


def test_a_parsed_message_that_does_not_fit_is_still_metered(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    from pydantic import BaseModel, ValidationError

    class Weather(BaseModel):
        city: str

    client = meter.wrap(make(server), provider="anthropic")
    if not hasattr(client.messages, "parse"):
        pytest.skip("this version has no messages.parse")
    with pytest.raises(ValidationError):  # the server answers with plain words
        client.messages.parse(model=MODEL, output_format=Weather, **ARGUMENTS)
    record = records.only()
    assert (record.end, record.error_type) == (End.ERROR, "ValidationError")
    assert (record.usage.output_tokens, record.usage.source) == (12, Source.REPORTED)


def test_counting_tokens_and_batches_are_no_calls(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = meter.wrap(make(server), provider="anthropic")
    server.serve(lambda request: json_reply({"input_tokens": 9}))
    assert client.messages.count_tokens(model=MODEL, messages=MESSAGES).input_tokens == 9
    assert client.beta.messages.count_tokens(model=MODEL, messages=MESSAGES).input_tokens == 9
    batch = {"custom_id": "a", "params": {"model": MODEL, **ARGUMENTS}}
    client.messages.batches.create(requests=[batch])
    assert [request.path.partition("?")[0].rpartition("/")[2] for request in server.requests] == [
        "count_tokens",
        "count_tokens",
        "batches",
    ]
    assert records.drain() == []


@pytest.mark.parametrize(
    ("host", "kind", "options", "model", "provider", "region"),
    [
        pytest.param("api.anthropic.com", "Anthropic", {"api_key": "k"}, MODEL, "anthropic", None, id="anthropic"),
        pytest.param(
            "us-east5-aiplatform.googleapis.com",
            "AnthropicVertex",
            {"region": "us-east5", "project_id": "p", "access_token": "t"},
            "claude-sonnet-4-6@default",
            "google-vertex",
            "us-east5",
            id="vertex",
        ),
        pytest.param(
            "bedrock-runtime.eu-west-1.amazonaws.com",
            "AnthropicBedrock",
            {"aws_region": "eu-west-1", "aws_access_key": "a", "aws_secret_key": "b"},
            "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
            "aws-bedrock",
            "eu-west-1",
            id="bedrock",
        ),
    ],
)
def test_who_bills_is_told_by_the_host(
    host: str,
    kind: str,
    options: dict[str, Any],
    model: str,
    provider: str,
    region: str | None,
    meter: Tokenmeter,
    records: Records,
    server: ProviderServer,
) -> None:
    if kind == "AnthropicBedrock":
        pytest.importorskip("botocore", reason="needs anthropic[bedrock]; `make test-sdks` has it")
    if kind == "AnthropicVertex":
        pytest.importorskip("google.auth", reason="needs anthropic[vertex]; `make test-sdks` has it")
    through = anthropic.DefaultHttpxClient(proxy=server.origin)
    client = getattr(anthropic, kind)(base_url=f"http://{host}", http_client=through, **options)
    meter.instrument()
    ask(client, model)
    list(stream(client, model))
    assert len(server.requests) == 2
    found = {(record.provider, record.region, record.host, record.request_model) for record in records.drain()}
    assert found == {(provider, region, host, model)}
    assert [record.usage.output_tokens for record in records] == [12, 12]
    assert all(record.cost.total is not None and record.cost.total.currency == "USD" for record in records)


def spans_of(call: Callable[[Any], Any], server: ProviderServer, **options: Any) -> tuple[list[Any], Any]:
    """The spans of one call with tracing on, and its record."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # anthropic takes the global provider only, which OpenTelemetry lets nobody set twice.
    before = trace._TRACER_PROVIDER
    trace._TRACER_PROVIDER = provider
    meter = Tokenmeter(tracer_provider=provider)
    try:
        with capture(meter) as records:
            call(meter.wrap(make(server, **options), provider="anthropic"))
            record = records.only()
    finally:
        trace._TRACER_PROVIDER = before
        meter.shutdown()
    return list(exporter.get_finished_spans()), record


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(lambda client: ask(client, MODEL), id="plain"),
        pytest.param(lambda client: ask(client, f"{MODEL};fail=2"), id="retried"),
        pytest.param(lambda client: list(stream(client, MODEL)), id="stream"),
        pytest.param(lambda client: _helper(client.messages), id="helper"),
    ],
)
@pytest.mark.parametrize("theirs", [True, False], ids=["their span", "their span switched off"])
def test_there_is_one_span_with_the_cost_on_it(
    call: Callable[[Any], Any], theirs: bool, server: ProviderServer
) -> None:
    if int(anthropic.__version__.partition(".")[0]) < 1:
        if theirs:
            pytest.skip("0.x makes no spans of its own")
        options: dict[str, Any] = {}
    else:
        options = {} if theirs else {"open_telemetry": False}
    spans, record = spans_of(call, server, **options)
    assert [span.instrumentation_scope.name for span in spans] == [
        "com.anthropic.sdk.python" if theirs else "tokenmeter"
    ]
    attributes = spans[0].attributes
    assert record.telemetry == ("enriched" if theirs else "own")
    assert attributes["tokenmeter.cost.amount"] == record.cost.to_dict()["cost"]["amount"]
    assert attributes["gen_ai.usage.output_tokens"] == 12
    assert record.trace_id == f"{spans[0].context.trace_id:032x}"
