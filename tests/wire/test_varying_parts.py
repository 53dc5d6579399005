"""A search of what the chunks of a stream do not have in common finds what a search of all of them finds."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter.providers.registry import load_providers
from tokenmeter.wire.extract import reader_for
from tokenmeter.wire.formats import load_apis
from tokenmeter.wire.stream_ends import SEAM
from tokenmeter.wire.usage_reader import UsageReader
from tokenmeter.wire.varying_parts import varying_parts

PAIRS = [
    *((None, api) for api in load_apis().by_id),
    *((one.id, api) for one in load_providers().by_id.values() for api in one.apis),
]
READERS = [reader for provider, api in PAIRS if (reader := reader_for(provider, api)) is not None]
CHAT = reader_for("openai", "openai.chat")
assert CHAT is not None
WORDS = CHAT.words
TEXTS = ["", "a", "字" * 9, 'say "error" twice', "\\", '\\"', "\n", "data: {", '"usage":{', '","error":{"code":"busy"}']


def chunk(text: str, **more: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice], **more}
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n".encode()


def name(text: str, **more: Any) -> bytes:
    """An event whose names differ, and not only its text: a word may begin or end in what the events share."""
    return f'data: {{"x": 0, "{text}":{{}}, "y": 0}}\n\n'.encode()


def value(text: str, **more: Any) -> bytes:
    return f'data: {{"usage":{text}}}\n\n'.encode()


NAMES = ["a", "b", "error", "usage", 'x":1,"code', "code", "detai", "detail", "", "Error", "{", "{}", "0"]
ODD = [
    b"",
    b"\n\n",
    b": ping\n\n",
    b'data: {"error',
    b'":{"code":"busy"}}\n\n',
    chunk("a", error={"code": "busy"}),
    chunk("a", usage={"prompt_tokens": 3}),
    chunk("a", code="busy"),
    chunk("a", obfuscation="kZ"),
    chunk("a")[:40],
    chunk("a")[40:],
    b'data: {"usage":{}\n\n',
    b'data: {"error":{}\n\n',
    b'"error":{}, "x": 0}\n\n',
    chunk("a") + chunk("b"),
]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.api.id)
def test_telling_words_are_such_as_the_windows_hold(reader: UsageReader) -> None:
    for word in reader.words.between:
        assert word.startswith(b'"')
        assert word.count(b'"') <= 2
        assert b"\n" not in word
        assert len(word) <= SEAM


@given(
    form=st.sampled_from([chunk, name, value]),
    texts=st.lists(st.sampled_from(TEXTS + NAMES) | st.text(max_size=8), min_size=1, max_size=4),
    usual=st.lists(st.sampled_from(["a", "b", "0", "1"]), min_size=8, max_size=30),
    more=st.sampled_from([{}, {"usage": None}, {"obfuscation": "x"}, {"error": None}]),
    odd=st.lists(st.tuples(st.integers(0, 40), st.sampled_from(ODD)), max_size=1),
    shift=st.sampled_from([0, 0, 0, 10, 12]),
)
@settings(max_examples=400)
def test_it_finds_what_a_search_of_everything_finds(
    form: Callable[..., bytes],
    texts: list[str],
    usual: list[str],
    more: dict[str, Any],
    odd: list[tuple[int, bytes]],
    shift: int,
) -> None:
    chunks = [form(text, **more) for text in (*usual, *texts)]
    for at, piece in odd:
        chunks.insert(at % (len(chunks) + 1), piece)
    if shift:  # as a connection may cut them
        ends = [shift + end for end in accumulate(map(len, chunks))]
        whole = b"".join(chunks)
        chunks = [whole[begin:end] for begin, end in pairwise((0, *ends))]
    varying = varying_parts(chunks, WORDS)
    if varying is not None:
        assert any(word in varying for word in WORDS.between) == any(word in b"".join(chunks) for word in WORDS.between)


def test_of_events_of_text_little_is_left() -> None:
    chunks = [chunk(f"word {number}", obfuscation="ab" * (number % 3)) for number in range(100)]
    varying = varying_parts(chunks, WORDS)
    assert varying is not None
    assert len(varying) < len(b"".join(chunks)) / 1.8
    chunks = [chunk(f"word {number}") for number in range(100)]
    plain = varying_parts(chunks, WORDS)
    assert plain is not None
    assert len(plain) < 3000
