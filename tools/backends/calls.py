"""The forty calls: eight vendors, four billing in dollars and four in yuan, by the SDKs their users use.

Each row is a call that a team makes: plain, streamed, cached, thinking, left early, embeddings, at a price nobody
knows, long enough for the higher tier, or inside an agent. What the vendor answers is set at the provider on
this machine (docs/testing.md); who bills is told by the address alone, as in a program that knows nothing of us.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from tokenmeter.testing import Received, Reply, json_reply
from tokenmeter.testing.faults import Faults

Answerer = Callable[[Received], Reply]

ASKED: Final = "How much did this answer cost? 这个回答花了多少钱？"
MESSAGES: Final[Any] = [{"role": "user", "content": ASKED}]
AGENT: Final = "agent"


class Call(NamedTuple):
    """One call: its name, who sells the model, what kinds of call it is, how it is made and what is answered.

    `answer` are the provider's knobs, or its whole reply where no knob says it.
    """

    name: str
    vendor: str
    kinds: frozenset[str]
    make: Callable[[], None]
    answer: Faults | Answerer


BASE: Final = {
    "openai": "http://api.openai.com/v1",
    "xai": "http://api.x.ai/v1",
    "deepseek": "http://api.deepseek.com",
    "moonshot": "http://api.moonshot.cn/v1",
    "zhipu": "http://open.bigmodel.cn/api/paas/v4",
    "alibaba": "http://dashscope.aliyuncs.com/api/v1",
    "anthropic": "http://api.anthropic.com",
    "google": "http://generativelanguage.googleapis.com",
}


def _openai(vendor: str) -> Any:
    import openai

    return openai.OpenAI(base_url=BASE[vendor], api_key="any")


def _left(stream: Any) -> None:
    """Read two events of a stream and leave, as a user who closes the page does."""
    for count, _ in enumerate(stream, 1):
        if count == 2:
            break
    with contextlib.suppress(AttributeError):
        stream.close()


def chat(vendor: str, model: str, **more: Any) -> None:
    _openai(vendor).chat.completions.create(model=model, messages=MESSAGES, **more)


def chat_stream(vendor: str, model: str) -> None:
    for _ in _openai(vendor).chat.completions.create(model=model, messages=MESSAGES, stream=True):
        pass


def chat_left(vendor: str, model: str) -> None:
    _left(_openai(vendor).chat.completions.create(model=model, messages=MESSAGES, stream=True))


def responses(vendor: str, model: str) -> None:
    _openai(vendor).responses.create(model=model, input=ASKED)


def embeddings(vendor: str, model: str) -> None:
    _openai(vendor).embeddings.create(model=model, input=[ASKED, "price"])


def messages(_: str, model: str) -> None:
    import anthropic

    anthropic.Anthropic(base_url=BASE["anthropic"], api_key="any").messages.create(
        model=model, max_tokens=64, messages=MESSAGES
    )


def messages_stream(_: str, model: str) -> None:
    import anthropic

    client = anthropic.Anthropic(base_url=BASE["anthropic"], api_key="any")
    with client.messages.stream(model=model, max_tokens=64, messages=MESSAGES) as stream:
        for _event in stream:
            pass


def messages_left(_: str, model: str) -> None:
    import anthropic

    client = anthropic.Anthropic(base_url=BASE["anthropic"], api_key="any")
    _left(client.messages.create(model=model, max_tokens=64, messages=MESSAGES, stream=True))


def _genai() -> Any:
    from google import genai

    return genai.Client(api_key="any", vertexai=False, http_options={"base_url": BASE["google"]})


def generate(_: str, model: str) -> None:
    client = _genai()
    client.models.generate_content(model=model, contents=ASKED)


def generate_stream(_: str, model: str) -> None:
    client = _genai()
    for _event in client.models.generate_content_stream(model=model, contents=ASKED):
        pass


def generate_left(_: str, model: str) -> None:
    client = _genai()
    _left(client.models.generate_content_stream(model=model, contents=ASKED))


def _dashscope(model: str, **more: Any) -> Any:
    import dashscope

    dashscope.base_http_api_url = BASE["alibaba"]
    return dashscope.Generation.call(
        model=model, messages=MESSAGES, api_key="any", result_format="message", **more
    )  # fmt: skip


def generation(_: str, model: str) -> None:
    _dashscope(model)


def generation_stream(_: str, model: str) -> None:
    for _event in _dashscope(model, stream=True, incremental_output=True):
        pass


def generation_left(_: str, model: str) -> None:
    _left(_dashscope(model, stream=True, incremental_output=True))


def text_embedding(_: str, model: str) -> None:
    import dashscope

    dashscope.base_http_api_url = BASE["alibaba"]
    dashscope.TextEmbedding.call(model=model, api_key="any", input=[ASKED, "price"])


def _writing(_: Received) -> Reply:
    """A Claude that read some of the prompt from its cache and wrote more of it there."""
    usage = {
        "input_tokens": 200, "cache_read_input_tokens": 8000, "cache_creation_input_tokens": 800, "output_tokens": 500,
        "cache_creation": {"ephemeral_5m_input_tokens": 800, "ephemeral_1h_input_tokens": 0},
    }  # fmt: skip
    text = {"type": "text", "text": "A few cents."}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-haiku-4-5"}
    return json_reply({**head, "content": [text], "stop_reason": "end_turn", "stop_sequence": None, "usage": usage})


LONG: Final = "chunks=300;delay=2"
"""A stream that still comes while its reader leaves."""
_ROWS: Final[tuple[tuple[str, str, Callable[[str, str], None], str, str | Answerer], ...]] = (
    ("openai", "plain", chat, "gpt-5-mini", "in=1200;out=300;cached=0"),
    ("openai", "stream cached reasoning", chat_stream, "gpt-5", "in=4000;out=700;cached=2048;reasoning=448"),
    ("openai", "cached", responses, "gpt-4o", "in=3100;out=120;cached=1024"),
    ("openai", "embeddings", embeddings, "text-embedding-3-small", "in=6000"),
    ("openai", "unpriced", chat, "our-own-finetune", "in=500;out=50;cached=0"),
    ("anthropic", "plain", messages, "claude-sonnet-4-5", "in=2400;out=350;cached=0"),
    ("anthropic", "cached written", messages, "claude-haiku-4-5", _writing),
    ("anthropic", "stream cached", messages_stream, "claude-sonnet-4-5", "in=5200;out=800;cached=4096"),
    ("anthropic", "stream left", messages_left, "claude-sonnet-4-5", f"in=900;out=400;cached=0;{LONG}"),
    ("anthropic", "agent", messages, "claude-opus-4-5", "in=3000;out=900;cached=1000"),
    ("google", "plain", generate, "gemini-2.5-flash", "in=1500;out=240;cached=0"),
    ("google", "stream reasoning", generate_stream, "gemini-2.5-flash", "in=2000;out=900;cached=0;reasoning=600"),
    ("google", "stream left", generate_left, "gemini-2.5-flash", f"in=700;out=300;cached=0;{LONG}"),
    ("google", "long", generate, "gemini-2.5-pro", "in=250000;out=1000;cached=0"),
    ("google", "agent cached", generate, "gemini-2.5-flash", "in=8000;out=300;cached=6000"),
    ("xai", "plain", chat, "grok-code-fast-1", "in=1100;out=90;cached=0"),
    ("xai", "cached", chat, "grok-code-fast-1", "in=7000;out=150;cached=6400"),
    ("xai", "reasoning", chat, "grok-3-mini", "in=800;out=1200;cached=0;reasoning=1000"),
    ("xai", "stream", chat_stream, "grok-4", "in=950;out=210;cached=0"),
    ("xai", "agent stream", chat_stream, "grok-code-fast-1", "in=2600;out=310;cached=0"),
    ("deepseek", "plain", chat, "deepseek-chat", "in=1800;out=420;cached=0"),
    ("deepseek", "cached", chat, "deepseek-chat", "in=6400;out=380;cached=5120"),
    ("deepseek", "stream reasoning", chat_stream, "deepseek-reasoner", "in=900;out=1500;cached=0;reasoning=1100"),
    ("deepseek", "stream left", chat_left, "deepseek-chat", f"in=600;out=300;cached=0;{LONG}"),
    ("deepseek", "agent", chat, "deepseek-chat", "in=2200;out=260;cached=1024"),
    ("alibaba", "plain", generation, "qwen-max", "in=1300;out=330;cached=0"),
    ("alibaba", "stream cached", generation_stream, "qwen-plus", "in=4200;out=510;cached=2048"),
    ("alibaba", "stream left", generation_left, "qwen-max", f"in=640;out=300;cached=0;{LONG}"),
    ("alibaba", "embeddings", text_embedding, "text-embedding-v4", "in=5000"),
    ("alibaba", "agent", generation, "qwen-max", "in=2500;out=640;cached=0"),
    ("moonshot", "plain", chat, "kimi-k2-0905-preview", "in=1700;out=410;cached=0"),
    ("moonshot", "cached", chat, "kimi-k2-0905-preview", "in=6000;out=350;cached=4096"),
    ("moonshot", "stream", chat_stream, "kimi-k2-0905-preview", "in=1200;out=480;cached=0"),
    ("moonshot", "stream left", chat_left, "kimi-k2-0905-preview", f"in=500;out=300;cached=0;{LONG}"),
    ("moonshot", "unpriced", chat, "kimi-of-next-year", "in=400;out=40;cached=0"),
    ("zhipu", "plain", chat, "glm-5.3", "in=1400;out=360;cached=0"),
    ("zhipu", "cached", chat, "glm-4.6", "in=5600;out=420;cached=4096"),
    ("zhipu", "stream reasoning", chat_stream, "glm-4.6", "in=1000;out=900;cached=0;reasoning=500"),
    ("zhipu", "free", chat, "glm-4.7-flash", "in=800;out=200;cached=0"),
    ("zhipu", "agent stream", chat_stream, "glm-5.3", "in=3000;out=300;cached=0"),
)


def _call(vendor: str, kinds: str, way: Callable[[str, str], None], model: str, answer: str | Answerer) -> Call:
    if isinstance(answer, str):
        _, answer = Faults().of_model(f";{answer}")
    return Call(f"{vendor} {kinds}", vendor, frozenset(kinds.split()), lambda: way(vendor, model), answer)


CALLS: Final = tuple(_call(*row) for row in _ROWS)
