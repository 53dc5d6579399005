"""An untouched script under `opentelemetry-instrument`: metered with no line of its own."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tokenmeter.testing import ProviderServer

SCRIPT = """
import asyncio, json, sys
import openai

url = sys.argv[1]
messages = [{"role": "user", "content": "hi"}]
client = openai.OpenAI(base_url=url, api_key="any")
plain = client.chat.completions.create(model="gpt-4o", messages=messages)
stream = list(client.chat.completions.create(model="gpt-4o", messages=messages, stream=True))

async def later():
    async with openai.AsyncOpenAI(base_url=url, api_key="any") as again:
        return await again.responses.create(model="gpt-4o", input="hi")

answer = asyncio.run(later())
print(json.dumps([plain.usage.completion_tokens, len(stream), answer.usage.output_tokens]))
"""


@pytest.mark.cell(way="zero-code", form="create, stream, async responses")
def test_an_untouched_script(server: ProviderServer, tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.instrumentation.auto_instrumentation")
    pytest.importorskip("opentelemetry.distro")
    script, ledger = tmp_path / "script.py", tmp_path / "spend.db"
    script.write_text(SCRIPT, encoding="utf-8")
    launcher = Path(sys.executable).parent / "opentelemetry-instrument"
    settings = {"TOKENMETER_HOSTS": f"{server.host}=openai", "TOKENMETER_LEDGER": str(ledger)}
    none = dict.fromkeys(("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER"), "none")
    done = subprocess.run(
        [str(launcher), sys.executable, str(script), server.url()],
        capture_output=True,
        text=True,
        env={**os.environ, **settings, **none},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [12, 8, 12]
    assert len(server.requests) == 3
    with sqlite3.connect(ledger) as database:
        rows = database.execute("select input_tokens, output_tokens from calls").fetchall()
    assert rows == [(24, 12)] * 3
