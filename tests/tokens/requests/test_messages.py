"""Messages of a request: tool calls and their results, from every wire format."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmeter.tokens.requests.bodies import read


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


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
