"""Tencent Cloud's own SDK: Hunyuan's native API, whose refusals come with status 200."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.rigs.matrix import Matrix, Sdk
from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, json_reply

hunyuan = pytest.importorskip("tencentcloud.hunyuan.v20230901.hunyuan_client", reason="needs tencentcloud's SDK")
models = pytest.importorskip("tencentcloud.hunyuan.v20230901.models")
credential = pytest.importorskip("tencentcloud.common.credential")
profiles = pytest.importorskip("tencentcloud.common.profile.client_profile")
errors = pytest.importorskip("tencentcloud.common.exception.tencent_cloud_sdk_exception")
MODEL = "hunyuan-turbos-latest"


def profile(endpoint: str, proxy: str | None = None) -> Any:
    made = profiles.ClientProfile()
    made.httpProfile.scheme = "http"
    made.httpProfile.endpoint = endpoint
    made.httpProfile.proxy = proxy
    return made


def make(server: ProviderServer) -> Any:
    return hunyuan.HunyuanClient(credential.Credential("id", "key"), "ap-guangzhou", profile(server.host))


def amake(server: ProviderServer) -> Any:
    module = pytest.importorskip("tencentcloud.hunyuan.v20230901.hunyuan_client_async", reason="needs httpx")
    return module.HunyuanClient(credential.Credential("id", "key"), "ap-guangzhou", profile(server.host))


def request(model: str, *, stream: bool = False) -> Any:
    made = models.ChatCompletionsRequest()
    made.from_json_string(
        json.dumps({"Model": model, "Messages": [{"Role": "user", "Content": "天气怎么样？"}], "Stream": stream})
    )
    return made


async def _stream_async(client: Any, model: str) -> Any:
    async for event in await client.ChatCompletions(request(model, stream=True)):
        yield event


async def _ask_async(client: Any, model: str) -> Any:
    return (await client.ChatCompletions(request(model))).to_json_string()


class TestHunyuan(Matrix):
    sdk = Sdk(
        "tencentcloud hunyuan",
        provider="tencent",
        model=MODEL,
        api="tencent.chat",
        make=make,
        amake=amake,
        ask=lambda client, model: client.ChatCompletions(request(model)).to_json_string(),
        aask=_ask_async,
        stream=lambda client, model: client.ChatCompletions(request(model, stream=True)),
        astream=_stream_async,
        closed=(End.CLOSED_EARLY, End.DROPPED),
        early=(Source.PARTIAL, Source.COUNTED, Source.ESTIMATED),
    )


REFUSED = {"Response": {"Error": {"Code": "LimitExceeded", "Message": "no"}, "RequestId": "r"}}


def test_a_refusal_with_status_200_is_an_error(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    server.serve(lambda _: json_reply(REFUSED))
    client = meter.wrap(make(server))
    with pytest.raises(errors.TencentCloudSDKException, match="LimitExceeded"):
        client.ChatCompletions(request(MODEL))
    record = records.only()
    assert (record.end, record.error_type) == (End.ERROR, "TencentCloudSDKException")
    assert record.provider == "tencent"


def test_an_async_refusal_with_status_200(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    import asyncio

    server.serve(lambda _: json_reply(REFUSED))

    async def ask() -> None:
        with pytest.raises(errors.TencentCloudSDKException, match="LimitExceeded"):
            await meter.wrap(amake(server)).ChatCompletions(request(MODEL))

    asyncio.run(ask())
    assert records.only().end is End.ERROR


@pytest.mark.parametrize("way", ["call_json", "call_sse", "call"])
def test_calls_by_the_actions_name(way: str, meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = meter.wrap(make(server))
    params = {"Model": MODEL, "Messages": [{"Role": "user", "Content": "hi"}], "Stream": way == "call_sse"}
    made = getattr(client, way)("ChatCompletions", params)
    if way == "call_sse":
        assert len(list(made)) == 6
    assert (records.only().usage.output_tokens, len(server.requests)) == (12, 1)


def test_embeddings(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    made = models.GetEmbeddingRequest()
    made.from_json_string('{"Input": "hi"}')
    meter.wrap(make(server)).GetEmbedding(made)
    record = records.only()
    assert (record.operation, record.usage.input_tokens, record.usage.output_tokens) == ("embeddings", 24, 0)


def test_actions_that_call_no_model(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    server.serve(lambda _: json_reply({"Response": {"TokenCount": 3, "CharacterCount": 2, "RequestId": "r"}}))
    meter.instrument()
    client = hunyuan.HunyuanClient(
        credential.Credential("id", "key"), "ap-guangzhou", profile("hunyuan.tencentcloudapi.com", server.origin)
    )
    made = models.GetTokenCountRequest()
    made.from_json_string('{"Prompt": "hi"}')
    assert client.GetTokenCount(made).TokenCount == 3
    client.SetPayMode(models.SetPayModeRequest())
    assert len(server.requests) == 2
    assert records.drain() == []


@pytest.mark.parametrize(
    ("action", "operation"),
    [
        pytest.param("ChatCompletions", "chat", id="a chat"),
        pytest.param("GetEmbedding", "embeddings", id="embeddings"),
        pytest.param("GetTokenCount", None, id="free"),
        pytest.param("SetPayMode", None, id="no model"),
    ],
)
def test_a_plain_request_is_what_its_header_says(
    action: str, operation: str | None, meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    requests = pytest.importorskip("requests")
    meter.instrument()
    body = {"Model": MODEL, "Messages": [{"Role": "user", "Content": "hi"}], "Input": "hi"}
    headers = {"X-TC-Action": action, "X-TC-Version": "2023-09-01"}
    proxies = {"http": server.origin}
    requests.post("http://hunyuan.tencentcloudapi.com/", json=body, headers=headers, proxies=proxies)
    found = [(record.operation, record.usage.input_tokens) for record in records.drain()]
    assert found == ([(operation, 24)] if operation else [])


def test_the_vendors_real_host_name(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    meter.instrument()
    client = hunyuan.HunyuanClient(
        credential.Credential("id", "key"), "ap-guangzhou", profile("hunyuan.tencentcloudapi.com", server.origin)
    )
    client.ChatCompletions(request(MODEL))
    record = records.only()
    assert (record.provider, record.host, record.usage.output_tokens) == ("tencent", "hunyuan.tencentcloudapi.com", 12)
