"""Every Python block of docs/observability.md runs as pasted."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[2] / "docs" / "observability.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs_as_pasted(block: str) -> None:
    if "opentelemetry.exporter.prometheus" in block:
        pytest.importorskip("opentelemetry.exporter.prometheus")
    block = block.replace("9464", "0")
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_names_in_the_text_are_ours() -> None:
    from tokenmeter.sinks import semconv

    said = set(re.findall(r"`(tokenmeter\.(?:cost|trace)\.[a-z_.]+[a-z])", TEXT))
    ours = {value for value in vars(semconv).values() if isinstance(value, str)}
    assert said
    assert all(name in ours or f"{name}." in ours for name in said)
