"""Whole requests: frames, tools, calls, schemas and switches, on bodies in every wire format.

Expected figures are the text's own count plus constants a reader can add up from `tokens/requests/rules`; the two
published sanity pairs (cookbook and template) are absolute.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter.tokens import count_output, count_request
from tokenmeter.tokens.counter import counter
from tokenmeter.tokens.requests import explain_output, explain_request
from tokenmeter.tokens.requests.bodies import guess_api, read

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
NAMESPACE = (
    "namespace functions {\n\n// Get the weather for a city\ntype get_weather = (_: {\n// The city\ncity: string,\n"
    "days?: number,\n}) => any;\n\n} // namespace functions"
)


def words(model: str, *texts: str) -> int:
    return sum(counter(model).count(text) for text in texts)


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


@pytest.mark.parametrize(
    ("provider", "model", "api", "body", "extra"),
    [
        pytest.param("openai", "gpt-4o", "openai.chat", {"tools": [WEATHER]}, 9, id="4o chat"),
        pytest.param(
            "openai",
            "gpt-4o",
            "openai.responses",
            {"tools": [{"type": "function", **WEATHER["function"]}]},
            3,
            id="4o responses",
        ),
        pytest.param(
            "openai", "gpt-5", "openai.chat", {"tools": [WEATHER]}, 91, id="5 chat: the wrapper for parallel calls"
        ),
        pytest.param(
            "openai",
            "gpt-5",
            "openai.responses",
            {"tools": [{"type": "function", **WEATHER["function"]}]},
            9,
            id="5 responses",
        ),
        pytest.param(
            "openai",
            "gpt-4o",
            "openai.chat",
            {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
            9 + 7 + 2,
            id="a tool by force costs its name",
        ),
    ],
)
def test_openai_shows_tools_as_a_namespace(
    provider: str, model: str, api: str, body: dict[str, Any], extra: int
) -> None:
    plain = count_request({"messages": [user("Say hello")]}, provider=provider, model=model, api=api)
    count = count_request({"messages": [user("Say hello")], **body}, provider=provider, model=model, api=api)
    assert count.tokens - plain.tokens == words(model, NAMESPACE) + extra
    assert count.method == "template"


def test_the_same_tools_in_every_wire_format_are_the_same_tools() -> None:
    function = WEATHER["function"]
    bodies = [
        {"tools": [WEATHER]},
        {"tools": [{"type": "function", **function}]},
        {
            "tools": [
                {
                    "name": function["name"],
                    "description": function["description"],
                    "input_schema": function["parameters"],
                }
            ]
        },
        {"tools": [{"functionDeclarations": [function]}]},
        {
            "toolConfig": {
                "tools": [
                    {
                        "toolSpec": {
                            **{k: function[k] for k in ("name", "description")},
                            "inputSchema": {"json": function["parameters"]},
                        }
                    }
                ]
            }
        },
        {"functions": [function]},
    ]
    seen = {json.dumps([tool.name, tool.description, tool.parameters]) for body in bodies for tool in read(body).tools}
    assert len(seen) == 1


CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(
            {
                "messages": [
                    user("x"),
                    {"role": "assistant", "tool_calls": [CALL]},
                    {"role": "tool", "tool_call_id": "call_1", "content": "18"},
                ]
            },
            id="chat",
        ),
        pytest.param(
            {
                "messages": [
                    user("x"),
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Paris"}}
                        ],
                    },
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "tool_result",
                                "tool_use_id": "call_1",
                                "content": [{"type": "text", "text": "18"}],
                            }
                        ],
                    },
                ]
            },
            id="anthropic",
        ),
        pytest.param(
            {
                "messages": [
                    user("x"),
                    {
                        "role": "assistant",
                        "content": [
                            {"toolUse": {"toolUseId": "call_1", "name": "get_weather", "input": {"city": "Paris"}}}
                        ],
                    },
                    {"role": "user", "content": [{"toolResult": {"toolUseId": "call_1", "content": [{"text": "18"}]}}]},
                ]
            },
            id="bedrock",
        ),
        pytest.param(
            {
                "input": [
                    user("x"),
                    {
                        "type": "function_call",
                        "call_id": "call_1",
                        "name": "get_weather",
                        "arguments": '{"city": "Paris"}',
                    },
                    {"type": "function_call_output", "call_id": "call_1", "output": "18"},
                ]
            },
            id="responses",
        ),
    ],
)
def test_calls_and_results_are_read_from_every_format(body: dict[str, Any]) -> None:
    prompt = read(body)
    calls = [call for message in prompt.messages for call in message.calls]
    results = [result for message in prompt.messages for result in message.results]
    assert [(call.name, call.id) for call in calls] == [("get_weather", "call_1")]
    assert [(result.text, result.id) for result in results] == [("18", "call_1")]
    assert not prompt.skipped


def test_an_openai_schema_is_shown_without_its_constraints() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    strict = {**schema, "required": ["city"], "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    loose = count_request({"messages": [user("x")], "response_format": form}, provider="openai", model="gpt-4o")
    form["json_schema"]["schema"] = strict
    tight = count_request({"messages": [user("x")], "response_format": form}, provider="openai", model="gpt-4o")
    assert (
        tight.tokens
        == loose.tokens
        == 3 + 4 + 1 + 14 + words("gpt-4o", "place", json.dumps(schema, separators=(",", ":")))
    )


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
