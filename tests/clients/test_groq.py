"""groq: its usage stands in `x_groq` of a stream's last chunk, and needs no asking."""

from __future__ import annotations

import pytest

from tests.rigs.matrix import Matrix, Sdk, chat, chat_stream

groq = pytest.importorskip("groq", reason="needs groq's SDK; `make test-sdks` has it")


class TestGroq(Matrix):
    sdk = Sdk(
        "groq",
        provider="groq",
        model="llama-3.3-70b-versatile",
        make=lambda server: groq.Groq(base_url=f"{server.origin}/v/groq", api_key="k"),
        amake=lambda server: groq.AsyncGroq(base_url=f"{server.origin}/v/groq", api_key="k"),
        ask=chat,
        aask=chat,
        stream=chat_stream,
        astream=chat_stream,
    )
