"""Ways in which a program calls a model: SDKs and HTTP libraries, blocking and async, whole answers and streams.

A way makes a client and asks it. What it does is what any program does with that library, metered or not.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import importlib
import importlib.util
import json
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from tokenmeter.testing import ProviderServer

__all__ = ["WAYS", "Ask", "Setting", "Way", "quick_retries"]

TLS: Final = functools.cache(ssl.create_default_context)
"""Reading the machine's certificates takes 30 ms for each client, and nothing here speaks TLS."""
TOOLS: Final[Any] = [
    {
        "type": "function",
        "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
    }
]
CHAT: Final = "/v/openai/v1/chat/completions"


@dataclass(frozen=True)
class Setting:
    """How a client is made; `timeout` is seconds."""

    server: ProviderServer
    retries: int = 0
    timeout: float = 30.0


@dataclass(frozen=True)
class Ask:
    """One question. `model` bears the server's faults; `extras` are fields of OpenAI's chat."""

    model: str
    prompt: str
    stream: bool = False
    extras: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def messages(self) -> list[Any]:
        return [{"role": "user", "content": self.prompt}]

    @property
    def body(self) -> dict[str, Any]:
        return {"model": self.model, "messages": self.messages, "stream": self.stream, **self.extras}

    @property
    def fields(self) -> dict[str, Any]:
        """The keywords of a client in OpenAI's manner."""
        named = {"model": self.model, "messages": self.messages, **self.extras, "extra_headers": self.headers}
        return {**named, "stream": True} if self.stream else named


@dataclass(frozen=True)
class Way:
    """`ask` gives an answer or a stream, or an awaitable. `provider` is None where the library knows no vendor."""

    name: str
    needs: str
    make: Callable[[Setting], Any]
    ask: Callable[[Any, Ask], Any]
    aio: bool = False
    provider: str | None = None
    model: str = "gpt-4o-mini"
    whole: bool = True
    """Has answers that are no streams."""
    stream: bool = True
    extras: bool = True
    """Takes several choices, tools and `stream_options`."""

    @property
    def here(self) -> bool:
        """Whether its library is installed."""
        return importlib.util.find_spec(self.needs.partition(".")[0]) is not None and (
            "." not in self.needs or importlib.util.find_spec(self.needs) is not None
        )


@contextlib.contextmanager
def quick_retries() -> Iterator[None]:
    """Make the SDKs wait little before they try again, during a block."""
    bases = [
        importlib.import_module(f"{name}._base_client")
        for name in ("openai", "anthropic", "groq")
        if importlib.util.find_spec(name) is not None
    ]
    before = [(base, base.INITIAL_RETRY_DELAY, base.MAX_RETRY_DELAY) for base in bases]
    for base in bases:
        base.INITIAL_RETRY_DELAY = base.MAX_RETRY_DELAY = 0.001
    try:
        yield
    finally:
        for base, initial, most in before:
            base.INITIAL_RETRY_DELAY, base.MAX_RETRY_DELAY = initial, most


# Clients ----------------------------------------------------------------------------------------------------------


def _stainless(package: str, kind: str, dialect: str) -> Callable[[Setting], Any]:
    def make(setting: Setting) -> Any:
        sdk = importlib.import_module(package)
        wire: Any = getattr(sdk, f"Default{'Async' if kind.startswith('Async') else ''}HttpxClient")
        return getattr(sdk, kind)(
            base_url=setting.server.url(dialect).removesuffix("/openai/v1")
            if package == "groq"
            else setting.server.url(dialect),
            api_key="any",
            max_retries=setting.retries,
            timeout=setting.timeout,
            http_client=wire(verify=TLS()),
        )

    return make


def _httpx(package: str, kind: str) -> Callable[[Setting], Any]:
    def make(setting: Setting) -> Any:
        made = getattr(importlib.import_module(package), kind)
        return made(base_url=setting.server.origin, timeout=setting.timeout, verify=TLS())

    return make


