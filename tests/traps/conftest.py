"""A provider, a meter of its own and clients for the traps, in whatever major of the OpenAI SDK is installed."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from tests.rigs import local_provider
from tokenmeter import Tokenmeter
from tokenmeter.testing import ProviderServer

records, running, server = local_provider.records, local_provider.running, local_provider.server
# Reading the machine's certificates takes an SDK 30 ms for each client, and nothing here speaks TLS.
TLS = ssl.create_default_context()


@pytest.fixture
def meter(running: ProviderServer) -> Iterator[Tokenmeter]:
    """A meter of its own; the local server counts as OpenAI unless a client is wrapped with another provider."""
    with local_provider.own_meter(hosts={running.host: "openai"}) as made:
        yield made


@pytest.fixture
def bare(server: ProviderServer) -> Callable[..., openai.OpenAI]:
    """Makes an unmetered client: `bare("deepseek", timeout=1)`."""

    def make(dialect: str = "openai", **options: Any) -> openai.OpenAI:
        http = openai.DefaultHttpxClient(verify=TLS)
        return openai.OpenAI(base_url=server.url(dialect), api_key="any", http_client=http, **options)

    return make


@pytest.fixture
def bare_async(server: ProviderServer) -> Callable[..., openai.AsyncOpenAI]:
    def make(dialect: str = "openai", **options: Any) -> openai.AsyncOpenAI:
        http = openai.DefaultAsyncHttpxClient(verify=TLS)
        return openai.AsyncOpenAI(base_url=server.url(dialect), api_key="any", http_client=http, **options)

    return make
