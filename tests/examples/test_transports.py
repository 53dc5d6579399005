"""The examples for transports that no hook sees: each runs, and its figures are those it was given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("spark_websocket", "1 call, 14 tokens out, reported", id="WebSocket"),
        pytest.param("realtime", "2 calls, 53 tokens heard, 0.", id="realtime"),
        pytest.param("xai_grpc", "1 call, 239 tokens out, 0.", id="gRPC: 57 + 182 of reasoning"),
    ],
)
def test_it_runs(name: str, said: str) -> None:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "TOKENMETER_"))}
    command = [sys.executable, str(ROOT / "examples" / f"{name}.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=clean, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
