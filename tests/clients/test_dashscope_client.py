"""`dashscope.Client` of 2.0: httpx, tries again by itself, raises, speaks three protocols."""

from __future__ import annotations

from typing import Any

import pytest

from tests.rigs.matrix import Matrix, Sdk, chat, chat_stream
from tokenmeter import End, Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Records, json_reply

dashscope = pytest.importorskip("dashscope", reason="needs dashscope; `make test-sdks` has it")
if not hasattr(dashscope, "Client"):
    pytest.skip("this dashscope has no Client: it came with 2.0", allow_module_level=True)
MODEL = "qwen-plus"


def make(server: ProviderServer, **options: Any) -> Any:
    return dashscope.Client(api_key="k", base_url=server.url("dashscope-native"), **options)


def amake(server: ProviderServer) -> Any:
    return dashscope.AsyncClient(api_key="k", base_url=server.url("dashscope-native"))


class TestDashscopeClient(Matrix):
    sdk = Sdk(
        "dashscope Client",
        provider="alibaba",
        model=MODEL,
        api="dashscope.generation",
        make=make,
        amake=amake,
        ask=chat,
        aask=chat,
        stream=chat_stream,
        astream=chat_stream,
        closed=(End.CLOSED_EARLY, End.DROPPED),
        early=(Source.PARTIAL, Source.COUNTED),
    )


def test_copies_stay_metered(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = meter.wrap(make(server), provider="alibaba")
    chat(client.with_options(max_retries=0), MODEL)
    chat(client.with_options(timeout=5.0), MODEL)
    assert [record.provider for record in records.drain()] == ["alibaba", "alibaba"]


@pytest.mark.parametrize(
    ("protocol", "dialect", "api"),
    [
        pytest.param("openai", "dashscope", "openai.chat", id="openai"),
        pytest.param("anthropic", "anthropic", "anthropic.messages", id="anthropic"),
    ],
)
def test_protocols(
    protocol: str, dialect: str, api: str, meter: Tokenmeter, records: Records, server: ProviderServer
) -> None:
    client = dashscope.Client(api_key="k", base_url=server.url(dialect), protocol=protocol)
    chat(meter.wrap(client, provider="alibaba"), MODEL)
    record = records.only()
    assert (record.api, record.usage.input_tokens, record.usage.output_tokens) == (api, 24, 12)


def test_a_task_is_one_call(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    def answer(request: Any) -> Any:
        task = {"task_id": "t-9", "task_status": "PENDING"}
        if request.method == "POST":
            return json_reply({"output": task, "request_id": "r"})
        output = task | {"task_status": "SUCCEEDED", "results": [{"url": "http://127.0.0.1/a.png"}]}
        return json_reply({"output": output, "usage": {"image_count": 1}, "request_id": "r"})

    server.serve(answer)
    client = meter.wrap(make(server), provider="alibaba")
    job = client.images.generate(model="wanx2.1-t2i-turbo", prompt="a cat")
    record = records.only()
    assert (record.end, dict(record.usage.quantities)) == (End.COMPLETE, {"images": 1}), job
