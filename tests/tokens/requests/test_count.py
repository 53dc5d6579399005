"""Whole requests: frames, tools, calls, schemas and switches, on bodies in every wire format.

Expected figures are the text's own count plus constants a reader can add up from `tokens/requests/rules`; the two
published sanity pairs (cookbook and template) are absolute.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter.tokens import count_output, count_request
from tokenmeter.tokens.requests.count import explain_output, explain_request

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather for a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "The city"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


@pytest.mark.parametrize(
    ("provider", "model", "api", "body", "expected"),
    [
        pytest.param(
            "openai", "gpt-4o", "openai.chat", {"messages": [user("Say hello")]}, 3 + 4 + 2, id="cookbook frame"
        ),
        pytest.param(
            "openai",
            "gpt-4o",
            "openai.chat",
            {"messages": [system("Be brief"), {**user("Say hello"), "name": "bob"}]},
            3 + 2 * 4 + 2 + 2 + 1,
            id="name",
        ),
        pytest.param(
            "openai", "gpt-5-mini", "openai.chat", {"messages": [user("Say hello")]}, 2 + 4 + 2, id="gpt-5 frame"
        ),
        pytest.param(
            "openai",
            "gpt-5",
            "openai.responses",
            {"instructions": "Be brief", "input": [user("Say hello"), {"role": "assistant", "content": "Hello"}]},
            2 + 4 + 2 + 4 + 2 + 6 + 1,
            id="instructions are a message, an assistant's costs two more",
        ),
        pytest.param("openai", "gpt-4o", None, {"input": "Say hello"}, 3 + 4 + 2, id="input as text"),
        pytest.param(
            "alibaba",
            "qwen-plus",
            "openai.chat",
            {"messages": [system("You are a helpful assistant."), user("你是谁？")]},
            22,
            id="published Qwen pair",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            None,
            {"input": {"messages": [system("You are a helpful assistant."), user("你是谁？")]}, "parameters": {}},
            22,
            id="the same in DashScope's own format",
        ),
        pytest.param(
            "alibaba",
            "qwen-plus",
            "openai.chat",
            {"messages": [user("你是谁？")], "enable_thinking": False},
            3 + 5 + 3 + 4,
            id="an empty think block",
        ),
        pytest.param("deepseek", "deepseek-chat", None, {"messages": [user("你好")]}, 4 + 1, id="DeepSeek frame"),
        pytest.param("zhipu", "glm-4.7", None, {"messages": [user("你好")]}, 5 + 1, id="GLM frame"),
        pytest.param("moonshot", "kimi-k2-0905-preview", None, {"messages": [user("你好")]}, 7 + 1, id="Kimi frame"),
        pytest.param(
            "google",
            "gemini-2.5-flash",
            None,
            {"contents": [{"role": "user", "parts": [{"text": "Say hello"}]}]},
            1 + 2,
            id="Gemini: one a turn",
        ),
        pytest.param(
            "google-vertex",
            "gemini-2.5-flash",
            None,
            {"contents": [{"role": "user", "parts": [{"text": "Say hello"}]}]},
            2,
            id="Vertex AI: the words alone",
        ),
        pytest.param(
            "openai", "text-embedding-3-small", "openai.embeddings", {"input": ["Say hello", [1, 2, 3]]}, 5, id="ids"
        ),
        pytest.param(
            "tencent", "hunyuan-lite", None, {"Messages": [{"Role": "user", "Content": "你是谁"}]}, 2, id="PascalCase"
        ),
    ],
)
def test_a_request_is_its_text_and_its_frame(
    provider: str, model: str, api: str | None, body: dict[str, Any], expected: int
) -> None:
    count = count_request(body, provider=provider, model=model, api=api)
    assert count.tokens == expected
    assert count.low is not None
    assert count.high is not None
    assert count.low <= expected <= count.high
    assert not count.skipped


CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}


@pytest.mark.parametrize(
    ("provider", "model", "arguments", "expected"),
    [
        pytest.param("openai", "gpt-4o", {"text": "Say hello"}, 2, id="text alone"),
        pytest.param(
            "openai",
            "gpt-4o",
            {"text": "Say hello", "request": {"messages": [], "tools": [WEATHER]}},
            3,
            id="tools were offered",
        ),
        pytest.param(
            "deepseek",
            "deepseek-reasoner",
            {"text": "Say hello", "reasoning": "Say hello"},
            2 + 2 + 1,
            id="the end of thought",
        ),
        pytest.param("mistral", "mistral-large-latest", {"text": "Say hello"}, 2 + 1, id="end mark"),
        pytest.param(
            "google",
            "gemini-2.5-flash",
            {"tool_calls": [{"name": "roll", "arguments": {}}]},
            8,
            id="print(default_api.roll())",
        ),
        pytest.param(
            "google-vertex",
            "gemini-2.5-flash",
            {"tool_calls": [{"name": "roll", "arguments": {}}]},
            1,
            id="Vertex bills words",
        ),
    ],
)
def test_answers(provider: str, model: str, arguments: dict[str, Any], expected: int) -> None:
    api = "gemini.generate" if provider.startswith("google") else "openai.chat"
    count = count_output(provider=provider, model=model, api=api, **arguments)
    assert count.tokens == expected
    assert count.low is not None
    assert count.high is not None
    assert count.low <= expected <= count.high


def test_the_items_sum_to_the_count() -> None:
    body = {
        "messages": [system("Be brief."), user("x"), {"role": "assistant", "tool_calls": [CALL]}],
        "tools": [WEATHER],
    }
    for model, provider in (("gpt-4o", "openai"), ("qwen-plus", "alibaba"), ("claude-sonnet-4-5", "anthropic")):
        found = explain_request(body, provider=provider, model=model, api="openai.chat")
        assert sum(item.tokens for item in found.items) == found.count.tokens
        assert {"text", "frame", "tools", "calls"} <= {item.part for item in found.items}
        assert found.rule != "none"
        answer = explain_output(model=model, provider=provider, text="Hi", tool_calls=[CALL])
        assert sum(item.tokens for item in answer.items) == answer.count.tokens


def test_a_claude_count_says_that_it_is_a_stand_in() -> None:
    count = count_request(
        {"messages": [user("Say hello")], "max_tokens": 9}, provider="anthropic", model="claude-opus-4-8"
    )
    assert count.method == "stand-in"
    assert count.source == "estimated"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "role",
                    "content",
                    "type",
                    "text",
                    "tools",
                    "function",
                    "name",
                    "parameters",
                    "properties",
                    "required",
                    "tool_calls",
                    "arguments",
                    "input",
                    "source",
                    "data",
                    "image_url",
                    "url",
                    "parts",
                    "functionCall",
                    "args",
                    "thinking",
                    "signature",
                    "items",
                    "enum",
                    "anyOf",
                    "$ref",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
BODIES = st.dictionaries(
    st.sampled_from(
        [
            "messages",
            "system",
            "input",
            "contents",
            "tools",
            "tool_choice",
            "response_format",
            "prompt",
            "message",
            "thinking",
            "reasoning",
        ]
    ),
    JSON,
    max_size=4,
)


@settings(max_examples=300, deadline=None)
@given(body=BODIES, model=st.sampled_from(["gpt-4o", "claude-sonnet-4-5", "qwen-plus", "gemini-2.5-flash", "glm-4.6"]))
def test_no_request_raises_and_every_count_lies_in_its_range(body: dict[str, Any], model: str) -> None:
    count = count_request(body, model=model)
    if count.tokens is not None:
        assert count.low is not None
        assert count.high is not None
        assert 0 <= count.low <= count.tokens <= count.high


@settings(max_examples=50, deadline=None)
@given(texts=st.lists(st.text(min_size=1, max_size=30), min_size=1, max_size=5))
def test_a_longer_conversation_never_counts_less(texts: list[str]) -> None:
    counts = [
        count_request({"messages": [user(text) for text in texts[: at + 1]]}, provider="openai", model="gpt-4o").tokens
        or 0
        for at in range(len(texts))
    ]
    assert counts == sorted(counts)
