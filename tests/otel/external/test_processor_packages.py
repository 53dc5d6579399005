"""The real instrumentations of others around the real SDKs, and our processor: costs right, each call once.

They are no dependencies of the tests: install `openai anthropic` and `opentelemetry-instrumentation-genai-openai`,
`opentelemetry-instrumentation-genai-anthropic`, `opentelemetry-instrumentation-openai`,
`opentelemetry-instrumentation-anthropic`, `openinference-instrumentation-openai`,
`openinference-instrumentation-anthropic`, `openlit` or `logfire` to run these. Each runs in a process of its own,
since they patch the SDKs for good. `make test-foreign` installs them and more, and runs applications with the processor
and with the collector.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import textwrap
from decimal import Decimal

import pytest

SCRIPT = """
    import json, sys, warnings
    warnings.simplefilter("ignore")
    import tokenmeter
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from tokenmeter._support import guard
    from tokenmeter.otel.external.processor import CostSpanProcessor
    from tokenmeter.testing import capture, provider_server
    import openai, anthropic

    guard.raise_failures(True)
    exporter = InMemorySpanExporter()
    with provider_server() as server:
        host = server.origin.rpartition("/")[2]
        meter = tokenmeter.configure(hosts={{host: sys.argv[1]}})
        processors = [CostSpanProcessor(providers={{"openai": "deepseek"}}), SimpleSpanProcessor(exporter)]
        provider = TracerProvider(shutdown_on_exit=False)
        if {own_provider}:
            for one in processors:
                provider.add_span_processor(one)
            trace.set_tracer_provider(provider)
        {setup}
        messages = [{{"role": "user", "content": "hi"}}]
        with capture() as records:
            if sys.argv[1] == "anthropic":
                client = anthropic.Anthropic(base_url=server.url("anthropic"), api_key="any")
                client.messages.create(model="claude-sonnet-4-5", max_tokens=99, messages=messages)
            else:
                client = openai.OpenAI(base_url=server.url("deepseek"), api_key="any")
                asked = {{"model": "deepseek-chat", "messages": messages}}
                client.chat.completions.create(**asked)
                for _ in client.chat.completions.create(**asked, stream=True, stream_options={{"include_usage": True}}):
                    pass
                try:
                    client.chat.completions.create(**asked | {{"model": "deepseek-chat;status=400"}})
                except openai.BadRequestError:
                    pass
    print(json.dumps({{
        "records": [
            [r.provider, str(r.end), r.usage.to_dict(), None if r.cost.amount is None else str(r.cost.amount)]
            for r in records
        ],
        "spans": [
            (span.attributes or {{}}).get("tokenmeter.cost.amount")
            for span in exporter.get_finished_spans() if "tokenmeter.cost.status" in span.attributes
        ],
    }}))
"""


def otel(openai: str, anthropic: str) -> str:
    """Lines that switch on two OpenTelemetry instrumentors."""
    return (
        f"from {openai} import OpenAIInstrumentor\nfrom {anthropic} import AnthropicInstrumentor\n"
        "OpenAIInstrumentor().instrument(tracer_provider=provider)\n"
        "AnthropicInstrumentor().instrument(tracer_provider=provider)"
    )


PACKAGES = [
    pytest.param(
        ("opentelemetry.instrumentation.genai.openai", "opentelemetry.instrumentation.genai.anthropic"),
        otel("opentelemetry.instrumentation.genai.openai", "opentelemetry.instrumentation.genai.anthropic"),
        True,
        id="official",
    ),
    pytest.param(
        ("opentelemetry.instrumentation.openai.v1", "opentelemetry.instrumentation.anthropic"),
        otel("opentelemetry.instrumentation.openai", "opentelemetry.instrumentation.anthropic"),
        True,
        id="openllmetry",
    ),
    pytest.param(
        ("openinference.instrumentation.openai", "openinference.instrumentation.anthropic"),
        otel("openinference.instrumentation.openai", "openinference.instrumentation.anthropic"),
        True,
        id="openinference",
    ),
    pytest.param(
        ("openlit",),
        "import openlit\nopenlit.init(tracer=provider.get_tracer('openlit.otel.tracing'), disable_metrics=True)",
        True,
        id="openlit",
    ),
    pytest.param(
        ("logfire",),
        "import logfire\nlogfire.configure(send_to_logfire=False, console=False,"
        " additional_span_processors=processors)\nlogfire.instrument_openai()\nlogfire.instrument_anthropic()",
        False,
        id="logfire",
    ),
]

# The server counts 24 tokens in, 8 of them cached, and 12 out.
CHAT = {"input_tokens": 24, "cache_read_input_tokens": 8, "output_tokens": 12}
DEEPSEEK = (Decimal(1) * 16 + Decimal("0.02") * 8 + Decimal(4) * 12) / 10**6
CLAUDE = (Decimal(3) * 16 + Decimal("0.3") * 8 + Decimal(15) * 12) / 10**6


@pytest.mark.parametrize(("modules", "setup", "own_provider"), PACKAGES)
@pytest.mark.parametrize("vendor", ["deepseek", "anthropic"])
def test_each_call_is_priced_once(modules: tuple[str, ...], setup: str, own_provider: bool, vendor: str) -> None:
    for module in ("openai", "anthropic", *modules):
        try:
            importlib.import_module(module)
        except ImportError as missing:
            pytest.skip(f"{missing.name} is not installed")
    setup = textwrap.indent(setup, " " * 8).strip()
    script = textwrap.dedent(SCRIPT).format(own_provider=own_provider, setup=setup.replace(" " * 8, " " * 4))
    done = subprocess.run([sys.executable, "-c", script, vendor], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    calls = [record for record in answer["records"] if record[3] is not None]
    expected = [CLAUDE] if vendor == "anthropic" else [DEEPSEEK, DEEPSEEK]
    assert [Decimal(amount) for *_, amount in calls] == expected
    for provider, end, usage, _ in calls:
        assert (provider, end) == (vendor, "complete")
        assert {name: tokens for name, tokens in usage.items() if tokens} == CHAT
    assert sorted(filter(None, answer["spans"])) == sorted(amount for *_, amount in calls), "said once"
    failed = [record for record in answer["records"] if record[3] is None]
    assert [record[1] for record in failed] == ([] if vendor == "anthropic" else ["error"])