def _genai(setting: Setting) -> Any:
    from google import genai

    retry = {"attempts": setting.retries + 1, "initial_delay": 0.001, "max_delay": 0.001, "exp_base": 1, "jitter": 0}
    http = {
        "base_url": setting.server.url("google"),
        "retry_options": retry,
        "timeout": int(setting.timeout * 1000),
        "client_args": {"verify": TLS()},
        "async_client_args": {"ssl": TLS()},
    }
    return genai.Client(api_key="k", vertexai=False, http_options=http)


class Session:
    """A session of requests, or of aiohttp, with the server's address and a time limit."""

    def __init__(self, session: Any, setting: Setting) -> None:
        self.session = session
        self.url = setting.server.origin + CHAT
        self.timeout = setting.timeout

    def close(self) -> Any:
        return self.session.close()


def _requests(setting: Setting) -> Session:
    import requests

    return Session(requests.Session(), setting)


def _aiohttp(setting: Setting) -> Session:
    import aiohttp

    return Session(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(sock_read=setting.timeout)), setting)


# Questions --------------------------------------------------------------------------------------------------------


def _chat(client: Any, ask: Ask) -> Any:
    return client.chat.completions.create(**ask.fields)


def _raw(client: Any, ask: Ask) -> Any:
    answer = client.chat.completions.with_raw_response.create(**ask.fields)
    return answer.parse(), answer.status_code, list(answer.headers.items())


async def _araw(client: Any, ask: Ask) -> Any:
    answer = await client.chat.completions.with_raw_response.create(**ask.fields)
    return answer.parse(), answer.status_code, list(answer.headers.items())


def _helper(client: Any, ask: Ask) -> Any:
    fields = {name: value for name, value in ask.fields.items() if name != "stream"}
    return client.chat.completions.stream(**fields)


def _responses(client: Any, ask: Ask) -> Any:
    return client.responses.create(model=ask.model, input=ask.prompt, stream=ask.stream, extra_headers=ask.headers)


def _messages(client: Any, ask: Ask) -> Any:
    return client.messages.create(
        model=ask.model, max_tokens=64, messages=ask.messages, stream=ask.stream, extra_headers=ask.headers
    )


def _messages_helper(client: Any, ask: Ask) -> Any:
    return client.messages.stream(model=ask.model, max_tokens=64, messages=ask.messages, extra_headers=ask.headers)


def _embeddings(client: Any, ask: Ask) -> Any:
    return client.embeddings.create(model=ask.model, input=[ask.prompt], extra_headers=ask.headers)


def _generate(client: Any, ask: Ask) -> Any:
    models = client.models
    do = models.generate_content_stream if ask.stream else models.generate_content
    return do(model=ask.model, contents=ask.prompt, config={"http_options": {"headers": ask.headers}})


def _generate_async(client: Any, ask: Ask) -> Any:
    models = client.aio.models
    do = models.generate_content_stream if ask.stream else models.generate_content
    return do(model=ask.model, contents=ask.prompt, config={"http_options": {"headers": ask.headers}})


@dataclass
class Lines:
    """The lines of a body that is read as it comes, and how its response is closed."""

    lines: Any
    close: Callable[[], Any]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.lines)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self.lines.__aiter__()


def _post(client: Any, ask: Ask) -> Any:
    if not ask.stream:
        answer = client.post(CHAT, json=ask.body, headers=ask.headers)
        return answer.status_code, list(answer.headers.items()), answer.content
    request = client.build_request("POST", CHAT, json=ask.body, headers=ask.headers)
    answer = client.send(request, stream=True)
    answer.raise_for_status()
    return Lines(answer.iter_lines(), answer.close)


async def _apost(client: Any, ask: Ask) -> Any:
    if not ask.stream:
        answer = await client.post(CHAT, json=ask.body, headers=ask.headers)
        return answer.status_code, list(answer.headers.items()), answer.content
    request = client.build_request("POST", CHAT, json=ask.body, headers=ask.headers)
    answer = await client.send(request, stream=True)
    if answer.is_error:
        await answer.aread()
    answer.raise_for_status()
    return Lines(answer.aiter_lines(), answer.aclose)


