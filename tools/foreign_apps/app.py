"""An application whose calls somebody else traces; run by `tools/foreign_matrix.py` in an environment of its own.

    python app.py INSTRUMENTATION

`DEEPSEEK_URL` and `ANTHROPIC_URL` are where vendors answer, `OTEL_EXPORTER_OTLP_ENDPOINT` where spans go. With
`WAY=processor` a `CostSpanProcessor` prices the spans in here, else they leave as they are. Nothing of tokenmeter's
meters the calls.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

warnings.simplefilter("ignore")
DEEPSEEK, CLAUDE = os.environ["DEEPSEEK_URL"], os.environ["ANTHROPIC_URL"]
MESSAGES: Any = [{"role": "user", "content": "hi"}]


def processors() -> list[Any]:
    """What a program adds to its tracer provider: an exporter, and ours before or after it."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    answer: list[Any] = [BatchSpanProcessor(OTLPSpanExporter())]
    if os.environ["WAY"] == "processor":
        from tokenmeter.otel.external.processor import CostSpanProcessor

        answer.append(CostSpanProcessor(providers={"openai": "deepseek"}))
    return answer


def tracing() -> Any:
    """The program's tracer provider."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    provider = TracerProvider()
    for one in processors():
        provider.add_span_processor(one)
    trace.set_tracer_provider(provider)
    return provider


def sdk_calls(openai_client: Any = None) -> None:
    """With the openai SDK an answer, a stream and a failure, with the anthropic SDK an answer and a stream."""
    import anthropic
    import openai

    client = openai_client or openai.OpenAI(base_url=DEEPSEEK, api_key="any", max_retries=0)
    asked: Any = {"model": "deepseek-chat", "messages": MESSAGES}
    client.chat.completions.create(**asked)
    for _ in client.chat.completions.create(**asked, stream=True, stream_options={"include_usage": True}):
        pass
    with contextlib.suppress(openai.BadRequestError):
        client.chat.completions.create(**asked | {"model": "deepseek-chat;status=400"})
    if openai_client is not None:
        return
    claude = anthropic.Anthropic(base_url=CLAUDE, api_key="any", max_retries=0)
    said: Any = {"model": "claude-sonnet-4-5", "max_tokens": 99, "messages": MESSAGES}
    claude.messages.create(**said)
    with claude.messages.stream(**said) as stream:
        for _ in stream:
            pass


def official() -> None:
    from opentelemetry.instrumentation.genai.anthropic import AnthropicInstrumentor
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    provider = tracing()
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    AnthropicInstrumentor().instrument(tracer_provider=provider)
    sdk_calls()


def openllmetry() -> None:
    from opentelemetry.instrumentation.anthropic import AnthropicInstrumentor
    from opentelemetry.instrumentation.openai import OpenAIInstrumentor

    provider = tracing()
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    AnthropicInstrumentor().instrument(tracer_provider=provider)
    sdk_calls()


def openinference() -> None:
    from openinference.instrumentation.anthropic import AnthropicInstrumentor
    from openinference.instrumentation.openai import OpenAIInstrumentor

    provider = tracing()
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    AnthropicInstrumentor().instrument(tracer_provider=provider)
    sdk_calls()


def openlit() -> None:
    import openlit as theirs

    tracing()
    theirs.init(disable_metrics=True, disable_events=True)
    sdk_calls()


def logfire() -> None:
    import logfire as theirs

    theirs.configure(send_to_logfire=False, console=False, additional_span_processors=processors())
    theirs.instrument_openai()
    theirs.instrument_anthropic()
    sdk_calls()


def langsmith() -> None:
    import openai
    from langsmith import Client, tracing_context
    from langsmith.wrappers import wrap_openai

    provider = tracing()
    theirs = Client(api_key="any", api_url=f"{DEEPSEEK}/nowhere", otel_tracer_provider=provider, tracing_mode="otel")
    client = openai.OpenAI(base_url=DEEPSEEK, api_key="any", max_retries=0)
    with tracing_context(enabled=True, client=theirs):
        sdk_calls(wrap_openai(client))
    theirs.flush()


def pydantic_ai() -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.anthropic import AnthropicProvider
    from pydantic_ai.providers.openai import OpenAIProvider

    tracing()
    Agent.instrument_all()
    deepseek = OpenAIProvider(base_url=DEEPSEEK, api_key="any")
    agent = Agent(OpenAIChatModel("deepseek-chat", provider=deepseek))
    agent.run_sync("hi")
    import asyncio

    async def stream() -> None:
        async with agent.run_stream("hi") as answer:
            await answer.get_output()

    asyncio.run(stream())
    import anthropic

    claude = AnthropicProvider(anthropic_client=anthropic.AsyncAnthropic(base_url=CLAUDE, api_key="any", max_retries=0))
    Agent(AnthropicModel("claude-sonnet-4-5", provider=claude)).run_sync("hi")


def langchain_over_openai() -> None:
    """A framework's span around the SDK's own: each call is seen twice."""
    from langchain_openai import ChatOpenAI
    from openinference.instrumentation.langchain import LangChainInstrumentor
    from openinference.instrumentation.openai import OpenAIInstrumentor

    provider = tracing()
    LangChainInstrumentor().instrument(tracer_provider=provider)
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    model = ChatOpenAI(model="deepseek-chat", base_url=DEEPSEEK, api_key="any", stream_usage=True, max_retries=0)
    model.invoke("hi")
    for _ in model.stream("hi"):
        pass


APPLICATIONS: dict[str, Callable[[], None]] = {
    one.__name__: one
    for one in (
        official, openllmetry, openinference, openlit, logfire, langsmith, pydantic_ai, langchain_over_openai,
    )
}  # fmt: skip


def main() -> None:
    APPLICATIONS[sys.argv[1]]()
    from opentelemetry import trace

    provider: Any = trace.get_tracer_provider()
    provider.force_flush()
    provider.shutdown()


if __name__ == "__main__":
    main()
