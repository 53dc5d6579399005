"""Counting in parts equals counting the whole, wherever the parts are cut."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter import tokens
from tokenmeter.tokens import split_points
from tokenmeter.tokens.build.verify import fuzz
from tokenmeter.tokens.counter import counter
from tokenmeter.tokens.engine import load_tokenizer
from tokenmeter.tokens.families import family_names, load_family
from tokenmeter.tokens.streams import TextCounter

SHIPPED = [name for name in family_names() if load_family(name).vocabulary and load_family(name).shipped]
MODELS = ["qwen-plus", "qwen3.6-plus", "deepseek-chat", "gpt-4o", "gpt-4", "gemini-2.5-pro", "kimi-k2", "glm-4.7"]
PROSE = (
    "今天天气真的不错，我们去公园散步吧！ The quick brown fox doesn't stop.\n\n"
    "```python\ndef f(x):\n    return x > 1\n```\n"
    "价格是￥1,234.56（含税）。 <td> </td> <think>嗯</think> 😀👨‍👩‍👧 naïve カタカナ゛\n"
)


@pytest.mark.parametrize("family", SHIPPED)
def test_every_safe_cut_adds_up(family: str) -> None:
    tokenizer = load_tokenizer(family)
    checked = 0
    for text in (PROSE, *fuzz(150, seed=5)):
        whole = tokenizer.count(text)
        for match in split_points._SAFE.finditer(text):
            checked += 1
            left, right = text[: match.start()], text[match.start() :]
            assert tokenizer.count(left) + tokenizer.count(right) == whole, (left, right)
    assert checked > 200


words = st.sampled_from(
    [
        *("hello", " world", "it's", "，", "。", "今天", "中国", "\n", "\n\n", "  ", "\t", "!", "/", "😀", "e\u0301"),
        *("123", ">", "</", "<think>"),
    ]
)
texts = st.lists(st.one_of(words, st.text(max_size=4)), max_size=60).map("".join)


@settings(max_examples=60, deadline=None)
@given(text=texts, data=st.data(), family=st.sampled_from(["qwen", "deepseek-v3", "gemma", "o200k", "kimi"]))
def test_any_text_adds_up_at_its_safe_cuts(text: str, data: st.DataObject, family: str) -> None:
    tokenizer = load_tokenizer(family)
    places = [match.start() for match in split_points._SAFE.finditer(text)]
    chosen = sorted(data.draw(st.sets(st.sampled_from(places)))) if places else []
    parts = [text[a:b] for a, b in zip([0, *chosen], [*chosen, len(text)], strict=True)]
    assert sum(map(tokenizer.count, parts)) == tokenizer.count(text)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_stream_counts_as_its_text(model: str, seed: int) -> None:
    text = PROSE * 30 + "".join(fuzz(60, seed=seed)) + PROSE * 5
    found = TextCounter(counter(model))
    random_, start = random.Random(seed), 0
    while start < len(text):
        width = random_.choice((1, 2, 3, 5, 8, 300, 2000))
        found.feed(text[start : start + width])
        start += width
    assert found.count() == tokens.count_text(text, model=model)


def test_a_count_may_be_asked_for_at_any_time() -> None:
    found = TextCounter(counter("qwen-plus"))
    for end in range(1, 2500, 7):
        found.feed((PROSE * 20)[max(0, end - 7) if end > 1 else 0 : end])
        assert found.tokens() == counter("qwen-plus").count((PROSE * 20)[:end])


def test_a_stand_in_scales_a_stream_as_it_scales_a_text() -> None:
    text = "今天天气真的不错，" * 500 + "hello world " * 100
    found = TextCounter(counter("doubao-seed-1.6"))
    for start in range(0, len(text), 9):
        found.feed(text[start : start + 9])
    assert found.count() == tokens.count_text(text, model="doubao-seed-1.6")


def test_text_is_let_go_while_it_streams() -> None:
    found = TextCounter(counter("qwen-plus"))
    for _ in range(2000):
        found.feed(PROSE)
    assert sum(map(len, found._parts)) < 4 * 1024


def test_a_stream_without_a_break_is_counted_too() -> None:
    found = TextCounter(counter("gpt-4o"))
    for _ in range(200):
        found.feed("a" * 1000)
    assert found.tokens() == counter("gpt-4o").count("a" * 200_000)


@pytest.mark.parametrize(
    "fed",
    [
        pytest.param({"text": "你好，世界"}, id="text"),
        pytest.param({"text": "42", "reasoning": "let me see"}, id="reasoning"),
        pytest.param({}, id="nothing"),
    ],
)
@pytest.mark.parametrize("model", ["deepseek-chat", "gpt-4o", "claude-sonnet-4-6", "glm-4.6"])
def test_an_output_counter_agrees_with_count_output(model: str, fed: dict[str, str]) -> None:
    found = tokens.OutputCounter(model=model)
    for kind, text in fed.items():
        for letter in text:
            found.feed(kind, letter)
    count = found.count()
    if fed:
        assert count.tokens == tokens.count_output(model=model, **fed).tokens  # type: ignore[arg-type]
    else:
        assert count.tokens == 0
