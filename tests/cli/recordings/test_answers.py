"""What a recorded answer says, whole and streamed, in the forms of the vendors."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmeter.cli.recordings.answers import read_answer, read_stream

CALL = ("f", '{"a":1}')
OPENAI_CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
WHOLE = [
    pytest.param(
        {
            "choices": [
                {
                    "message": {
                        "role": "assistant",
                        "content": "hi",
                        "reasoning_content": "hm",
                        "tool_calls": [OPENAI_CALL],
                    },
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1},
        },
        "openai.chat",
        id="chat",
    ),
    pytest.param(
        {
            "output": [
                {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "hm"}]},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]},
                {"type": "function_call", "call_id": "1", "name": "f", "arguments": '{"a":1}'},
            ],
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
        "openai.responses",
        id="responses",
    ),
    pytest.param(
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "hm", "signature": "x"},
                {"type": "text", "text": "hi"},
                {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}},
            ],
            "usage": {"input_tokens": 1, "output_tokens": 1},
        },
        "anthropic.messages",
        id="Anthropic",
    ),
    pytest.param(
        {
            "candidates": [
                {
                    "content": {
                        "role": "model",
                        "parts": [
                            {"text": "hm", "thought": True},
                            {"text": "hi"},
                            {"functionCall": {"name": "f", "args": {"a": 1}}},
                        ],
                    }
                }
            ],
            "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 1},
        },
        "gemini.generate",
        id="Gemini",
    ),
    pytest.param(
        {
            "output": {
                "message": {
                    "role": "assistant",
                    "content": [
                        {"reasoningContent": {"reasoningText": {"text": "hm"}}},
                        {"text": "hi"},
                        {"toolUse": {"toolUseId": "1", "name": "f", "input": {"a": 1}}},
                    ],
                }
            },
            "usage": {"inputTokens": 1, "outputTokens": 1},
        },
        "bedrock.converse",
        id="Bedrock",
    ),
    pytest.param(
        {
            "message": {
                "role": "assistant",
                "content": "hi",
                "thinking": "hm",
                "tool_calls": [{"function": {"name": "f", "arguments": {"a": 1}}}],
            },
            "done": True,
            "prompt_eval_count": 1,
            "eval_count": 1,
        },
        "ollama.chat",
        id="Ollama",
    ),
]


def said(output: dict[str, Any]) -> tuple[str, str, list[str]]:
    return output["text"], output["reasoning"], [call["name"] for call in output["tool_calls"]]


@pytest.mark.parametrize(("body", "api"), WHOLE)
def test_a_whole_answer(body: dict[str, Any], api: str) -> None:
    found, output = read_answer(body, None, api)
    assert said(output) == ("hi", "hm", ["f"])
    assert output["tool_calls"][0]["arguments"] in ('{"a":1}', {"a": 1})
    assert found.usage is not None
    assert found.usage.input_tokens == 1


def chunk(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta}]}


STREAMS = [
    pytest.param(
        [
            chunk(reasoning_content="hm"),
            chunk(content="h"),
            chunk(content="i"),
            chunk(tool_calls=[{"index": 0, "id": "1", "function": {"name": "f", "arguments": '{"a"'}}]),
            chunk(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
            {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1}},
        ],
        "openai.chat",
        id="chat",
    ),
    pytest.param(
        [
            {"type": "message_start", "message": {"usage": {"input_tokens": 1, "output_tokens": 1}}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "hi"}},
            {"type": "content_block_start", "index": 2, "content_block": {"type": "tool_use", "id": "1", "name": "f"}},
            {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"a"'}},
            {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ":1}"}},
            {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 1}},
        ],
        "anthropic.messages",
        id="Anthropic",
    ),
    pytest.param(
        [
            {"event": "contentBlockDelta", "data": {"contentBlockIndex": 0, "delta": {"text": "hi"}}},
            {
                "event": "contentBlockDelta",
                "data": {"contentBlockIndex": 1, "delta": {"reasoningContent": {"text": "hm"}}},
            },
            {
                "event": "contentBlockStart",
                "data": {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "1", "name": "f"}}},
            },
            {
                "event": "contentBlockDelta",
                "data": {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"a":1}'}}},
            },
            {"event": "metadata", "data": {"usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2}}},
        ],
        "bedrock.converse",
        id="Bedrock",
    ),
]


@pytest.mark.parametrize(("events", "api"), STREAMS)
def test_a_streamed_answer_is_joined(events: list[Any], api: str) -> None:
    found, output = read_stream(events, None, api)
    assert said(output) == ("hi", "hm", ["f"])
    assert output["tool_calls"][0]["arguments"] == '{"a":1}'
    assert not output["incomplete"]
    assert found.usage is not None
    assert found.usage.input_tokens == 1


def test_calls_in_a_form_that_is_not_joined_are_said_to_be_missing() -> None:
    events = [
        {"type": "tool-call-start", "delta": {"message": {"tool_calls": {"id": "1", "function": {"name": "f"}}}}},
        {"type": "tool-call-delta", "delta": {"message": {"tool_calls": {"function": {"arguments": "{}"}}}}},
        {"type": "message-end", "delta": {"usage": {"tokens": {"input_tokens": 1, "output_tokens": 1}}}},
    ]
    _, output = read_stream(events, "cohere", "cohere.chat.v2")
    assert output["incomplete"]
