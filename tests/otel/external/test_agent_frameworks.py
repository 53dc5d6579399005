"""Agent frameworks that trace their own model calls: one span has the tokens of a call, and the cost comes to it.

They are no dependencies of the tests; `python tools/sdk_matrix_clients.py --only tracing-agents` installs them. Each
runs in a process of its own, since it sets the global tracer provider.
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
    import json, os, sys, threading
    from http.server import BaseHTTPRequestHandler, HTTPServer
    sys.path[:0] = [{root!r}]
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    import tokenmeter
    from tokenmeter._support import guard
    guard.raise_failures(True)

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.end_headers()
            self.wfile.write(body)
        def log_message(self, *arguments):
            pass

    def chunk(**fields):
        made = dict(id="1", object="chat.completion.chunk", created=1, model="deepseek-chat", **fields)
        return f"data: {{json.dumps(made)}}\\n\\n".encode()

    server = HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{{server.server_port}}"
    exporter, tracing = InMemorySpanExporter(), TracerProvider()
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(tracing)
    meter = tokenmeter.Tokenmeter(hosts={{host: {provider!r}}})
    meter.instrument()
    import tokenmeter.testing
    with tokenmeter.testing.capture(meter) as records:
        {run}
        meter.flush()
    spans = [dict(span.attributes) for span in exporter.get_finished_spans()]
    print(json.dumps([[[one.telemetry, one.usage.input_tokens, str(one.cost.amount)] for one in records], spans],
          default=str))
"""
STRANDS = """
kind = "text/event-stream"
body = (
    chunk(choices=[{"index": 0, "delta": {"role": "assistant", "content": "hi"}, "finish_reason": None}])
    + chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    + chunk(choices=[], usage={"prompt_tokens": 24, "completion_tokens": 12, "total_tokens": 36})
    + b"data: [DONE]\\n\\n"
)
from strands import Agent
from strands.models.openai import OpenAIModel
model = OpenAIModel(client_args={"api_key": "k", "base_url": f"http://{host}/v1"}, model_id="deepseek-chat")
Agent(model=model, callback_handler=None)("hi")
"""
ADK = """
kind = "application/json"
body = json.dumps({
    "candidates": [{"content": {"role": "model", "parts": [{"text": "hi"}]}, "finishReason": "STOP", "index": 0}],
    "usageMetadata": {"promptTokenCount": 24, "candidatesTokenCount": 12, "totalTokenCount": 36},
    "modelVersion": "gemini-2.5-flash",
}).encode()
os.environ.update(GOOGLE_GEMINI_BASE_URL=f"http://{host}", GOOGLE_API_KEY="k")
import asyncio
from google.adk.agents import Agent
from google.adk.runners import InMemoryRunner
from google.genai import types

async def main():
    runner = InMemoryRunner(agent=Agent(name="x", model="gemini-2.5-flash", instruction="be"), app_name="x")
    session = await runner.session_service.create_session(app_name="x", user_id="u")
    asked = types.Content(role="user", parts=[types.Part(text="hi")])
    async for _ in runner.run_async(user_id="u", session_id=session.id, new_message=asked):
        pass

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("package", "provider", "run", "costs"),
    [
        # DeepSeek's list price at the hour of the run: off-peak or peak.
        pytest.param("strands", "deepseek", STRANDS, ("0.000072", "0.000144"), id="strands"),
        pytest.param("google.adk", "google", ADK, ("0.0000372",), id="google-adk"),
    ],
)
def test_a_call_has_one_span_with_tokens_and_cost(
    package: str, provider: str, run: str, costs: tuple[str, ...]
) -> None:
    try:
        importlib.import_module(package)
    except ImportError:
        pytest.skip(f"{package} is not installed")
    script = textwrap.dedent(SCRIPT).format(
        root=str(Path(__file__).parents[3]), provider=provider, run=textwrap.indent(run.strip(), " " * 4).lstrip()
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    records, spans = json.loads(done.stdout.splitlines()[-1])
    ((telemetry, tokens, cost),) = records
    assert (telemetry, tokens) == ("enriched", 24)
    assert cost in costs
    calls: list[dict[str, Any]] = [
        span for span in spans if span.get("gen_ai.operation.name") in ("chat", "generate_content")
    ]
    assert [(one["gen_ai.usage.input_tokens"], one["tokenmeter.cost.amount"]) for one in calls] == [(24, cost)]
