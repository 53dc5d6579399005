"""zai-sdk and zhipuai: one vendor, two SDKs of one make; sync only, retried above the HTTP library."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from tests.rigs.matrix import Matrix, Sdk, chat, chat_stream
from tokenmeter import End, Tokenmeter
from tokenmeter.testing import ProviderServer, Records


def made(package: str, kind: str, dialect: str) -> Any:
    def make(server: ProviderServer) -> Any:
        pytest.importorskip(package, reason=f"needs {package}; `make test-sdks` has it")
        client = getattr(importlib.import_module(package), kind)
        return client(base_url=f"{server.origin}/v/{dialect}/api/paas/v4", api_key="k" * 32 + ".secret")

    return make


class TestZai(Matrix):
    sdk = Sdk(
        "zai",
        provider="zai",
        model="glm-4.6",
        make=made("zai", "ZaiClient", "zai"),
        ask=chat,
        stream=chat_stream,
        closed=(End.DROPPED, End.CLOSED_EARLY),  # its streams have no close()
    )


class TestZhipuAi(Matrix):
    sdk = Sdk(
        "zhipuai",
        provider="zhipu",
        model="glm-4.6",
        make=made("zhipuai", "ZhipuAI", "zhipu"),
        ask=chat,
        stream=chat_stream,
        closed=(End.DROPPED, End.CLOSED_EARLY),
    )


@pytest.mark.parametrize(("package", "owner"), [("zhipuai", "ZhipuAI"), ("zai", "ZhipuAiClient")])
def test_async_completions_are_one_record(
    meter: Tokenmeter, records: Records, server: ProviderServer, package: str, owner: str
) -> None:
    sdk = pytest.importorskip(package, reason=f"needs {package}; `make test-sdks` has it")
    client = meter.wrap(getattr(sdk, owner)(api_key="a.b", base_url=server.url("zhipu")), provider="zhipu")
    tasks = client.chat.asyncCompletions
    task = tasks.create(model="glm-4.6;in=1000;out=500", messages=[{"role": "user", "content": "hi"}])
    assert records.drain() == []
    for _ in range(3):
        tasks.retrieve_completion_result(id=task.id)
    record = records.only()
    assert (record.end, record.usage.input_tokens, record.usage.output_tokens) == (End.COMPLETE, 1000, 500)
