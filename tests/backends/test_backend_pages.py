"""The pages of docs/backends: blocks run as pasted, commands exist, links lead somewhere, names are ours."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tokenmeter.cli import _parser
from tokenmeter.otel import semconv

PAGES = sorted((Path(__file__).parents[2] / "docs" / "backends").glob("*.md"))
BLOCKS = [
    pytest.param(block, id=f"{page.stem} {number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL), 1)
]
COMMANDS = [
    pytest.param(line.split("  #")[0], id=line.split("  #")[0].strip())
    for page in PAGES
    for line in re.findall(r"^ *(tokenmeter .*)$", page.read_text("utf-8"), re.MULTILINE)
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_runs_as_pasted(block: str) -> None:
    """Nobody listens at these addresses here; nothing is sent, and the program ends well."""
    block = block.replace("15_000", "3_600_000")
    done = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, timeout=120, check=False,
        env={"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_TIMEOUT": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_understood(command: str) -> None:
    _, *words = shlex.split(command)
    parser, _ = _parser(words[0])
    assert parser.parse_args(words).command == words[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]*)", page.read_text("utf-8")):
        assert not target or (page.parent / target).exists(), target


def test_names_are_ours() -> None:
    values = [one for value in vars(semconv).values() for one in (value if isinstance(value, tuple) else [value])]
    ours = {value for value in values if isinstance(value, str)}
    for page in PAGES:
        for name in re.findall(r"\b(tokenmeter\.(?:cost|trace|end)\b[a-zA-Z_.]*)", page.read_text("utf-8")):
            known = name in ours or any(one.endswith(".") and name.startswith(one) for one in ours)
            assert known, f"{page.name}: {name}"


def test_the_pictures_of_prometheus_show_the_queries_of_its_page() -> None:
    source = (Path(__file__).parents[2] / "tools" / "backends" / "pages.py").read_text("utf-8")
    page = next(page for page in PAGES if page.stem == "prometheus").read_text("utf-8")
    queries = re.findall(r"^_(?:SPEND|YUAN): Final = [\"'](.*)[\"']$", source, re.MULTILINE)
    assert len(queries) == 2
    assert all(query in page for query in queries)
