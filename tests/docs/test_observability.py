"""Every Python block of docs/observability.md and its Chinese page runs as pasted, and both say the same.

Those of the first section run by `make test-newcomer`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from tokenmeter import ExchangeRates
from tokenmeter.otel.dialects import DIALECTS

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / name).read_text("utf-8") for name in ("observability.md", "zh/observability.md")}
BLOCKS = [
    pytest.param(block, id=f"{name} {number}")
    for name, text in PAGES.items()
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.DOTALL), 1)
]
each_page = pytest.mark.parametrize("page", PAGES)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs_as_pasted(block: str) -> None:
    if "opentelemetry.exporter.prometheus" in block:
        pytest.importorskip("opentelemetry.exporter.prometheus")
    block = block.replace("9464", "0")
    done = subprocess.run([sys.executable, "-c", block], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@each_page
def test_the_table_has_every_dialect(page: str) -> None:
    assert re.findall(r"^\| `([a-z]+)` \|", PAGES[page], re.MULTILINE) == list(DIALECTS)


@each_page
def test_the_table_of_rates_is_read(page: str, tmp_path: Path) -> None:
    (table,) = re.findall(r"```toml\n(.*?)```", PAGES[page], re.DOTALL)
    (tmp_path / "rates.toml").write_text(table, "utf-8")
    assert ExchangeRates.read(tmp_path / "rates.toml").rate("CNY", "USD", date(2026, 11, 1)) is not None


@each_page
def test_names_in_the_text_are_ours(page: str) -> None:
    from tokenmeter.otel import semconv

    said = set(re.findall(r"`(tokenmeter\.(?:cost|trace|export)\.[a-z_.]+[a-z])", PAGES[page]))
    values = [one for value in vars(semconv).values() for one in (value if isinstance(value, tuple) else [value])]
    ours = {value for value in values if isinstance(value, str)}
    assert said
    assert all(name in ours or f"{name}." in ours for name in said)


def test_the_pages_have_the_same_code_names_and_links() -> None:
    english, chinese = PAGES.values()
    uncommented = [
        [re.sub(r" +#.*|source = .*", "", block) for block in re.findall(r"```[^\n]*\n.*?```", text, re.DOTALL)]
        for text in (english, chinese)
    ]
    assert uncommented[0] == uncommented[1]
    first, second = (set(re.findall(r"`(tokenmeter[._][a-z_.]+)`", text)) for text in (english, chinese))
    assert first == second
    assert len(re.findall(r"^##", english, re.MULTILINE)) == len(re.findall(r"^##", chinese, re.MULTILINE))


@each_page
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]*)", PAGES[page]):
        assert not target or ((DOCS / page).parent / target).exists(), target
