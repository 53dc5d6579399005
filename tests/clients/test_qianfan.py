"""qianfan: both of Baidu's APIs, by requests and aiohttp; what the SDK tries again is one call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.rigs.matrix import MESSAGES, Matrix, Sdk, Seen
from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, json_reply

qianfan = pytest.importorskip("qianfan", reason="needs qianfan; `make test-sdks` has it")
MODEL = "ernie-4.0-turbo-8k"
ASK: Any = {"stream_options": {"include_usage": True}}


@pytest.fixture(autouse=True)
def addresses(running: ProviderServer) -> None:
    config = qianfan.get_config()
    config.BASE_URL = config.CONSOLE_API_BASE_URL = running.origin
    config.BEARER_TOKEN = config.ACCESS_TOKEN = "t"
    config.LLM_API_RETRY_COUNT = 2
    config.LLM_API_RETRY_BACKOFF_FACTOR = config.LLM_API_RETRY_JITTER = 0.001


@pytest.fixture(autouse=True)
def ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors show the request, and with it an id of its own for each."""
    monkeypatch.setattr("qianfan.utils.utils.generate_letter_num_random_id", lambda *_: "same")


def shown(answer: Any) -> dict[str, Any]:
    """An answer without what differs from request to request."""
    return dict(answer.body)


async def _ask_async(client: Any, model: str) -> Any:
    return shown(await client.ado(model=model, messages=MESSAGES))


async def _stream_async(client: Any, model: str) -> AsyncIterator[Any]:
    # The SDK's async streams break at a `usage` that is null, as it is in every event where usage is asked for.
    async for answer in await client.ado(model=f"{model};usage=last", messages=MESSAGES, stream=True):
        yield shown(answer)
    await asyncio.sleep(0.01)  # the SDK leaves its generator at the end for the loop to close


class TestVersion2(Matrix):
    sdk = Sdk(
        "qianfan v2",
        provider="baidu",
        model=MODEL,
        make=lambda server: qianfan.ChatCompletion(version="2"),
        amake=lambda server: qianfan.ChatCompletion(version="2"),
        ask=lambda client, model: shown(client.do(model=model, messages=MESSAGES)),
        aask=_ask_async,
        stream=lambda client, model: map(shown, client.do(model=model, messages=MESSAGES, stream=True, **ASK)),
        astream=_stream_async,
        closed=(End.CLOSED_EARLY, End.DROPPED),
    )


async def _ask_first_async(client: Any, model: str) -> Any:
    return shown(await client.ado(endpoint=model, messages=MESSAGES))


async def _stream_first_async(client: Any, model: str) -> AsyncIterator[Any]:
    async for answer in await client.ado(endpoint=model, messages=MESSAGES, stream=True):
        yield shown(answer)
    await asyncio.sleep(0.01)


class TestVersion1(Matrix):
    """The path names the model, by an old name of its own."""

    sdk = Sdk(
        "qianfan v1",
        provider="baidu",
        model="completions_pro",
        api="baidu.wenxin",
        make=lambda server: qianfan.ChatCompletion(endpoint="-"),
        amake=lambda server: qianfan.ChatCompletion(endpoint="-"),
        aask=_ask_first_async,
        astream=_stream_first_async,
        ask=lambda client, model: shown(client.do(endpoint=model, messages=MESSAGES)),
        stream=lambda client, model: map(shown, client.do(endpoint=model, messages=MESSAGES, stream=True)),
        closed=(End.CLOSED_EARLY, End.DROPPED),
        early=(Source.PARTIAL, Source.COUNTED, Source.ESTIMATED),
    )

    def _refused(self, records: Records, seen: Seen) -> None:
        """The SDK takes a new token and asks again."""
        assert seen.error is not None
        record = records.only()
        assert (record.end, record.status_code) == (End.ERROR, 401)
        assert len(record.attempts) == seen.requests


@pytest.mark.parametrize(
    ("path", "model"),
    [
        pytest.param("completions_pro", "ERNIE-4.0-8K", id="a name of the path's own"),
        pytest.param("ernie-4.0-turbo-8k", "ernie-4.0-turbo-8k", id="the model's name"),
    ],
)
def test_the_first_api_is_priced_by_its_path(
    path: str, model: str, meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    client = meter.wrap(qianfan.ChatCompletion(endpoint=path), provider="baidu")
    client.do(messages=MESSAGES)
    record = records.only()
    assert (record.request_model, record.api) == (model, "baidu.wenxin")
    assert record.cost.total is not None
    assert record.cost.total.currency == "CNY"


def test_a_refusal_with_status_200_is_an_error(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    server.serve(lambda _: json_reply({"error_code": 18, "error_msg": "Open api qps request limit reached"}))
    client = meter.wrap(qianfan.ChatCompletion(endpoint="completions_pro"), provider="baidu")
    with pytest.raises(qianfan.errors.APIError):
        client.do(messages=MESSAGES)
    record = records.only()
    assert (record.end, record.error_type) == (End.ERROR, "APIError")
    assert len(record.attempts) == len(server.requests)
