"""An answer is bounded by what its request allowed."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmeter.tokens import count_output
from tokenmeter.tokens.requests.output_limits import most_tokens, stop_sequences

WORDS = "one two three four five six seven eight nine ten " * 4


@pytest.mark.parametrize(
    ("provider", "request_", "thoughts", "most"),
    [
        pytest.param("openai", {"max_completion_tokens": 20}, 0, 20, id="OpenAI"),
        pytest.param("google", {"generationConfig": {"maxOutputTokens": 7}}, 0, 7, id="Gemini"),
        pytest.param("aws-bedrock", {"inferenceConfig": {"maxTokens": 7}}, 0, 7, id="Converse"),
        pytest.param("alibaba", {"input": {}, "parameters": {"max_tokens": 7}}, 0, 7, id="DashScope"),
        pytest.param("openrouter", {"max_tokens": 5}, 0, 16, id="OpenRouter lifts small limits"),
        pytest.param("xai", {"max_tokens": 5}, 90, 95, id="xAI's limit leaves thoughts out"),
        pytest.param("deepseek", {"max_tokens": 5}, 90, 5, id="others' includes them"),
        pytest.param("openai", {"max_tokens": None}, 0, None, id="no limit"),
        pytest.param("openai", {"max_tokens": True}, 0, None, id="not a number"),
        pytest.param("openai", {}, 0, None, id="none said"),
    ],
)
def test_what_a_limit_bounds(provider: str, request_: dict[str, Any], thoughts: int, most: int | None) -> None:
    assert most_tokens(request_, provider, thoughts) == most


@pytest.mark.parametrize(
    ("body", "found"),
    [
        pytest.param({"stop": "END"}, ["END"], id="one"),
        pytest.param({"stop_sequences": ["a", "", 5, "b"]}, ["a", "b"], id="a list, not all texts"),
        pytest.param({"generationConfig": {"stopSequences": ["x"]}}, ["x"], id="Gemini"),
        pytest.param({"stop": None}, [], id="null"),
        pytest.param({}, [], id="none"),
    ],
)
def test_stop_sequences(body: dict[str, Any], found: list[str]) -> None:
    assert stop_sequences(body) == found


def test_no_answer_counts_more_than_its_request_allows() -> None:
    free = count_output(model="qwen-plus", provider="alibaba", text=WORDS)
    bound = count_output(model="qwen-plus", provider="alibaba", text=WORDS, request={"messages": [], "max_tokens": 16})
    assert (free.tokens or 0) > 16
    assert bound.tokens == 16
    assert (bound.low or 0) <= 16 <= (bound.high or 0)


def test_a_stop_sequence_may_have_been_billed() -> None:
    request = {"messages": [], "stop": ["\nObservation:"]}
    plain = count_output(model="qwen-plus", provider="alibaba", text=WORDS, request={"messages": []})
    stopped = count_output(model="qwen-plus", provider="alibaba", text=WORDS, request=request)
    assert stopped.tokens == plain.tokens
    assert (stopped.high or 0) == (plain.high or 0) + 4


def test_a_summary_of_thoughts_is_a_lower_bound() -> None:
    count = count_output(model="gemini-2.5-pro", provider="google", api="gemini.generate", text="4", reasoning=WORDS)
    assert (count.high or 0) > 10 * (count.tokens or 0)
    shown = count_output(model="deepseek-reasoner", provider="deepseek", text="4", reasoning=WORDS)
    assert (shown.high or 0) < 2 * (shown.tokens or 0)
