"""Request bodies of every wire format: recognised, and read as far as they can be."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmeter.tokens import count_request
from tokenmeter.tokens.requests.bodies import guess_api


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


@pytest.mark.parametrize(
    ("body", "api"),
    [
        pytest.param({"contents": []}, "gemini.generate", id="gemini"),
        pytest.param({"messages": [], "system": "x"}, "anthropic.messages", id="anthropic"),
        pytest.param({"messages": [], "inferenceConfig": {}}, "bedrock.converse", id="bedrock"),
        pytest.param({"messages": []}, "openai.chat", id="chat"),
        pytest.param({"input": "x"}, "openai.responses", id="responses"),
        pytest.param({"input": ["a", "b"]}, "openai.embeddings", id="embeddings"),
        pytest.param({"input": {"messages": []}}, "dashscope.generation", id="dashscope"),
        pytest.param({"prompt": "x"}, "openai.completions", id="completions"),
        pytest.param({"prompt": "x", "options": {}}, "ollama.generate", id="ollama"),
        pytest.param({"message": "x", "chat_history": []}, "cohere.chat", id="cohere"),
        pytest.param({"Messages": []}, "tencent.chat", id="tencent"),
        pytest.param({}, None, id="nothing tells"),
    ],
)
def test_the_format_is_guessed_from_the_body(body: dict[str, Any], api: str | None) -> None:
    assert guess_api(body) == api


@pytest.mark.parametrize(
    ("body", "skipped"),
    [
        pytest.param({"messages": [user("hello"), 7]}, "messages[1]: int", id="a turn that is a number"),
        pytest.param(
            {"messages": [{"role": "user", "content": [{"text": "hello"}, 7]}]},
            "messages[0].content[1]: int",
            id="a part",
        ),
        pytest.param({"messages": [user("hello")], "tools": ["x"]}, "tools[0]: str", id="a tool"),
        pytest.param(
            {"messages": [user("hello"), {"role": "user", "content": [{"type": "hologram"}]}]},
            "messages[1].content[0]: hologram",
            id="an unknown part",
        ),
    ],
)
def test_a_malformed_request_counts_what_is_text_and_names_the_rest(body: dict[str, Any], skipped: str) -> None:
    count = count_request(body, provider="openai", model="gpt-4o", api="openai.chat")
    assert count.tokens is not None
    assert count.tokens >= 8
    assert skipped in count.skipped


@pytest.mark.parametrize("body", [None, 7, "text", [], [1]], ids=repr)
def test_what_is_no_request_has_no_count_and_a_reason(body: Any) -> None:
    count = count_request(body, provider="openai", model="gpt-4o")
    assert count.tokens is None
    assert count.reason == "the request is not an object"


def test_nesting_without_end_is_cut() -> None:
    part: Any = {"type": "tool_result", "content": "hello"}
    schema: Any = {"type": "object"}
    for _ in range(3_000):
        part = {"type": "tool_result", "content": [part]}
        schema = {"type": "object", "properties": {"x": schema}}
    tool = {"type": "function", "function": {"name": "f", "parameters": schema}}
    body = {"messages": [{"role": "user", "content": [part, {"type": "text", "text": "hello"}]}], "tools": [tool]}
    for model, provider in (("gpt-4o", "openai"), ("qwen-plus", "alibaba"), ("gemini-3-flash", "google")):
        assert (count_request(body, provider=provider, model=model).tokens or 0) >= 5
