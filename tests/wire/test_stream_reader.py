"""Streams: where they end, what they say on the way, and the bytes they come in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tests.rigs.amazon_frames import chunk, frame, wrapped
from tokenmeter import Usage
from tokenmeter.usage import Source
from tokenmeter.wire.events import iter_events
from tokenmeter.wire.stream_reader import StreamReader


def function(name: str, arguments: str) -> dict[str, Any]:
    return {"tool_calls": [{"index": 0, "function": {"name": name, "arguments": arguments}}]}


@pytest.mark.parametrize(
    ("api", "events", "said"),
    [
        pytest.param(
            "openai.chat",
            [
                chunk({"reasoning_content": "想"}),
                chunk({"content": "你"}),
                chunk(function("f", '{"a"')),
                chunk({}, "stop"),
            ],
            [("reasoning", "想"), ("text", "你"), ("tool_calls", "f"), ("tool_calls", '{"a"')],
            id="openai chat",
        ),
        pytest.param("openai.completions", [{"choices": [{"text": "a"}]}], [("text", "a")], id="openai completions"),
        pytest.param(
            "openai.responses",
            [
                {"type": "response.output_item.added", "item": {"type": "function_call", "name": "f"}},
                {"type": "response.function_call_arguments.delta", "delta": "{}"},
                {"type": "response.reasoning_summary_text.delta", "delta": "hm"},
                {"type": "response.output_text.delta", "delta": "hi"},
                {"type": "response.output_text.done", "text": "hi"},
            ],
            [("tool_calls", "f"), ("tool_calls", "{}"), ("reasoning", "hm"), ("text", "hi")],
            id="openai responses",
        ),
        pytest.param(
            "anthropic.messages",
            [
                {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "f", "input": {}}},
                {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": '{"a":'}},
                {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm"}},
                {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}},
            ],
            [("tool_calls", "f"), ("tool_calls", '{"a":'), ("reasoning", "hm"), ("text", "hi")],
            id="anthropic",
        ),
        pytest.param(
            "gemini.generate",
            [
                {
                    "candidates": [
                        {
                            "content": {
                                "parts": [
                                    {"text": "hm", "thought": True},
                                    {"text": "a"},
                                    {"functionCall": {"name": "f", "args": {"x": 1}}},
                                ]
                            }
                        }
                    ]
                }
            ],
            [("text", "a"), ("reasoning", "hm"), ("tool_calls", "f"), ("tool_calls", '{"x": 1}')],
            id="gemini",
        ),
        pytest.param(
            "dashscope.generation",
            [{"output": {"text": text, "finish_reason": "null"}} for text in ("你", "你好", "你好吗")],
            [("text", "你"), ("text", "好"), ("text", "吗")],
            id="dashscope repeats the text so far",
        ),
        pytest.param(
            "dashscope.generation",
            [{"output": {"choices": [{"message": {"content": text}}]}} for text in ("你", "好", "吗")],
            [("text", "你"), ("text", "好"), ("text", "吗")],
            id="dashscope incremental",
        ),
        pytest.param(
            "ollama.chat",
            [{"message": {"content": "a", "thinking": "t"}}],
            [("text", "a"), ("reasoning", "t")],
            id="ollama",
        ),
        pytest.param(
            "cohere.chat.v2",
            [{"type": "content-delta", "delta": {"message": {"content": {"text": "a"}}}}],
            [("text", "a")],
            id="cohere",
        ),
        pytest.param(
            "bedrock.converse",
            [
                {"contentBlockDelta": {"delta": {"text": "a"}}},
                {"event": "contentBlockDelta", "payload": {"delta": {"text": "b"}}},
            ],
            [("text", "a"), ("text", "b")],
            id="bedrock",
        ),
    ],
)
def test_text_is_handed_on_as_it_comes(api: str, events: Sequence[object], said: list[tuple[str, str]]) -> None:
    heard: list[tuple[str, str]] = []
    reader = StreamReader(api=api, on_text=lambda kind, text: heard.append((kind, text)))
    for event in events:
        reader.feed(event)
    assert heard == said


@pytest.mark.parametrize(
    ("api", "last"),
    [
        ("openai.chat", "[DONE]"),
        ("openai.completions", "[DONE]"),
        ("openai.responses", {"type": "response.completed", "response": {}}),
        ("openai.responses", {"type": "response.incomplete", "response": {}}),
        ("openai.responses", {"type": "response.failed", "response": {}}),
        ("anthropic.messages", {"type": "message_stop"}),
        ("bedrock.converse", {"metadata": {"usage": {"inputTokens": 1, "outputTokens": 1}}}),
        ("cohere.chat.v2", {"type": "message-end", "delta": {}}),
        ("cohere.chat", {"event_type": "stream-end", "is_finished": True}),
        ("ollama.chat", {"done": True}),
        ("baidu.wenxin", {"is_end": True}),
        ("spark.websocket", {"header": {"status": 2}}),
    ],
)
def test_the_protocol_says_when_it_is_over(api: str, last: object) -> None:
    reader = StreamReader(api=api)
    reader.feed(chunk({"content": "a"}) if api.startswith("openai.c") else {"type": "ping", "done": False})
    assert not reader.terminal
    reader.feed(last)
    assert reader.terminal


@pytest.mark.parametrize(
    ("api", "event", "error"),
    [
        ("openai.chat", {"error": {"type": "server_error", "message": "secret prompt"}}, "server_error"),
        ("openai.chat", {"error": {"code": 500, "message": "secret prompt"}}, "500"),
        ("openai.chat", {"error": "something with the secret prompt"}, "error"),
        ("anthropic.messages", {"type": "error", "error": {"type": "overloaded_error"}}, "overloaded_error"),
        ("openai.responses", {"type": "error", "code": "rate_limit", "message": "x"}, "rate_limit"),
        ("openai.responses", {"type": "response.failed", "response": {"error": {"code": "bad"}}}, "bad"),
        ("dashscope.generation", {"code": "Throttling", "message": "x"}, "Throttling"),
        ("bedrock.converse", {"throttlingException": {"message": "x"}}, "throttlingException"),
        ("gemini.generate", {"error": {"status": "UNAVAILABLE", "message": "x"}}, "UNAVAILABLE"),
    ],
)  # fmt: skip
def test_an_error_event_is_named_without_its_message(api: str, event: object, error: str) -> None:
    for on_text in (None, lambda kind, text: None):
        reader = StreamReader(api=api, on_text=on_text)
        reader.feed(json.dumps(event))
        assert (reader.error, reader.result().error) == (error, error)


def test_events_that_are_not_json_are_counted_and_passed_over() -> None:
    reader = StreamReader(api="openai.chat", on_text=lambda kind, text: None)
    for event in ("{oops", chunk({}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 2}), "nonsense", "[DONE]"):
        reader.feed(event)
    found = reader.result()
    assert found.usage == Usage(input_tokens=1, output_tokens=2)
    assert found.flags == ("unreadable_events: 2 events of the stream are not JSON",)


def test_events_nobody_parted_are_read_line_by_line() -> None:
    reader = StreamReader(api="openai.chat")
    reader.feed(
        "\n".join((chunk({"content": "a"}), chunk({}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 2})))
    )
    assert reader.result().usage == Usage(input_tokens=1, output_tokens=2)


def test_a_stream_that_has_not_ended_gives_lower_bounds() -> None:
    reader = StreamReader(provider="stepfun", api="openai.chat")
    reader.feed(chunk({"content": "a"}, usage={"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}))
    found = reader.result()
    assert (found.source, found.usage and found.usage.source_of("input_tokens")) == (Source.PARTIAL, Source.REPORTED)
    assert found.usage is not None
    assert found.usage.source_of("output_tokens") is Source.PARTIAL
    reader.feed(chunk({}, "stop", usage={"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}))
    assert reader.result().source is Source.REPORTED


def test_reading_with_and_without_its_text_gives_the_same() -> None:
    events = [chunk({"content": f'"usage" {n}'}) for n in range(9)] + [
        chunk({}, "stop", service_tier="flex", usage={"prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14}),
        "[DONE]",
    ]
    quick, full = StreamReader(api="openai.chat"), StreamReader(api="openai.chat", on_text=lambda kind, text: None)
    for event in events:
        quick.feed(event)
        full.feed(event)
    assert quick.result() == full.result()


# --- bytes ----------------------------------------------------------------------------------------------------------


def test_an_amazon_stream_of_anthropic_events_is_read_end_to_end() -> None:
    start = {"type": "message_start", "message": {"model": "claude", "usage": {"input_tokens": 5, "output_tokens": 1}}}
    delta = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}
    stop = {"type": "message_stop", "amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 7}}
    raw = b"".join(
        frame(wrapped(json.dumps(event)), message_type="event", event_type="chunk") for event in (start, delta, stop)
    )
    reader = StreamReader(provider="aws-bedrock", api="bedrock.invoke")
    for name, data in iter_events(raw, "application/vnd.amazon.eventstream"):
        reader.feed(data, name)
    found = reader.result()
    assert (found.usage, found.api, reader.terminal) == (
        Usage(input_tokens=5, output_tokens=7),
        "anthropic.messages",
        True,
    )
