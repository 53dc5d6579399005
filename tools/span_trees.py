"""Show what four layers make of one call: the framework's spans, other instrumentations', and ours, each with its cost.

    python tools/span_trees.py [--only langchain ...]

Each case runs in an environment of its own (made as by `sdk_matrix.py`), with the framework's tracing switched on,
against a provider on this machine that bills 24 tokens in and 12 out. Printed are the tree of spans with the tokens
and the cost that each carries, and, beside the requests that the provider received, how often our records and each
metric counted. A call is counted once where all of these say 1.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent))
from sdk_matrix import ROOT, environment

TRACED: Final = (
    "langchain-openai", "litellm", "llama-index-llms-openai", "openinference-instrumentation-langchain",
    "openinference-instrumentation-litellm", "openinference-instrumentation-llama-index",
    "openinference-instrumentation-openai", "opentelemetry-instrumentation-genai-openai",
)  # fmt: skip
ENVIRONMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "traced": TRACED,
    "clients-agents": ("openai-agents", "pydantic-ai-slim[anthropic]>=2.60"),
}
TOKENS: Final = (
    ("gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"),
    ("llm.token_count.prompt", "llm.token_count.completion"),
)


# The five ways ---------------------------------------------------------------------------------------------------


def langchain(origin: str) -> None:
    from langchain_openai import ChatOpenAI
    from openinference.instrumentation.langchain import LangChainInstrumentor

    LangChainInstrumentor().instrument()
    ChatOpenAI(model="gpt-4o", base_url=f"{origin}/v/openai/v1", api_key="k").invoke("hi")


def litellm(origin: str) -> None:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm as library
    from openinference.instrumentation.litellm import LiteLLMInstrumentor

    LiteLLMInstrumentor().instrument()
    library.completion(
        "openai/gpt-4o", [{"role": "user", "content": "hi"}], api_base=f"{origin}/v/openai/v1", api_key="k"
    )


def llama_index(origin: str) -> None:
    from llama_index.llms.openai import OpenAI
    from openinference.instrumentation.llama_index import LlamaIndexInstrumentor

    LlamaIndexInstrumentor().instrument()
    OpenAI(model="gpt-4o", api_base=f"{origin}/v/openai/v1", api_key="k").complete("hi")


def pydantic_ai(origin: str) -> None:
    from pydantic_ai import Agent
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    Agent.instrument_all()
    provider = AnthropicProvider(base_url=f"{origin}/v/anthropic", api_key="k")
    asyncio.run(Agent(AnthropicModel("claude-sonnet-5-5", provider=provider)).run("hi"))


def instrumented_twice(origin: str) -> None:
    import openai
    from openinference.instrumentation.openai import OpenAIInstrumentor as OpenInference
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor as Official

    Official().instrument()
    OpenInference().instrument()
    client = openai.OpenAI(base_url=f"{origin}/v/openai/v1", api_key="k")
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])


CASES: Final[Mapping[str, tuple[str, str, str, Callable[[str], None]]]] = {
    "langchain": ("langchain over openai, traced by openinference", "traced", "openai", langchain),
    "litellm": ("litellm over openai, traced by openinference", "traced", "openai", litellm),
    "llama-index": ("llama-index over openai, traced by openinference", "traced", "openai", llama_index),
    "pydantic-ai": ("pydantic-ai over anthropic, traced by itself", "clients-agents", "anthropic", pydantic_ai),
    "openai": (
        "openai, instrumented by opentelemetry-instrumentation-genai-openai and by openinference at once",
        "traced",
        "openai",
        instrumented_twice,
    ),
}


# One case, in its own process ------------------------------------------------------------------------------------


def show(name: str) -> bool:
    """Make one call in the case's way, print what came of it; whether everything was counted once."""
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    import tokenmeter
    from tokenmeter.cli.demo import tree
    from tokenmeter.testing import capture, provider_server

    title, _, provider, call = CASES[name]
    exporter, reader = InMemorySpanExporter(), InMemoryMetricReader()
    tracing = TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(tracing)
    metrics.set_meter_provider(MeterProvider([reader]))
    with provider_server() as server:
        meter = tokenmeter.configure(hosts={server.host: provider})
        tokenmeter.instrument()
        with capture(meter) as records:
            with trace.get_tracer("program").start_as_current_span("answer a question"):
                call(server.origin)
            until = time.monotonic() + 10
            while not records.drain() and time.monotonic() < until:
                time.sleep(0.05)
        requests = len([request for request in server.requests if request.method == "POST"])
    spans = list(exporter.get_finished_spans())
    print(f"\n{title}")
    for shown in tree(spans, line):
        print(shown)
    counted = counts(reader)
    priced = [span for span in spans if "tokenmeter.cost.amount" in span.attributes]
    told = {"requests at the provider": requests, "records": len(records), "spans with a cost": len(priced)}
    for what, count in (told | counted).items():
        print(f"    {what:88}{count:g}")
    once = set(told.values()) == {1} and counted.get("tokenmeter.calls") == 1
    once = once and counted.get("tokenmeter.usage, input and output") == 36
    print(f"    {'once, and all of it' if once else 'NOT once'}")
    return once


def line(span: Any, depth: int) -> str:
    """A span's name, who made it, its tokens and its cost."""
    name = "  " * depth + span.name
    return f"{name:40} {span.instrumentation_scope.name:44} {told(span.attributes)}"


def told(attributes: Mapping[str, Any]) -> str:
    words = [
        f"{attributes[given]} / {attributes.get(taken, '-')} tokens" for given, taken in TOKENS if given in attributes
    ]
    if "tokenmeter.cost.amount" in attributes:
        words.append(f"{attributes['tokenmeter.cost.amount']} {attributes['tokenmeter.cost.currency']}")
    return ", ".join(words)


def counts(reader: Any) -> dict[str, float]:
    """What each metric came to, whoever emits it: how often a histogram counted, and the sum of a counter."""
    found: dict[str, float] = {}
    data = reader.get_metrics_data()
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    if metric.name.startswith("gen_ai.client."):
                        kind = point.attributes.get("gen_ai.token.type", "")
                        name = f"{metric.name} {kind} by {scope.scope.name}".replace("  ", " ")
                    elif metric.name == "tokenmeter.usage":
                        name = "tokenmeter.usage, input and output"
                    elif metric.name in ("tokenmeter.calls", "tokenmeter.cost"):
                        name = metric.name
                    else:
                        continue
                    found[name] = found.get(name, 0) + float(getattr(point, "count", getattr(point, "value", 0)))
    return found


def main(argv: list[str] | None = None) -> int:
    """Show every case; 0 if each was counted once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    parser.add_argument("--here", action="store_true", help="in this environment: what the command does in each")
    arguments = parser.parse_args(argv)
    if arguments.here:
        return max(0 if show(name) else 1 for name in arguments.only)
    failed = []
    for name in arguments.only:
        python = environment(CASES[name][1], ENVIRONMENTS[CASES[name][1]])
        command = [str(python), "-W", "ignore", __file__, "--here", "--only", name]
        failed += [name] if subprocess.run(command, cwd=ROOT, check=False).returncode else []
    print(f"\n{'counted once in every case' if not failed else 'NOT once: ' + json.dumps(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
