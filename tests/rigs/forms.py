"""Every form of call the OpenAI SDK has, each as a function from a client and a model to what the caller sees.

Used twice in each test, bare and metered: the two lists must be equal.
"""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

MESSAGES: Any = [{"role": "user", "content": "今天天气怎么样？ What is the price of a call?"}]
ASKED: Any = {"stream_options": {"include_usage": True}}


class Weather(BaseModel):
    city: str
    degrees: int


TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "strict": True,
            "parameters": {**Weather.model_json_schema(), "additionalProperties": False},
        },
    }
]


@dataclass(frozen=True)
class Form:
    """A way to call, and what is to be metered: `reported` is whether the usage reaches the wire unasked or can be
    asked for."""

    name: str
    api: str
    sync: Callable[[Any, str], list[str]]
    aio: Callable[[Any, str], Awaitable[list[str]]]
    stream: bool = False
    reported: bool = True
    output: bool = True


def shown(thing: Any) -> str:
    """Type, fields, values and order, as pydantic shows them."""
    return f"{type(thing).__qualname__} {thing!r}"


def _plain(pick: Callable[[Any], Callable[..., Any]], **arguments: Any) -> dict[str, Any]:
    def sync(client: Any, model: str) -> list[str]:
        return [shown(pick(client)(model=model, **arguments))]

    async def aio(client: Any, model: str) -> list[str]:
        return [shown(await pick(client)(model=model, **arguments))]

    return {"sync": sync, "aio": aio}


def _stream(pick: Callable[[Any], Callable[..., Any]], **arguments: Any) -> dict[str, Any]:
    def sync(client: Any, model: str) -> list[str]:
        stream = pick(client)(model=model, stream=True, **arguments)
        return [type(stream).__qualname__, *map(shown, stream)]

    async def aio(client: Any, model: str) -> list[str]:
        stream = await pick(client)(model=model, stream=True, **arguments)
        return [type(stream).__qualname__, *[shown(chunk) async for chunk in stream]]

    return {"sync": sync, "aio": aio, "stream": True}


def _helper(pick: Callable[[Any], Callable[..., Any]], final: str, **arguments: Any) -> dict[str, Any]:
    def sync(client: Any, model: str) -> list[str]:
        with pick(client)(model=model, **arguments) as stream:
            seen = [shown(event) for event in stream]
            return [*seen, shown(getattr(stream, final)())]

    async def aio(client: Any, model: str) -> list[str]:
        async with pick(client)(model=model, **arguments) as stream:
            seen = [shown(event) async for event in stream]
            return [*seen, shown(await getattr(stream, final)())]

    return {"sync": sync, "aio": aio, "stream": True}


def _raw(stream: bool) -> dict[str, Any]:
    extra: dict[str, Any] = {"stream": True} if stream else {}

    def sync(client: Any, model: str) -> list[str]:
        raw = client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES, **extra)
        parsed = raw.parse()
        seen = list(map(shown, parsed)) if stream else [shown(parsed)]
        return [type(raw).__qualname__, str(raw.status_code), raw.headers["content-type"], *seen]

    async def aio(client: Any, model: str) -> list[str]:
        raw = await client.chat.completions.with_raw_response.create(model=model, messages=MESSAGES, **extra)
        parsed = raw.parse()
        seen = [shown(chunk) async for chunk in parsed] if stream else [shown(parsed)]
        return [type(raw).__qualname__, str(raw.status_code), raw.headers["content-type"], *seen]

    return {"sync": sync, "aio": aio, "stream": stream, "reported": not stream}


def _streaming_response(stream: bool) -> dict[str, Any]:
    extra: dict[str, Any] = {"stream": True} if stream else {}

    def sync(client: Any, model: str) -> list[str]:
        asked = client.chat.completions.with_streaming_response.create(model=model, messages=MESSAGES, **extra)
        with asked as response:
            return [type(response).__qualname__, *response.iter_lines()]

    async def aio(client: Any, model: str) -> list[str]:
        asked = client.chat.completions.with_streaming_response.create(model=model, messages=MESSAGES, **extra)
        async with asked as response:
            return [type(response).__qualname__, *[line async for line in response.iter_lines()]]

    return {"sync": sync, "aio": aio, "stream": stream, "reported": not stream}


