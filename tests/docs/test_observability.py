"""Every Python block of docs/observability.md runs as pasted; those of the first section by `make test-newcomer`."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from tokenmeter import ExchangeRates
from tokenmeter.otel.dialects import DIALECTS

TEXT = (Path(__file__).parents[2] / "docs" / "observability.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs_as_pasted(block: str) -> None:
    if "opentelemetry.exporter.prometheus" in block:
        pytest.importorskip("opentelemetry.exporter.prometheus")
    block = block.replace("9464", "0")
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_the_table_has_every_dialect() -> None:
    assert re.findall(r"^\| `([a-z]+)` \|", TEXT, re.MULTILINE) == list(DIALECTS)


def test_the_table_of_rates_is_read(tmp_path: Path) -> None:
    (table,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)
    (tmp_path / "rates.toml").write_text(table, "utf-8")
    assert ExchangeRates.read(tmp_path / "rates.toml").rate("CNY", "USD", date(2026, 11, 1)) is not None


def test_names_in_the_text_are_ours() -> None:
    from tokenmeter.otel import semconv

    said = set(re.findall(r"`(tokenmeter\.(?:cost|trace|export)\.[a-z_.]+[a-z])", TEXT))
    values = [one for value in vars(semconv).values() for one in (value if isinstance(value, tuple) else [value])]
    ours = {value for value in values if isinstance(value, str)}
    assert said
    assert all(name in ours or f"{name}." in ours for name in said)
