"""openai by the same cases as every other SDK; `tests/traps` has each of its forms and ways in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.rigs.matrix import MESSAGES, Matrix, Sdk, chat, chat_stream
from tokenmeter.testing import ProviderServer

openai = pytest.importorskip("openai", reason="needs openai; `make test-sdks` has it")
MODEL = "gpt-4o"


def made(kind: str) -> Callable[[ProviderServer], Any]:
    return lambda server: getattr(openai, kind)(base_url=server.url(), api_key="k")


class TestChat(Matrix):
    sdk = Sdk(
        "openai",
        provider="openai",
        model=MODEL,
        make=made("OpenAI"),
        amake=made("AsyncOpenAI"),
        ask=chat,
        aask=chat,
        stream=chat_stream,
        astream=chat_stream,
    )


def _respond(client: Any, model: str) -> Any:
    return client.responses.create(model=model, input=MESSAGES)


def _respond_stream(client: Any, model: str) -> Any:
    return client.responses.create(model=model, input=MESSAGES, stream=True)


class TestResponses(Matrix):
    sdk = Sdk(
        "openai (Responses)",
        provider="openai",
        model=MODEL,
        api="openai.responses",
        make=made("OpenAI"),
        amake=made("AsyncOpenAI"),
        ask=_respond,
        aask=_respond,
        stream=_respond_stream,
        astream=_respond_stream,
    )
