"""Counts beside what was billed: causes, and constants that many calls share."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmeter.cli.recordings.cases import Case, case_of
from tokenmeter.cli.recordings.compare import compare, grouped
from tokenmeter.cli.recordings.exchanges import Exchange
from tokenmeter.tokens import count_request

IMAGE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}]}]
BUILTIN = "the vendor's own tools, whose prompt the body does not show"
STORED = "content that the vendor keeps and the body does not show"
TOOL = {"type": "function", "function": {"name": "f", "description": "Do it.", "parameters": {"type": "object"}}}


def case_with(
    billed: int, *, model: str = "gpt-4o", url: str = "https://api.openai.com/v1/chat/completions", **more: Any
) -> Case:
    request = {"model": model, "messages": [{"role": "user", "content": "hi"}], **more}
    answer = {
        "model": model,
        "choices": [{"message": {"role": "assistant", "content": "hello there"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": billed, "completion_tokens": 2, "total_tokens": billed + 2},
    }
    case = case_of(Exchange("x", url, request, 200, answer, at="2026-01-02"))
    assert case is not None
    return case


def test_a_right_count_has_no_cause() -> None:
    result = compare(case_with(8))
    assert (result["provider"], result["model"], result["at"]) == ("openai", "gpt-4o", "2026-01-02")
    for side, tokens in (("input", 8), ("output", 2)):
        assert result[side]["reported"] == result[side]["counted"] == tokens
        assert result[side]["inside"]
        assert result[side]["cause"] is None


@pytest.mark.parametrize(
    ("case", "cause"),
    [
        pytest.param(case_with(80), "plain text and its frame", id="text"),
        pytest.param(case_with(900, tools=[TOOL]), "tools", id="tools"),
        pytest.param(case_with(900, tools=[{"type": "web_search"}]), BUILTIN, id="builtin"),
        pytest.param(case_with(900, conversation="c"), STORED, id="stored"),
        pytest.param(case_with(80, model="claude-opus-4-5"), "the vocabulary is not published", id="stand-in"),
        pytest.param(case_with(80, messages=IMAGE), "media", id="media"),
    ],
)
def test_a_miss_has_its_cause(case: Case, cause: str) -> None:
    assert compare(case)["input"]["cause"] == cause


def test_a_difference_that_calls_share_is_a_constant() -> None:
    def counted(tools: list[Any]) -> int:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "tools": tools}
        tokens = count_request(body, provider="openai", api="openai.chat", at="2026-01-02").tokens
        assert tokens is not None
        return tokens

    cases = [case_with(counted([TOOL] * size) + 46, tools=[TOOL] * size) for size in (1, 2, 3, 4)]
    cases += [case_with(80), case_with(8)]
    constant, single = grouped(map(compare, cases))
    assert (constant["cause"], constant["calls"], constant["constant"]) == ("tools", 4, 46)
    assert (single["cause"], single["calls"], single["constant"]) == ("plain text and its frame", 1, None)
    assert constant["models"] == ["gpt-4o"]
