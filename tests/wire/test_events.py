"""Bytes of a stream become events: server-sent, lines of JSON and binary, in pieces of any size."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rigs.amazon_frames import frame, wrapped
from tokenmeter.wire.events import Event, EventSplitter, iter_events

SSE = (
    ': hello\r\nevent: message_start\r\ndata: {"a": "你好"}\r\n\r\n'
    "data: one\ndata: two\n\n"
    "id: 3\nretry: 5\n\n"
    "event: x\ndata:no space\n\n"
    "data: [DONE]"
).encode()

SSE_EVENTS: list[Event] = [("message_start", '{"a": "你好"}'), (None, "one\ntwo"), ("x", "no space"), (None, "[DONE]")]

LINES = '{"a": "你"}\n\n{"b": 2}\r\n{"c": 3}'.encode()

LINE_EVENTS: list[Event] = [(None, '{"a": "你"}'), (None, '{"b": 2}'), (None, '{"c": 3}')]


FRAMES = (
    frame('{"delta": {"text": "你"}}'.encode(), message_type="event", event_type="contentBlockDelta")
    + frame(wrapped('{"type": "message_stop"}'), message_type="event", event_type="chunk")
    + frame(b'{"message": "slow down"}', message_type="exception", exception_type="throttlingException")
)

FRAME_EVENTS: list[Event] = [
    ("contentBlockDelta", '{"delta": {"text": "你"}}'),
    (None, '{"type": "message_stop"}'),
    ("throttlingException", '{"error": {"type": "throttlingException"}}'),
]

BODIES = [
    pytest.param(SSE, "text/event-stream; charset=utf-8", SSE_EVENTS, id="server-sent events"),
    pytest.param(SSE, None, SSE_EVENTS, id="server-sent events, sniffed"),
    pytest.param(LINES, "application/x-ndjson", LINE_EVENTS, id="lines"),
    pytest.param(LINES, None, LINE_EVENTS, id="lines, sniffed"),
    pytest.param(FRAMES, "application/vnd.amazon.eventstream", FRAME_EVENTS, id="frames"),
    pytest.param(FRAMES, None, FRAME_EVENTS, id="frames, sniffed"),
    pytest.param(b' {"a": 1} ', "application/json", [(None, '{"a": 1}')], id="one JSON body"),
    pytest.param(b'[{"a": 1},\n{"b": 2}]', None, [(None, '[{"a": 1},\n{"b": 2}]')], id="an array of events"),
    pytest.param(b"", "text/event-stream", [], id="nothing"),
]


@pytest.mark.parametrize(("raw", "content_type", "events"), BODIES)
def test_bytes_become_events(raw: bytes, content_type: str | None, events: list[Event]) -> None:
    assert list(iter_events(raw, content_type)) == events


@pytest.mark.parametrize(("raw", "content_type", "events"), BODIES)
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_pieces_of_any_size_give_the_same_events(
    raw: bytes, content_type: str | None, events: list[Event], size: int
) -> None:
    splitter = EventSplitter(content_type)
    found = [event for at in range(0, len(raw), size) for event in splitter.feed(raw[at : at + size])]
    assert [*found, *splitter.close()] == events


KINDS = [None, "text/html", *sorted({str(body.values[1]) for body in BODIES if body.values[1]})]


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=200), kind=st.sampled_from(KINDS))
def test_no_bytes_make_it_raise(raw: bytes, kind: str | None) -> None:
    for name, data in iter_events(raw, kind):
        assert name is None or isinstance(name, str)
        assert isinstance(data, str)


def _seconds(megabytes: int) -> float:
    """CPU time to split one event of so many megabytes."""
    body = b"data: " + b"x" * (megabytes << 20) + b"\n\n"
    splitter, began, size = EventSplitter("text/event-stream"), time.process_time(), 64 * 1024
    events = [event for at in range(0, len(body), size) for event in splitter.feed(body[at : at + size])]
    assert len(events) == 1
    return time.process_time() - began


def test_a_long_event_costs_time_by_its_length() -> None:
    short = min(_seconds(2) for _ in range(3))
    assert min(_seconds(16) for _ in range(3)) < 24 * short  # 8 times; 64 where each piece is joined to all before it
