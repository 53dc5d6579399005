"""Texts made to hang, to fill the memory, or to make the native engine panic."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tokenmeter.tokens.engine import load_tokenizer
from tokenmeter.tokens.families import family_names, load_family
from tokenmeter.tokens.split_points import LONG_RUN

SHIPPED = [name for name in family_names() if load_family(name).vocabulary and load_family(name).shipped]

_SCRIPT = """
import pathlib, re, sys
from tokenmeter.tokens.engine import load_tokenizer
n, m = 1_200_000, 300_000
texts = {
    "spaces before a word": " " * n + "x", "spaces": " " * n, "spaces before a line": " " * n + "\\n",
    "tabs": "\\t" * n + "x", "wide spaces": "\\u3000" * n + "x", "lines": "\\n" * n,
    "spaces and lines": " \\n" * (n // 2) + "x", "letters": "a" * m, "hanzi": "啊" * m, "marks": "a" + "\\u0301" * m,
    "controls": "\\x01" * m, "digits": "1" * m, "points": "!" * m, "emoji": "👨\\u200d👩\\u200d👧" * (n // 10),
    "lone surrogates": "\\ud800" * (n // 4), "unassigned": "\\u3040" * m, "less than": "<" * (n // 4),
    "special tokens": "<|im_start|>" * (n // 12),
}
tokenizer = load_tokenizer(sys.argv[1])
for name, text in texts.items():
    assert tokenizer.count(text) > 0, name
status = pathlib.Path("/proc/self/status")
print(int(re.search("VmHWM:\\\\s+([0-9]+)", status.read_text())[1]) // 1024 if status.exists() else 0)
"""


@pytest.mark.parametrize("family", ["o200k", "deepseek-v3"])
def test_nothing_panics_and_memory_is_bounded(family: str) -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT, family], capture_output=True, text=True, timeout=300)
    assert done.stderr == ""
    assert done.returncode == 0
    assert int(done.stdout) < 500


# Gemma's pattern takes runs of spaces by counted steps: nothing is taken out for it.
@pytest.mark.parametrize("family", [name for name in SHIPPED if name != "gemma"])
@pytest.mark.parametrize("space", [" ", "\t", "\u3000", " \t"], ids=["space", "tab", "wide", "mixed"])
def test_long_runs_of_space_count_as_the_bare_engine_counts_them(family: str, space: str) -> None:
    tokenizer = load_tokenizer(family)
    run = space * (LONG_RUN // len(space) + 3)
    assert len(run) >= LONG_RUN
    for before in ("", "a", "a\n", "!", "!\n"):
        for after in ("", "x", "1", "中", "゛", "😀", ".", "\n", "\nx", "\u200b"):
            text = before + run + after
            bare = len(tokenizer._core(text))  # type: ignore[attr-defined]
            assert tokenizer.count(text) == bare, (before, after)
