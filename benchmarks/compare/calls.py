"""The calls that are measured: OpenAI clients on a transport in the same process that answers at once.

Each environment of the comparison imports this file, so it needs openai and its HTTP library alone. An answer counts
1,200 tokens in, 800 of them from the cache, and 90 out. A stream has OpenAI's shape: each event arrives by itself and
the last one has the usage.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, Final

import openai
import openai._base_client as base

http: Final[Any] = importlib.import_module("httpx2" if hasattr(base, "httpx2") else "httpx")

MODEL: Final = {"openai": "gpt-4o", "deepseek": "deepseek-chat"}
ADDRESS: Final = {"openai": "https://api.openai.com/v1", "deepseek": "https://api.deepseek.com"}
MESSAGES: Final = [{"role": "user", "content": "用一句话介绍一下上海。"}]
THINKING: Final = {"reasoning_effort": "low", "service_tier": "default", "max_completion_tokens": 2000}
"""Parameters that a price may depend on."""
INPUT, CACHED, OUTPUT = 1200, 800, 90


def usage(vendor: str) -> dict[str, Any]:
    """The usage object of an answer, as this vendor writes it."""
    told: dict[str, Any] = {
        "prompt_tokens": INPUT,
        "completion_tokens": OUTPUT,
        "total_tokens": INPUT + OUTPUT,
        "prompt_tokens_details": {"cached_tokens": CACHED},
    }
    if vendor == "deepseek":
        return told | {"prompt_cache_hit_tokens": CACHED, "prompt_cache_miss_tokens": INPUT - CACHED}
    return told | {"completion_tokens_details": {"reasoning_tokens": 0}}


def answer(vendor: str, model: str) -> bytes:
    """The body of a whole answer."""
    message = {"role": "assistant", "content": "你好，世界。Hello there!", "refusal": None}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1750000000,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": usage(vendor),
    }
    return json.dumps(body, ensure_ascii=False).encode()


def events(vendor: str, model: str, chunks: int) -> list[bytes]:
    """The events of a stream with this many chunks of text."""

    def event(choices: Sequence[dict[str, Any]], told: dict[str, Any] | None = None) -> bytes:
        body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1750000000, "model": model}
        return f"data: {json.dumps({**body, 'choices': choices, 'usage': told}, ensure_ascii=False)}\n\n".encode()

    words = ["你好", " the", "，", " quick", "世界", " brown fox", "。", " 3.14"]
    text = [
        event([{"index": 0, "delta": {"content": words[number % len(words)]}, "finish_reason": None}])
        for number in range(chunks)
    ]
    last = event([{"index": 0, "delta": {}, "finish_reason": "stop"}])
    return [*text, last, event([], usage(vendor)), b"data: [DONE]\n\n"]


class _Pieces(http.SyncByteStream, http.AsyncByteStream):  # type: ignore[misc]
    """A body that can be read once, as from a connection: who asks again gets what is left."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = iter(pieces)

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self._pieces:
            yield piece


class Transport(http.BaseTransport, http.AsyncBaseTransport):  # type: ignore[misc]
    """Answers every request at once; `chunks` is the length of a stream, `model` what the answer names."""

    def __init__(self, vendor: str) -> None:
        self.vendor = vendor
        self.chunks = 50
        self.model = "gpt-4o-2024-08-06" if vendor == "openai" else MODEL[vendor]
        self._made: dict[tuple[str, int], tuple[bytes, list[bytes]]] = {}

    def handle_request(self, request: Any) -> Any:
        key = (self.model, self.chunks)
        if key not in self._made:
            self._made[key] = answer(self.vendor, self.model), events(self.vendor, *key)
        whole, pieces = self._made[key]
        if b'"stream":true' in request.content:
            return http.Response(200, headers={"content-type": "text/event-stream"}, stream=_Pieces(pieces))
        return http.Response(200, headers={"content-type": "application/json"}, stream=_Pieces([whole]))

    async def handle_async_request(self, request: Any) -> Any:
        return self.handle_request(request)


def client(vendor: str = "openai", kind: type = openai.OpenAI) -> tuple[Any, Transport]:
    """A client and the transport that answers it; `kind` is its class."""
    transport = Transport(vendor)
    carrier = http.AsyncClient if issubclass(kind, openai.AsyncOpenAI) else http.Client
    made = kind(api_key="sk-x", base_url=ADDRESS[vendor], http_client=carrier(transport=transport))
    return made, transport


def call(of: Any, model: str = "gpt-4o", **more: Any) -> Any:
    """One answer."""
    return of.chat.completions.create(model=model, messages=MESSAGES, **more)


def stream(of: Any, model: str = "gpt-4o") -> None:
    """One stream, read to its end, whose usage the caller asks for."""
    for _ in of.chat.completions.create(
        model=model, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    ):
        pass


async def async_call(of: Any) -> Any:
    """One answer."""
    return await of.chat.completions.create(model="gpt-4o", messages=MESSAGES)


async def async_stream(of: Any) -> None:
    """One stream, read to its end."""
    async for _ in await of.chat.completions.create(
        model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    ):
        pass
