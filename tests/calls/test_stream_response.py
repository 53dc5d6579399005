"""A stream read by its ends, or by its telling events, says what reading every event says, however it was packed."""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tokenmeter import End
from tokenmeter.calls import stream_response
from tokenmeter.calls.response import FOLD_BYTES
from tokenmeter.calls.stream_response import StreamReading
from tokenmeter.wire.events import iter_events
from tokenmeter.wire.extract import reader_for
from tokenmeter.wire.extracted import Extracted
from tokenmeter.wire.stream_ends import LAST_EVENTS
from tokenmeter.wire.stream_reader import StreamReader

SSE = "text/event-stream"


def chat(**fields: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "deepseek-chat", "choices": [], **fields}


def word(text: str, **fields: Any) -> dict[str, Any]:
    return chat(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": None}], **fields)


def finish(reason: str = "stop", index: int = 0) -> dict[str, Any]:
    return chat(choices=[{"index": index, "delta": {}, "finish_reason": reason}])


def usage(given: int, made: int, **fields: Any) -> dict[str, Any]:
    return chat(usage={"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}, **fields)


CLAUDE = [
    {"type": "message_start", "message": {"id": "msg_1", "model": "claude-sonnet-4-5", "usage": {"input_tokens": 25}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    *({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "字"}} for _ in range(12)),
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}},
    {"type": "message_stop"},
]
RESPONSES = [
    {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-4o", "status": "in_progress"}},
    *({"type": "response.output_text.delta", "delta": "word"} for _ in range(12)),
    {
        "type": "response.completed",
        "response": {
            "id": "resp_1",
            "model": "gpt-4o",
            "status": "completed",
            "output": [{"type": "web_search_call", "id": "ws_1", "status": "completed"}],
            "usage": {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13},
        },
    },
]
TELLING: list[Any] = [
    usage(10, 99),
    usage(0, 0),
    {"error": {"message": "busy", "code": "server_busy"}},
    {"code": "InvalidParameter", "message": "no"},
    {"type": "error", "error": {"type": "overloaded_error"}},
    finish("length"),
    finish("stop", 1),
    word("x", id="chatcmpl-2"),
    usage(5, 5, id="chatcmpl-2"),
    word("x", service_tier="flex"),
    {"detail": "not found"},
    "not JSON",
    "[DONE]",
    {"type": "response.web_search_call.completed", "item": {"type": "web_search_call", "id": "ws_2"}},
    *CLAUDE[:1],
    CLAUDE[-1],
]


def event(body: Any) -> bytes:
    return b"data: " + (body if isinstance(body, str) else json.dumps(body)).encode() + b"\n\n"


def read(body: bytes, api: str, sizes: list[int], content_encoding: str = "") -> StreamReading:
    """A stream read in pieces of these sizes, packed wherever a tee would pack it; without sizes event by event."""
    decoder = None
    if content_encoding:
        body, decoder = gzip.compress(body, 0), zlib.decompressobj(zlib.MAX_WBITS | 16).decompress
    reading = StreamReading(None, api, None, SSE, decoder)
    if not sizes:
        reading.chunks.extend(piece + b"\n\n" for piece in body.split(b"\n\n")[:-1])
        return reading
    waiting = at = 0
    while at < len(body):
        piece = body[at : at + sizes[at % len(sizes)]]
        at += len(piece)
        reading.chunks.append(piece)
        waiting += len(piece)
        if waiting > FOLD_BYTES and reading.pack():
            waiting = 0
    return reading


def every_event(body: bytes, api: str) -> StreamReader:
    reader = StreamReader(api=api, on_text=lambda kind, delta: None)
    for name, data in iter_events(body, SSE):
        reader.feed(data, name)
    return reader


def telling_ones(body: bytes, api: str) -> StreamReader:
    """The first event, the last ones, and those between with a telling word."""
    format_ = reader_for(None, api)
    assert format_ is not None
    events = list(iter_events(body, SSE))
    reader = StreamReader(api=api)
    for at, (name, data) in enumerate(events):
        if at == 0 or at >= len(events) - LAST_EVENTS or format_.words.in_text.search(data):
            reader.feed(data, name)
    return reader


def facts(said: Extracted) -> Mapping[str, object]:
    said = said._replace(flags=tuple(flag for flag in said.flags if not flag.startswith("unreadable_events")))
    return {name: value for name, value in said._asdict().items() if name not in ("raw", "service_tier")}


def assert_read_alike(reading: StreamReading, body: bytes, api: str) -> None:
    reading.usage(End.COMPLETE)
    full = every_event(body, api) if reading._brief is None else telling_ones(body, api)
    assert reading.extracted is not None
    expected = full.result()
    assert facts(reading.extracted) == facts(expected)
    # An event that only says the tier is read if it is among the last ones.
    tiers = {expected.service_tier, every_event(body, api).result().service_tier}
    assert reading.extracted.service_tier in tiers
    assert (reading.error, reading.terminal) == (full.error, full.terminal)


STREAMS: Mapping[str, tuple[str, list[Any]]] = {
    "openai": ("openai.chat", [word(""), *(word(f"word {n} ") for n in range(12)), finish(), usage(20, 12), "[DONE]"]),
    "anthropic": ("anthropic.messages", CLAUDE),
    "responses": ("openai.responses", RESPONSES),
    "running counts": ("openai.chat", [*(usage(20, n) for n in range(5)), finish(), usage(20, 5), "[DONE]"]),
    "Azure": ("openai.chat", [chat(id="", model=""), word("a"), word("b"), finish(), usage(3, 2), "[DONE]"]),
    "an answer after the end": ("openai.responses", [*RESPONSES[:-1], "[DONE]", usage(10, 99), RESPONSES[-1]]),
    "tier in the first": ("openai.chat", [word("a", service_tier="flex"), finish(), usage(3, 2), "[DONE]"]),
}


@pytest.mark.parametrize("name", STREAMS)
@given(
    odd=st.lists(st.tuples(st.integers(0, 20), st.sampled_from(TELLING)), max_size=3),
    cut=st.integers(0, 3),
    sizes=st.just([]) | st.lists(st.integers(1, 400), min_size=1, max_size=5),
)
@settings(max_examples=150)
def test_its_ends_say_what_all_of_it_says(name: str, odd: list[tuple[int, Any]], cut: int, sizes: list[int]) -> None:
    api, events = STREAMS[name]
    events = list(events)
    for at, one in odd:
        events.insert(at % (len(events) + 1), one)
    body = b"".join(map(event, events[: len(events) - cut]))
    assert_read_alike(read(body, api, sizes), body, api)


@pytest.mark.parametrize("encoding", ["", "gzip"])
@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_a_long_stream_is_packed_and_says_the_same(name: str, seed: int, encoding: str) -> None:
    chance = random.Random(seed)
    api, events = STREAMS[name]
    filler = events[2] if name == "anthropic" else word("字" * 20)
    events = [events[0], *([filler] * chance.randrange(1500, 4000)), *events[1:]]
    if seed % 3:
        events.insert(chance.randrange(len(events)), chance.choice(TELLING))
    body = b"".join(map(event, events))
    reading = read(body, api, [chance.randrange(1, 9000)], encoding)
    assert reading.packed
    assert_read_alike(reading, body, api)


@pytest.mark.parametrize("inside", range(-2, 12))
def test_a_word_across_the_cut_of_two_pieces_is_found(inside: int) -> None:
    # The cut is 8192 bytes before the end of what has come: in, before or after the first word of the refusal.
    refused = event({"error": {"code": "server_busy"}})
    filler = event(word("word"))
    more = refused + filler * 100
    came = more[: 8192 + len("data: {") + inside]
    reading = StreamReading(None, "openai.chat", None, SSE)
    reading.chunks.append(event(word("a")) + filler * 400 + came)
    assert reading.pack()
    reading.chunks.append(more[len(came) :] + b"".join(map(event, [finish(), usage(20, 12), "[DONE]"])))
    reading.usage(End.COMPLETE)
    assert reading.error == "server_busy"


def test_a_long_stream_without_usage_is_lengthy_and_one_with_usage_is_not() -> None:
    events = [word("word ") for _ in range(3000)]
    with_usage = b"".join(map(event, [*events, finish(), usage(20, 12), "[DONE]"]))
    assert not read(with_usage, "openai.chat", [5000]).lengthy
    without = read(b"".join(map(event, [*events, finish(), "[DONE]"])), "openai.chat", [5000])
    assert without.lengthy
    without.usage(End.COMPLETE)
    counted = without.output()
    assert counted is not None
    assert counted.tokens >= 3000


def test_the_text_is_counted_where_it_is_asked_for_though_usage_came() -> None:
    body = b"".join(map(event, [*(word("word ") for _ in range(3000)), finish(), usage(20, 3000), "[DONE]"]))
    reading = read(body, "openai.chat", [5000])
    reading.usage(End.COMPLETE)
    counted = reading.output()
    assert counted is not None
    assert counted.tokens >= 3000


@pytest.mark.parametrize("words", [3, 3000])
def test_what_was_read_is_not_read_again(words: int) -> None:
    reading = read(b"".join(map(event, [word("word ")] * words)), "openai.chat", [5000])
    reading.usage(End.CLOSED_EARLY)
    first = reading.output()
    reading.usage(End.CLOSED_EARLY)
    assert reading.output() == first
    assert first is not None
    assert first.tokens >= words


def test_what_is_too_long_to_keep_is_folded_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=4000)) for _ in range(700)]
    body = b"".join(map(event, [*map(word, words), finish(), usage(20, 12), "[DONE]"]))
    reading = StreamReading(None, "openai.chat", None, SSE)
    folded = 0
    for at in range(0, len(body), 70_000):
        reading.chunks.append(body[at : at + 70_000])
        if not reading.pack():
            reading.fold(reading.take())
            folded += 1
    assert folded
    assert sum(map(len, reading._kept._packed or ())) == 0, "nothing is kept of what was read"
    usage_, _ = reading.usage(End.COMPLETE)
    assert (usage_.input_tokens, usage_.output_tokens) == (20, 12)
    assert facts(reading.extracted or stream_response.Extracted) == facts(  # type: ignore[arg-type]
        every_event(body, "openai.chat").result()
    )
