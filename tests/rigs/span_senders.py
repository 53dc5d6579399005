"""A program's calls whose spans are exported, collectors in processes of their own, and OTLP as it is in files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from tokenmeter.usage import Source, Usage

__all__ = ["ask", "otlp_json", "process"]


def ask(meter: Any) -> None:
    """Calls of many kinds."""
    with meter.scope("agent"), meter.scope("step"):
        with meter.call("deepseek", "deepseek-chat") as call:
            call.observe_usage(Usage(input_tokens=1200, output_tokens=300, cache_read_input_tokens=1000))
        with meter.call("openai", "gpt-4o", operation="embeddings") as call:
            call.observe_usage(Usage(input_tokens=700, output_tokens=0))
    with meter.call("openai", "gpt-4o") as call:
        call.observe_usage(
            Usage(input_tokens=90, output_tokens=20, sources={"output_tokens": Source.ESTIMATED},
                  ranges={"output_tokens": (15, 25)})
        )  # fmt: skip
    with meter.call("openai", "no-such-model") as call:
        call.observe_usage(Usage(input_tokens=1, output_tokens=1, source=Source.COUNTED))
    with pytest.raises(ValueError, match="broken"), meter.call("deepseek", "deepseek-chat"):
        raise ValueError("broken")


@contextmanager
def process(endpoint: str, ledger: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A collector in a process of its own, and where it listens for HTTP."""
    command = [sys.executable, "-m", "tokenmeter", "collector", "--endpoint", endpoint, "--ledger", ledger,
               "--http", "0", "--grpc", "0", "--metrics-every", "0"]  # fmt: skip
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment})
    try:
        assert running.stdout is not None
        line = running.stdout.readline()
        yield running, "http://" + line.partition("over HTTP on ")[2].partition(";")[0].partition(",")[0]
    finally:
        running.kill()
        running.wait(30)


def otlp_json(request: Any) -> str:
    """An export request as OTLP JSON, in the words of its specification: ids in hexadecimal digits, enums as numbers.

    So does the file exporter of OpenTelemetry's collector write it, one request on each line.
    """
    whole = MessageToDict(request, use_integers_for_enums=True)
    for resource in whole["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for name in ("traceId", "spanId", "parentSpanId"):
                    if name in span:
                        span[name] = b64decode(span[name]).hex()
    return json.dumps(whole)
