"""Amazon Bedrock by boto3: converse and invoke_model, whole and as AWS's event stream, and the tries of botocore."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.rigs.matrix import Matrix, Sdk
from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Received, Records, json_reply

boto3 = pytest.importorskip("boto3", reason="needs boto3; `make test-sdks` has it")
config = pytest.importorskip("botocore.config")
eventstream = pytest.importorskip("botocore.eventstream")
MODEL = "anthropic.claude-3-5-sonnet-20241022-v2:0"
TURNS: Any = [{"role": "user", "content": [{"text": "今天天气怎么样？"}]}]
INVOKED = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}


def make(server: ProviderServer, service: str = "bedrock-runtime", **options: Any) -> Any:
    return boto3.client(
        service,
        endpoint_url=server.url("bedrock"),
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=config.Config(retries={"max_attempts": 2, "mode": "standard"}, **options),
    )


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """An answer without what differs from request to request."""
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def _stream(client: Any, model: str) -> Any:
    stream = client.converse_stream(modelId=model, messages=TURNS)["stream"]
    assert type(stream) is eventstream.EventStream
    return stream


def _invoke(client: Any, model: str) -> Any:
    with_body = client.invoke_model(modelId=model, body=json.dumps(INVOKED))
    assert type(with_body["body"]).__name__ == "StreamingBody"
    return json.loads(with_body["body"].read())


def _invoke_stream(client: Any, model: str) -> Any:
    stream = client.invoke_model_with_response_stream(modelId=model, body=json.dumps(INVOKED))["body"]
    assert type(stream) is eventstream.EventStream
    return stream


class TestConverse(Matrix):
    sdk = Sdk(
        "boto3 converse",
        provider="aws-bedrock",
        model=MODEL,
        api="bedrock.converse",
        make=make,
        ask=lambda client, model: told(client.converse(modelId=model, messages=TURNS)),
        stream=_stream,
        closed=(End.CLOSED_EARLY,),
    )


class TestInvokeModel(Matrix):
    sdk = Sdk(
        "boto3 invoke_model",
        provider="aws-bedrock",
        model=MODEL,
        api="bedrock.invoke",
        make=make,
        ask=_invoke,
        stream=_invoke_stream,
        closed=(End.CLOSED_EARLY,),
        early=(Source.PARTIAL, Source.COUNTED, Source.ESTIMATED),
    )


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda body: body.read(), id="read"),
        pytest.param(lambda body: [body.read(16), body.read()], id="in two goes"),
        pytest.param(lambda body: list(body.iter_chunks(16)), id="chunks"),
        pytest.param(lambda body: list(body.iter_lines()), id="lines"),
        pytest.param(lambda body: list(body), id="iteration"),
        pytest.param(lambda body: body.readlines(), id="readlines"),
    ],
)
def test_however_a_body_is_read(
    read: Callable[[Any], Any], meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    bare = read(make(server).invoke_model(modelId=MODEL, body=json.dumps(INVOKED))["body"])
    client = meter.wrap(make(server))
    assert read(client.invoke_model(modelId=MODEL, body=json.dumps(INVOKED))["body"]) == bare
    record = records.only()
    assert (record.end, record.usage.input_tokens, record.usage.output_tokens) == (End.COMPLETE, 24, 12)


def test_headers_where_the_body_says_nothing(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    counts = {"x-amzn-bedrock-input-token-count": "7", "x-amzn-bedrock-output-token-count": "3"}
    server.serve(lambda request: replace(json_reply({"generations": [{"text": "hi"}]}), headers=counts))
    client = meter.wrap(make(server))
    client.invoke_model(modelId="cohere.command-r-v1:0", body=b'{"message": "hi"}')["body"].read()
    record = records.only()
    assert (record.usage.input_tokens, record.usage.output_tokens) == (7, 3)


def test_a_body_nobody_reads(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = meter.wrap(make(server))
    client.invoke_model(modelId=MODEL, body=json.dumps(INVOKED))
    record = records.only()
    assert (record.end, record.usage.input_tokens, record.usage.output_tokens) == (End.DROPPED, 24, 12)


def test_an_error_event_raises_botocores_own_error(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = meter.wrap(make(server))
    with pytest.raises(client.exceptions.ClientError, match="internalServerException"):
        list(client.converse_stream(modelId=f"{MODEL};err=3", messages=TURNS)["stream"])
    assert records.only().end is End.ERROR


def test_what_an_old_botocore_has_not_heard_of_is_read(
    meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    counts = {"inputTokens": 2, "outputTokens": 1, "totalTokens": 33, "cacheReadInputTokens": 10}
    written = [{"ttl": "1h", "inputTokens": 20}]
    usage = {**counts, "cacheWriteInputTokens": 20, "cacheDetails": written}
    body = {"output": {"message": {"role": "assistant", "content": []}}, "stopReason": "end_turn", "usage": usage}
    server.serve(lambda request: json_reply(body))
    meter.wrap(make(server)).converse(modelId=MODEL, messages=TURNS)
    record = records.only()
    assert (record.usage.input_tokens, record.usage.cache_writes["1h"]) == (32, 20)


def test_tries_have_their_request_ids(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    asked = iter((503, 200))

    def answer(request: Received) -> Any:
        usage = {"inputTokens": 24, "outputTokens": 12, "totalTokens": 36}
        body = {"output": {"message": {"role": "assistant", "content": []}}, "stopReason": "end_turn", "usage": usage}
        status = next(asked)
        return replace(json_reply(body, status), headers={"x-amzn-requestid": f"r-{status}"})

    server.serve(answer)
    meter.wrap(make(server)).converse(modelId=MODEL, messages=TURNS)
    tries = records.only().attempts
    assert [(one.status, one.request_id, one.usage) for one in tries] == [(503, "r-503", False), (200, "r-200", True)]


@pytest.mark.parametrize(
    ("given", "model"),
    [
        pytest.param(f"us.{MODEL}", f"us.{MODEL}", id="cross-region"),
        pytest.param(f"arn:aws:bedrock:us-east-1::foundation-model/{MODEL}", MODEL, id="arn"),
    ],
)
def test_models(given: str, model: str, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    usage = {"inputTokens": 2, "outputTokens": 1, "totalTokens": 3}
    body = {"output": {"message": {"role": "assistant", "content": []}}, "stopReason": "end_turn", "usage": usage}
    server.serve(lambda request: json_reply(body))
    meter.wrap(make(server)).converse(modelId=given, messages=TURNS)
    record = records.only()
    assert (record.request_model, record.region) == (model, "us-east-1")


def test_other_services_are_left_alone(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    server.serve(lambda request: json_reply({"TableNames": []}))
    meter.instrument()
    make(server, "dynamodb").list_tables()
    make(server).apply_guardrail(guardrailIdentifier="g", guardrailVersion="1", source="INPUT", content=[])
    assert records.drain() == []
