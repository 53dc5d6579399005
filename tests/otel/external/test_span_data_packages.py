"""The real instrumentations of others, around the real openai SDK, on a local transport.

They are not dependencies of the tests: install `opentelemetry-instrumentation-genai-openai`,
`openinference-instrumentation-openai`, `opentelemetry-instrumentation-openai` or `logfire` to run these.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
    import json, sys
    sys.path[:0] = [{root!r}]
    from tests.rigs.made_records import record
    from opentelemetry import trace
    from tests.rigs.otel_rig import Rig
    from tokenmeter._support import guard
    guard.raise_failures(True)
    rig = Rig()
    {setup}
    import openai
    try:
        import httpx2 as httpx
        openai.OpenAI(api_key="x", http_client=httpx.Client())
    except (ImportError, TypeError):
        import httpx

    def answer(request):
        handle = rig.made.start(rig.open())
        handle.finish(record())
        found.append(handle.telemetry)
        return httpx.Response(200, json={{
            "id": "1", "object": "chat.completion", "created": 1, "model": "gpt-4o",
            "choices": [{{"index": 0, "message": {{"role": "assistant", "content": "hi"}}, "finish_reason": "stop"}}],
            "usage": {{"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}},
        }})

    found = []
    client = openai.OpenAI(api_key="x", http_client=httpx.Client(transport=httpx.MockTransport(answer)))
    client.chat.completions.create(model="gpt-4o", messages=[{{"role": "user", "content": "hi"}}])
    print(json.dumps([found, [dict(span.attributes) for span in rig.spans]], default=str))
"""

PACKAGES = [
    pytest.param(
        "opentelemetry.instrumentation.genai.openai",
        "from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor\n"
        "OpenAIInstrumentor().instrument(tracer_provider=rig.tracing)",
        "gen_ai.usage.input_tokens",
        id="official",
    ),
    pytest.param(
        "openinference.instrumentation.openai",
        "from openinference.instrumentation.openai import OpenAIInstrumentor\n"
        "OpenAIInstrumentor().instrument(tracer_provider=rig.tracing)",
        "llm.token_count.prompt",
        id="openinference",
    ),
    pytest.param(
        "opentelemetry.instrumentation.openai.v1",
        "from opentelemetry.instrumentation.openai import OpenAIInstrumentor\n"
        "OpenAIInstrumentor().instrument(tracer_provider=rig.tracing)",
        "gen_ai.usage.input_tokens",
        id="openllmetry",
    ),
    pytest.param(
        "logfire",
        "import logfire\nfrom opentelemetry.sdk.trace.export import SimpleSpanProcessor\n"
        "logfire.configure(send_to_logfire=False, console=False,"
        " additional_span_processors=[SimpleSpanProcessor(rig.exporter)])\nlogfire.instrument_openai()",
        "gen_ai.usage.input_tokens",
        id="logfire",
    ),
]


@pytest.mark.parametrize(("package", "setup", "tokens"), PACKAGES)
def test_their_one_span_has_their_tokens_and_our_cost(package: str, setup: str, tokens: str) -> None:
    try:
        importlib.import_module(package)
        importlib.import_module("openai")
    except ImportError as missing:
        pytest.skip(f"{missing.name} is not installed")
    script = textwrap.dedent(SCRIPT).format(root=str(Path(__file__).parents[3]), setup=setup)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: tuple[list[str], list[dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    telemetry, spans = found
    if not any(tokens in span and "tokenmeter.end" not in span for span in spans) and "nothing can be" in done.stderr:
        pytest.skip(f"{package} does not support the openai that is installed")
    assert telemetry == ["enriched"]
    (only,) = [span for span in spans if "tokenmeter.cost.amount" in span or tokens in span]
    assert only[tokens] == 10
    assert only["tokenmeter.cost.amount"] == "0.0012"
