"""Usage in streams: counts that fall, zeros that cannot be, several answers in one list of events."""

from __future__ import annotations

from typing import Any

import pytest

from tokenmeter import Usage
from tokenmeter.usage import Source
from tokenmeter.wire.extract import extract
from tokenmeter.wire.extracted import Extracted
from tokenmeter.wire.stream_reader import StreamReader

Body = dict[str, Any]


def read(events: list[Any], *, provider: str | None = None, api: str | None = None) -> Extracted:
    reader = StreamReader(provider=provider, api=api, on_text=lambda kind, text: None)
    for event in events:
        reader.feed(event)
    return reader.result()


def chunk(usage: Body | None = None, text: str = "hi", finish: str | None = None, **more: Any) -> Body:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice], "usage": usage, **more}


def counts(prompt: Any, completion: Any, **more: Any) -> Body:
    return {"prompt_tokens": prompt, "completion_tokens": completion, **more}


# --- counts never fall ----------------------------------------------------------------------------------------------

FALLS = [
    pytest.param(
        "openai.chat",
        [chunk(counts(100, 20, total_tokens=120), finish="stop"), chunk(counts(0, 0, total_tokens=0)), "[DONE]"],
        (100, 20),
        ("prompt_tokens", "completion_tokens", "total_tokens"),
        id="zeros after the usage",
    ),
    pytest.param(
        "openai.chat",
        [chunk(counts(100, 20)), chunk(counts(100, 15), finish="stop")],
        (100, 20),
        ("completion_tokens",),
        id="a smaller figure",
    ),
    pytest.param(
        "anthropic.messages",
        [
            {
                "type": "message_start",
                "message": {"id": "m", "model": "c", "usage": {"input_tokens": 1500, "output_tokens": 1}},
            },
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"input_tokens": 0, "output_tokens": 50},
            },
            {"type": "message_stop"},
        ],
        (1500, 50),
        ("input_tokens",),
        id="anthropic",
    ),
    pytest.param(
        "gemini.generate",
        [
            {
                "candidates": [],
                "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5, "thoughtsTokenCount": 7},
            },
            {
                "candidates": [{"finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 9, "thoughtsTokenCount": 0},
            },
        ],
        (9, 12),
        ("thoughtsTokenCount",),
        id="gemini",
    ),
    pytest.param(
        "dashscope.generation",
        [
            {
                "output": {"text": "a", "finish_reason": "stop"},
                "usage": {"input_tokens": 10, "output_tokens": 2},
                "request_id": "r",
            },
            {"output": {}, "usage": {"input_tokens": 0, "output_tokens": 0}, "request_id": "r"},
        ],
        (10, 2),
        ("input_tokens", "output_tokens"),
        id="dashscope",
    ),
    pytest.param(
        "tencent.chat",
        [
            {"Choices": [{"FinishReason": "stop"}], "Usage": {"PromptTokens": 8, "CompletionTokens": 4}},
            {"Choices": [], "Usage": {"PromptTokens": 8, "CompletionTokens": 0}},
        ],
        (8, 4),
        ("CompletionTokens",),
        id="tencent",
    ),
    pytest.param(
        "baidu.wenxin",
        [{"result": "a", "usage": counts(8, 4)}, {"result": "", "is_end": True, "usage": counts(0, 0)}],
        (8, 4),
        ("prompt_tokens", "completion_tokens"),
        id="wenxin",
    ),
    pytest.param(
        "cohere.chat.v2",
        [
            {
                "type": "message-end",
                "delta": {
                    "finish_reason": "COMPLETE",
                    "usage": {"billed_units": {"input_tokens": 5.0, "output_tokens": 2.0}},
                },
            },
            {"type": "message-end", "delta": {"usage": {"billed_units": {"input_tokens": 0.0, "output_tokens": 0.0}}}},
        ],
        (5, 2),
        ("billed_units.input_tokens", "billed_units.output_tokens"),
        id="cohere",
    ),
    pytest.param(
        "ollama.chat",
        [
            {"message": {"content": "a"}, "done": True, "done_reason": "stop", "prompt_eval_count": 7, "eval_count": 3},
            {"message": {"content": ""}, "done": True, "prompt_eval_count": 0, "eval_count": 0},
        ],
        (7, 3),
        ("prompt_eval_count", "eval_count"),
        id="ollama",
    ),
    pytest.param(
        "spark.websocket",
        [
            {"header": {"status": 1}, "payload": {"usage": {"text": counts(6, 3)}}},
            {"header": {"status": 2}, "payload": {"usage": {"text": counts(0, 0)}}},
        ],
        (6, 3),
        ("prompt_tokens", "completion_tokens"),
        id="spark",
    ),
    pytest.param(
        "bedrock.converse",
        [
            {"metadata": {"usage": {"inputTokens": 10, "outputTokens": 4, "totalTokens": 14}}},
            {"metadata": {"usage": {"inputTokens": 10, "outputTokens": 0, "totalTokens": 10}}},
        ],
        (10, 4),
        ("outputTokens", "totalTokens"),
        id="bedrock",
    ),
]


@pytest.mark.parametrize(("api", "events", "totals", "fields"), FALLS)
def test_a_later_smaller_figure_does_not_erase_what_was_reported(
    api: str, events: list[Any], totals: tuple[int, int], fields: tuple[str, ...]
) -> None:
    found = read(events, api=api)
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == totals
    fell = [flag for flag in found.flags if flag.startswith("usage_fell: ")]
    assert [flag.split(" ")[1] for flag in fell] == list(fields)


def test_details_of_an_earlier_event_stay() -> None:
    found = read(
        [
            chunk(counts(100, 1, prompt_tokens_details={"cached_tokens": 60})),
            chunk(counts(100, 20, prompt_tokens_details=None), finish="stop"),
        ],
        api="openai.chat",
    )
    assert found.usage == Usage(input_tokens=100, output_tokens=20, cache_read_input_tokens=60)
    assert found.flags == ()


def test_times_may_fall() -> None:
    first, last = counts(5, 1, queue_time=9, total_time=9), counts(5, 2, queue_time=1, total_time=1)
    assert read([chunk(first), chunk(last, finish="stop")], provider="groq", api="openai.chat").flags == ()


def test_modalities_in_another_order_are_the_same() -> None:
    def details(text: int, audio: int, *, turned: bool = False) -> list[Body]:
        parts = [{"modality": "TEXT", "tokenCount": text}, {"modality": "AUDIO", "tokenCount": audio}]
        return parts[::-1] if turned else parts

    found = read(
        [
            {"usageMetadata": {"promptTokenCount": 30, "promptTokensDetails": details(10, 20)}},
            {
                "candidates": [{"finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 30, "promptTokensDetails": details(10, 0, turned=True)},
            },
        ],
        api="gemini.generate",
    )
    assert found.usage is not None
    assert found.usage.audio_input_tokens == 20
    assert found.flags == ("usage_fell: promptTokensDetails[].tokenCount was 20 and then 0",)


# --- zeros that cannot be -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "text", "known", "flags"),
    [
        (counts(0, 0, total_tokens=0), "some words", (None, None), 2),
        (counts(0, 19, total_tokens=19), "some words", (None, 19), 1),
        (counts(7, 0), "some words", (7, None), 1),
        (counts(7, 0), "", (7, 0), 0),
        (counts(-3, 4), "some words", (None, 4), 1),
        (counts(7, -4, total_tokens=12), "some words", (7, 5), 1),
        (counts(5.0, "9"), "some words", (5, 9), 0),
        (counts("5", "9", total_tokens="14"), "some words", (5, 9), 0),
    ],
)
@pytest.mark.parametrize("streamed", [True, False])
def test_what_cannot_be_is_left_to_be_counted(
    usage: Body, text: str, known: tuple[int | None, int | None], flags: int, streamed: bool
) -> None:
    if streamed:
        found = read([chunk(None, text), chunk(usage, "", "stop"), "[DONE]"], api="openai.chat")
    else:
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        found = extract({"id": "c", "model": "m", "choices": [choice], "usage": usage}, api="openai.chat")
    got = (None, None) if found.usage is None else (found.usage.input_tokens, found.usage.output_tokens)
    assert got == known
    assert len(found.flags) == flags, found.flags
    assert found.usage is not None or found.reason


def test_a_reader_without_text_leaves_a_zero_output_unknown() -> None:
    reader = StreamReader(api="openai.chat")
    for event in (chunk(None), chunk(counts(7, 0), "", "stop"), "[DONE]"):
        reader.feed(event)
    usage = reader.result().usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (7, None)


@pytest.mark.parametrize(
    ("api", "body"),
    [
        ("openai.embeddings", {"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 0, "total_tokens": 0}}),
        ("cohere.embeddings", {"embeddings": [[0.1]], "meta": {"billed_units": {"input_tokens": 0}}}),
        ("gemini.embeddings", {"embedding": {"values": [0.1]}, "usageMetadata": {"promptTokenCount": 0}}),
    ],
)
def test_vectors_do_not_come_of_zero_tokens(api: str, body: Body) -> None:
    found = extract(body, api=api)
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (None, 0)
    assert found.flags


def test_counting_nothing_is_zero() -> None:
    assert extract({"totalTokens": 0}, api="gemini.count_tokens").usage == Usage(input_tokens=0, output_tokens=0)


# --- several answers ------------------------------------------------------------------------------------------------


def realtime(name: str, given: int, got: int) -> list[Body]:
    usage = {"input_tokens": given, "output_tokens": got, "total_tokens": given + got}
    return [
        {"type": "response.created", "response": {"id": name, "object": "realtime.response", "usage": None}},
        {"type": "response.done", "response": {"id": name, "status": "completed", "usage": usage}},
    ]


def message(name: str, given: int, got: int) -> list[Body]:
    start = {"id": name, "model": "claude", "usage": {"input_tokens": given, "output_tokens": 1}}
    return [
        {"type": "message_start", "message": start},
        {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "hi"}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": got}},
        {"type": "message_stop"},
    ]


def turn(given: int, got: int, *, apart: bool = False) -> list[Body]:
    over: Body = {"serverContent": {"turnComplete": True}}
    usage: Body = {
        "usageMetadata": {"promptTokenCount": given, "responseTokenCount": got, "totalTokenCount": given + got}
    }
    return [over, usage] if apart else [over | usage]


def chat(name: str, given: int, got: int) -> list[Any]:
    return [chunk(counts(given, got), finish="stop", id=name), "[DONE]"]


def converse(given: int, got: int) -> list[Body]:
    return [
        {"messageStart": {"role": "assistant"}},
        {"messageStop": {"stopReason": "end_turn"}},
        {"metadata": {"usage": {"inputTokens": given, "outputTokens": got, "totalTokens": given + got}}},
    ]


@pytest.mark.parametrize(
    ("api", "answers"),
    [
        pytest.param("openai.responses", [realtime(f"r{n}", 100 * n, 50) for n in (1, 2, 3)], id="realtime"),
        pytest.param("anthropic.messages", [message(f"m{n}", 100 * n, 50) for n in (1, 2, 3)], id="anthropic"),
        pytest.param("gemini.generate", [turn(100 * n, 50) for n in (1, 2, 3)], id="gemini live"),
        pytest.param("gemini.generate", [turn(100 * n, 50, apart=True) for n in (1, 2, 3)], id="gemini live, apart"),
        pytest.param("openai.chat", [chat(f"c{n}", 100 * n, 50) for n in (1, 2, 3)], id="chats one after another"),
        pytest.param("bedrock.converse", [converse(100 * n, 50) for n in (1, 2, 3)], id="bedrock"),
    ],
)
def test_answers_of_one_session_add_up(api: str, answers: list[list[Any]]) -> None:
    found = read([event for events in answers for event in events], api=api)
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (600, 150)
    assert found.flags == ("several_answers: the usage is the sum of 3 answers",)
    assert found.source is Source.REPORTED


@pytest.mark.parametrize(
    ("api", "events"),
    [
        ("openai.responses", [*realtime("r1", 100, 50), *realtime("r1", 100, 50)]),
        ("anthropic.messages", [*message("m", 100, 50), *message("m", 100, 50)]),
        ("openai.chat", [*chat("c", 100, 50), *chat("c", 100, 50)]),
    ],
)
def test_an_answer_that_comes_twice_counts_once(api: str, events: list[Any]) -> None:
    found = read(events, api=api)
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (100, 50)


def test_a_session_that_breaks_off_keeps_its_whole_answers() -> None:
    found = read([*realtime("r1", 100, 50), realtime("r2", 7, 7)[0]], api="openai.responses")
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (100, 50)


def test_two_ids_of_one_answer_are_flagged() -> None:
    found = read([chunk(id="a"), chunk(counts(3, 2), finish="stop", id="b"), "[DONE]"], api="openai.chat")
    assert found.flags == ("two_ids: one answer is called 'a' and 'b'",)
    assert found.usage == Usage(input_tokens=3, output_tokens=2)


def test_choices_that_state_their_own_usage_add_up_and_share_the_prompt() -> None:
    def last(index: int, got: int) -> Body:
        return {
            "id": "c",
            "model": "m",
            "choices": [{"index": index, "finish_reason": "stop", "delta": {}, "usage": counts(50, got)}],
        }

    found = read([last(0, 20), last(1, 30), "[DONE]"], provider="moonshot", api="openai.chat")
    assert found.usage == Usage(input_tokens=50, output_tokens=50)
    assert found.flags[0].startswith("usage_per_choice: 2 choices")