def _by_requests(client: Session, ask: Ask) -> Any:
    answer = client.session.post(
        client.url, json=ask.body, headers=ask.headers, stream=ask.stream, timeout=client.timeout
    )
    if not ask.stream:
        return answer.status_code, list(answer.headers.items()), answer.content
    answer.raise_for_status()
    return Lines(answer.iter_lines(chunk_size=1), answer.close)


async def _by_aiohttp(client: Session, ask: Ask) -> Any:
    answer = await client.session.post(client.url, json=ask.body, headers=ask.headers)
    if ask.stream:
        answer.raise_for_status()
        return Lines(answer.content, answer.close)
    return answer.status, list(answer.headers.items()), await answer.read()


def _by_http_client(setting: Setting, ask: Ask) -> Any:
    connection = http.client.HTTPConnection(setting.server.host, timeout=setting.timeout)
    connection.request("POST", CHAT, json.dumps(ask.body), {"content-type": "application/json", **ask.headers})
    answer = connection.getresponse()

    def close() -> None:
        answer.close()
        connection.close()

    if ask.stream:
        return Lines(iter(answer.readline, b""), close)
    seen = answer.status, answer.getheaders(), answer.read()
    close()
    return seen


def _by_urllib(setting: Setting, ask: Ask) -> Any:
    request = urllib.request.Request(setting.server.origin + CHAT, json.dumps(ask.body).encode(), ask.headers)
    answer = urllib.request.urlopen(request, timeout=setting.timeout)
    if ask.stream:
        return Lines(answer, answer.close)
    with answer:
        return answer.status, answer.headers.items(), answer.read()


def _sdks() -> Iterator[Way]:
    for aio, kind in ((False, ""), (True, "Async")):
        a = "async " if aio else ""
        openai = _stainless("openai", f"{kind}OpenAI", "openai")
        anthropic = _stainless("anthropic", f"{kind}Anthropic", "anthropic")
        groq = _stainless("groq", f"{kind}Groq", "groq")
        of_openai: dict[str, Any] = {"aio": aio, "provider": "openai"}
        claude: dict[str, Any] = {
            "aio": aio,
            "provider": "anthropic",
            "model": "claude-sonnet-4-6",
            "extras": False,
        }
        yield Way(f"{a}openai", "openai", openai, _chat, **of_openai)
        yield Way(f"{a}openai raw", "openai", openai, _araw if aio else _raw, **of_openai)
        yield Way(f"{a}openai helper", "openai", openai, _helper, whole=False, **of_openai)
        yield Way(f"{a}openai responses", "openai", openai, _responses, extras=False, **of_openai)
        yield Way(f"{a}openai embeddings", "openai", openai, _embeddings, stream=False, extras=False, **of_openai)
        yield Way(f"{a}anthropic", "anthropic", anthropic, _messages, **claude)
        yield Way(f"{a}anthropic helper", "anthropic", anthropic, _messages_helper, whole=False, **claude)
        yield Way(
            f"{a}groq", "groq", groq, _chat, aio=aio, provider="groq", model="llama-3.3-70b-versatile", extras=False
        )
        yield Way(
            f"{a}google-genai",
            "google.genai",
            _genai,
            _generate_async if aio else _generate,
            aio=aio,
            provider="google",
            model="gemini-2.5-flash",
            extras=False,
        )
        for package in ("httpx", "httpx2"):
            yield Way(f"{a}{package}", package, _httpx(package, f"{kind}Client"), _apost if aio else _post, aio=aio)


WAYS: Final = [
    *_sdks(),
    Way("requests", "requests", _requests, _by_requests),
    Way("async aiohttp", "aiohttp", _aiohttp, _by_aiohttp, aio=True),
    Way("http.client", "http", lambda setting: setting, _by_http_client),
    Way("urllib", "urllib", lambda setting: setting, _by_urllib),
]
