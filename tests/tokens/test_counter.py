"""Counts of one model's text: with which vocabulary, and within which range."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter.tokens import long_words
from tokenmeter.tokens.counter import counter


@pytest.mark.parametrize(
    ("model", "text", "counted", "band"),
    [
        # baichuan: zh 1.0, from 0.92 to 1.2; each end has one token of slack, since short texts are off by a whole one.
        pytest.param("baichuan4", "价", 10, (8, 13), id="floor(9.2) - 1, ceil(12.0) + 1"),
        pytest.param("baichuan4", "价", 1, (1, 3), id="never less than one token"),
        pytest.param("baichuan4", "价", 100, (91, 121), id="floor(92) - 1, ceil(120) + 1"),
        # en 1.18, from 1.05 to 1.35
        pytest.param("baichuan4", "price", 118, (104, 136), id="relative to the best guess"),
        pytest.param("gpt-4o", "价", 10, (10, 10), id="its own vocabulary: no range"),
        pytest.param("baichuan4", "价", 0, (0, 0), id="nothing is nothing"),
    ],
)
def test_the_range_around_a_count(model: str, text: str, counted: int, band: tuple[int, int]) -> None:
    assert counter(model).band(counted, text) == band


def test_the_range_of_any_script_holds_those_of_all() -> None:
    counts = counter("baichuan4")
    low, high = counts.band(100)
    for text in ("价", "price", "价格 price", "#{}"):
        inner = counts.band(100, text)
        assert low <= inner[0] <= inner[1] <= high


@pytest.mark.parametrize("model", ["gpt-4o", "baichuan4", "no-such-model-9"])
@pytest.mark.parametrize("text", ["", "a", "好", "你好，world"], ids=["nothing", "a letter", "a character", "mixed"])
def test_an_estimate_lies_in_its_range(model: str, text: str) -> None:
    count = counter(model).estimate(text)
    assert count.low <= count.tokens <= count.high
    assert count.method


@pytest.mark.parametrize(
    "model", ["gpt-4o", "claude-sonnet-4-5", "baichuan4", "no-such-model-9", "qwen-max", "gemini-2.5-pro"]
)
@settings(max_examples=30, deadline=None)
@given(texts=st.lists(st.text() | st.text("ab <|>_imstartend价格é\ud800", max_size=40)))
def test_texts_counted_together_have_the_counts_of_each_alone(model: str, texts: list[str]) -> None:
    counts = counter(model)
    found = counts.estimate_all(texts)
    assert found is not None
    assert list(zip(*found, strict=True)) == [(one.tokens, one.low, one.high) for one in map(counts.estimate, texts)]


def test_a_text_that_an_old_tiktoken_cuts_is_not_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_words, "limits", lambda: (2048, 2048))
    assert counter("gpt-4o").estimate_all(["short", "x" * 10_000]) is None
    assert counter("gpt-4o").estimate_all(["short", "words " * 2_000]) is not None