def _speech() -> dict[str, Any]:
    arguments: dict[str, Any] = {"voice": "alloy", "input": "hello"}

    def sync(client: Any, model: str) -> list[str]:
        return [repr(client.audio.speech.create(model=model, **arguments).read())]

    async def aio(client: Any, model: str) -> list[str]:
        return [repr(await (await client.audio.speech.create(model=model, **arguments)).aread())]

    return {"sync": sync, "aio": aio}


def _transcription(stream: bool) -> dict[str, Any]:
    extra: dict[str, Any] = {"stream": True} if stream else {}

    def sync(client: Any, model: str) -> list[str]:
        got = client.audio.transcriptions.create(model=model, file=_sound(), **extra)
        return list(map(shown, got)) if stream else [shown(got)]

    async def aio(client: Any, model: str) -> list[str]:
        got = await client.audio.transcriptions.create(model=model, file=_sound(), **extra)
        return [shown(event) async for event in got] if stream else [shown(got)]

    return {"sync": sync, "aio": aio, "stream": stream}


def _sound() -> io.BytesIO:
    sound = io.BytesIO(b"RIFF")
    sound.name = "a.wav"
    return sound


def _chat(client: Any) -> Any:
    return client.chat.completions.create


CHAT = [
    Form("create", "openai.chat", **_plain(_chat, messages=MESSAGES)),
    Form("create stream", "openai.chat", **_stream(_chat, messages=MESSAGES)),
    Form("create stream, usage asked", "openai.chat", **_stream(_chat, messages=MESSAGES, **ASKED)),
    Form("create tools", "openai.chat", **_plain(_chat, messages=MESSAGES, tools=TOOLS)),
    Form("create stream tools", "openai.chat", **_stream(_chat, messages=MESSAGES, tools=TOOLS)),
    Form(
        "parse",
        "openai.chat",
        **_plain(lambda c: c.chat.completions.parse, messages=MESSAGES, response_format=Weather),
    ),
    Form(
        "stream helper",
        "openai.chat",
        **_helper(lambda c: c.chat.completions.stream, "get_final_completion", messages=MESSAGES),
    ),
    Form("raw", "openai.chat", **_raw(stream=False)),
    Form("raw stream", "openai.chat", **_raw(stream=True)),
    Form("streaming response", "openai.chat", **_streaming_response(stream=False)),
    Form("streaming response of a stream", "openai.chat", **_streaming_response(stream=True)),
]
RESPONSES = [
    Form("responses", "openai.responses", **_plain(lambda c: c.responses.create, input="hi")),
    Form("responses stream", "openai.responses", **_stream(lambda c: c.responses.create, input="hi")),
    Form(
        "responses helper",
        "openai.responses",
        **_helper(lambda c: c.responses.stream, "get_final_response", input="hi"),
    ),
    Form(
        "responses parse",
        "openai.responses",
        **_plain(lambda c: c.responses.parse, input="hi", text_format=Weather),
    ),
]
OTHERS = [
    Form("embeddings", "openai.embeddings", **_plain(lambda c: c.embeddings.create, input=["a", "b"]), output=False),
    Form("completions", "openai.completions", **_plain(lambda c: c.completions.create, prompt="hi")),
    Form("completions stream", "openai.completions", **_stream(lambda c: c.completions.create, prompt="hi")),
]
MEDIA = [
    Form("image", "openai.images", **_plain(lambda c: c.images.generate, prompt="a cat")),
    Form("image stream", "openai.images", **_stream(lambda c: c.images.generate, prompt="a cat")),
    Form("transcription", "openai.transcriptions", **_transcription(stream=False)),
    Form("transcription stream", "openai.transcriptions", **_transcription(stream=True)),
    Form("speech", "openai.speech", **_speech(), reported=False),
]
TEXT = [*CHAT, *RESPONSES, *OTHERS]
