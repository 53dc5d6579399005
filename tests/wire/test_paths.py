"""Ends of request paths: a pattern takes what the regular expression it stands for takes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenmeter.wire.paths import bare_path, path_ends

TEXT = st.text("/ab*", max_size=8)


@given(TEXT, TEXT.map(lambda text: text.replace("*", "b")))
def test_a_star_is_any_text(pattern: str, path: str) -> None:
    expected = re.search(".*".join(map(re.escape, pattern.split("*"))) + r"\Z", path) is not None
    assert path_ends(pattern, path) is expected


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        pytest.param("/chat/completions", "/openai/v1/chat/completions", True, id="the end"),
        pytest.param("=/chat/completions", "/openai/v1/chat/completions", False, id="the whole path, not its end"),
        pytest.param("=/chat/completions", "/chat/completions", True, id="the whole path"),
        pytest.param("/models/*:generateContent", "/v1beta/models/gemini-2.5-pro:generateContent", True, id="a word"),
        pytest.param("/models/*:generateContent", "/models:generateContent", False, id="parts do not overlap"),
    ],
)
def test_paths_of_vendors(pattern: str, path: str, fits: bool) -> None:
    assert path_ends(pattern, path) is fits


def test_queries_and_slashes_at_the_end_are_no_part_of_a_path() -> None:
    assert bare_path("/v1/chat/completions/?api-version=2024-10-21") == "/v1/chat/completions"
