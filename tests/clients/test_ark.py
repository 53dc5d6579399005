"""volcengine's Ark SDK: made from OpenAI's, with other names inside."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmeter import Source, Tokenmeter
from tokenmeter.testing import ProviderServer, Records

from .matrix import MESSAGES, Matrix, Sdk

ark = pytest.importorskip("volcenginesdkarkruntime", reason="needs volcengine-ark-runtime; `make test-sdks` has it")


def ask(client: Any, model: str) -> Any:
    return client.chat.completions.create(model=model, messages=MESSAGES)


def stream(client: Any, model: str) -> Any:
    return client.chat.completions.create(model=model, messages=MESSAGES, stream=True)


class TestArk(Matrix):
    sdk = Sdk(
        "volcenginesdkarkruntime",
        provider="volcengine",
        model="doubao-seed-1-6-250615",
        make=lambda server: ark.Ark(base_url=f"{server.origin}/v/ark/api/v3", api_key="k"),
        amake=lambda server: ark.AsyncArk(base_url=f"{server.origin}/v/ark/api/v3", api_key="k"),
        ask=ask,
        aask=ask,
        stream=stream,
        astream=stream,
    )


def test_usage_is_asked_for_and_hidden_again(meter: Tokenmeter, records: Records, server: ProviderServer) -> None:
    client = meter.wrap(ark.Ark(base_url=f"{server.origin}/v/ark/api/v3", api_key="k"), provider="volcengine")
    chunks = list(stream(client, "doubao-seed-1-6-250615"))
    assert server.requests[0].json["stream_options"] == {"include_usage": True}
    assert all(chunk.choices for chunk in chunks)
    assert records.only().usage.source is Source.REPORTED
