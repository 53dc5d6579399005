"""groq: its usage stands in `x_groq` of a stream's last chunk, and needs no asking."""

from __future__ import annotations

from typing import Any

import pytest

from .matrix import MESSAGES, Matrix, Sdk

groq = pytest.importorskip("groq", reason="needs groq's SDK; `make test-sdks` has it")


def ask(client: Any, model: str) -> Any:
    return client.chat.completions.create(model=model, messages=MESSAGES)


def stream(client: Any, model: str) -> Any:
    return client.chat.completions.create(model=model, messages=MESSAGES, stream=True)


class TestGroq(Matrix):
    sdk = Sdk(
        "groq",
        provider="groq",
        model="llama-3.3-70b-versatile",
        make=lambda server: groq.Groq(base_url=f"{server.origin}/v/groq", api_key="k"),
        amake=lambda server: groq.AsyncGroq(base_url=f"{server.origin}/v/groq", api_key="k"),
        ask=ask,
        aask=ask,
        stream=stream,
        astream=stream,
    )
