"""Tools of a request: the same in every wire format, shown to the model as its vendor does."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tokenmeter.tokens import count_request
from tokenmeter.tokens.counter import counter
from tokenmeter.tokens.requests.bodies import read

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
