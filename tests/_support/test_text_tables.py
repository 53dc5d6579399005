"""Text for a terminal: cut and wrapped by the columns it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter._support.text_tables import cut, width, wrapped

WORDS = st.text(st.sampled_from("ab 模型价格e\u0301-🙂\ufe0f"), max_size=60)


@pytest.mark.parametrize(
    ("text", "columns", "shown"),
    [
        ("deepseek-chat", 13, "deepseek-chat"),
        ("deepseek-chat", 9, "deep…chat"),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507", 20, "Qwen/Qwen3…ruct-2507"),
        ("通义千问大模型", 14, "通义千问大模型"),
        ("通义千问大模型", 9, "通义…模型"),
        ("通义千问大模型", 8, "通义…型"),
        ("abc", 1, "…"),
    ],
)
def test_a_long_text_loses_its_middle(text: str, columns: int, shown: str) -> None:
    assert cut(text, columns) == shown


@given(text=WORDS, columns=st.integers(1, 40))
def test_no_cut_text_is_wider(text: str, columns: int) -> None:
    assert width(cut(text, columns)) <= columns


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a short one", ["a short one"]),
        ("one two three four five", ["one two three", "  four five"]),
        ("one twothreefourfive six", ["one", "  twothreefourf", "  ive six"]),
        ("价格表没有这个模型的价格", ["价格表没有这个", "  模型的价格"]),
    ],
)
def test_a_text_is_broken_at_spaces_and_long_words_inside(text: str, lines: list[str]) -> None:
    assert wrapped(text, 15, "  ") == lines


@given(text=WORDS, columns=st.integers(5, 40))
def test_every_line_fits_and_nothing_but_spaces_is_lost(text: str, columns: int) -> None:
    lines = wrapped(text, columns, "   ")
    assert max(map(width, lines), default=0) <= columns
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
