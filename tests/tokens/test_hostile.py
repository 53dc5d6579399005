"""Texts made to hang, to fill the memory, or to make the native engine panic."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from importlib.metadata import version

import pytest

from tokenmeter.tokens import count_request, count_text
from tokenmeter.tokens.engine import load_tokenizer
from tokenmeter.tokens.families import family_names, load_family
from tokenmeter.tokens.long_words import forced_cuts
from tokenmeter.tokens.split_points import LONG_RUN, pieces

SHIPPED = [name for name in family_names() if load_family(name).vocabulary and load_family(name).shipped]

_SCRIPT = """
import pathlib, re, sys
from tokenmeter.tokens import count_request, count_text
from tokenmeter.tokens.engine import load_tokenizer
from tokenmeter.tokens.long_words import forced_cuts
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
            allowed = 2 * forced_cuts(text)  # none but with an old tiktoken
            assert abs(tokenizer.count(text) - bare) <= allowed, (before, after)


def test_an_old_tiktoken_gets_long_words_cut_and_the_count_is_not_called_exact() -> None:
    """Before 0.13 tiktoken takes quadratic time for one piece: 0.36 s for 30,000 letters, 6 s for 120,000."""
    old = tuple(map(int, version("tiktoken").split(".")[:2])) < (0, 13)
    letters = "a" * 120_000
    begun = time.process_time()
    counted = count_text(letters, provider="openai", model="gpt-4o")
    assert time.process_time() - begun < 2.0
    assert counted.method == ("stand-in" if old else "exact")
    assert counted.low <= 15_000 <= counted.high  # eight letters are a token
    assert ("upgrade tiktoken" in (counted.reason or "")) is old
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": letters}]}
    assert (count_request(body, provider="openai").method == "stand-in") is old
    prose = "The quick brown fox jumps over the lazy dog. " * 1000
    assert count_text(prose, provider="openai", model="gpt-4o").method == "exact"


@pytest.mark.parametrize("family", ["o200k", "deepseek-v3"])
def test_cutting_costs_less_than_two_tokens_a_cut(family: str) -> None:
    """What an old tiktoken is given, on whichever version is installed."""
    tokenizer = load_tokenizer(family)
    rng = random.Random(7)
    for words in (("a", "的", "ab"), ("hello", "的", "ing"), ("啊", "测试", "模型"), ("!", "=", "()")):
        text = "".join(rng.choice(words) for _ in range(20_000))
        cut = list(pieces(text, 1 << 11, 1 << 11))
        forced = sum(len(piece) >= 1 << 11 for piece in cut)
        assert "".join(cut) == text
        assert abs(sum(map(tokenizer.count, cut)) - tokenizer.count(text)) <= 2 * forced
