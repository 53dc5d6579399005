"""Calls whose record nothing waits for are settled in a batch; none is lost when the meter is replaced or forked."""

from __future__ import annotations

import json
import threading

import pytest

from tokenmeter import End, Record, Tokenmeter, Usage
from tokenmeter.calls.deferred import DeferredCalls
from tokenmeter.calls.lifecycle import Lifecycle
from tokenmeter.calls.opencall import OpenCall
from tokenmeter.calls.response import BodyReading
from tokenmeter.calls.route import Route
from tokenmeter.calls.stream_response import StreamReading

ROUTE = Route(provider="deepseek", otel_provider="deepseek", api="openai.chat", operation="chat")


class Sums:
    def __init__(self, *, listened_to: bool = False) -> None:
        self.listened_to = listened_to
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)

    def flush(self, timeout: float) -> bool:
        return True

    def close(self, timeout: float) -> None: ...


def _lifecycle(sums: Sums, deferred: DeferredCalls | None = None) -> Lifecycle:
    return Lifecycle(price=Tokenmeter()._billing.price, sums=sums, deferred=deferred)


def _call(lifecycle: Lifecycle) -> OpenCall:
    call = lifecycle.open(ROUTE, "deepseek-chat")
    call.usage_override = Usage(input_tokens=10, output_tokens=1)
    return call


@pytest.mark.parametrize(("calls", "seen"), [(1, 0), (63, 0), (64, 64), (65, 64), (128, 128)])
def test_they_are_settled_in_batches_of_64(calls: int, seen: int) -> None:
    sums = Sums()
    lifecycle = _lifecycle(sums)
    for _ in range(calls):
        lifecycle.settle(_call(lifecycle), End.COMPLETE)
    assert len(sums.records) == seen
    lifecycle.drain()
    assert len(sums.records) == calls


def test_where_a_collector_listens_none_is_deferred() -> None:
    sums = Sums(listened_to=True)
    lifecycle = _lifecycle(sums)
    lifecycle.settle(_call(lifecycle), End.COMPLETE)
    assert len(sums.records) == 1


def test_whoever_holds_the_queue_can_have_it_settled() -> None:
    sums, deferred = Sums(), DeferredCalls()
    lifecycle = _lifecycle(sums, deferred)
    lifecycle.settle(_call(lifecycle), End.COMPLETE)
    deferred.drain()
    assert len(sums.records) == 1


def test_a_call_that_outlives_its_meter_is_settled_at_once() -> None:
    # The queue of a meter that was replaced is not drained again.
    before, after = Sums(), Sums()
    lifecycle = _lifecycle(before)
    call = _call(lifecycle)
    lifecycle.hand_over(_lifecycle(after))
    lifecycle.settle(call, End.COMPLETE)
    assert (len(before.records), len(after.records)) == (0, 1)


def test_a_child_process_settles_none_of_its_parents() -> None:
    sums, deferred = Sums(), DeferredCalls()
    lifecycle = _lifecycle(sums, deferred)
    lifecycle.settle(_call(lifecycle), End.COMPLETE)
    lifecycle.end_later(_call(lifecycle), End.DROPPED)
    deferred.forked()
    lifecycle.drain()
    assert sums.records == []


class Where(Sums):
    """A sink that notes on which thread a record came."""

    def __init__(self) -> None:
        super().__init__(listened_to=True)
        self.came = threading.Event()
        self.thread = 0

    def write(self, record: Record) -> None:
        super().write(record)
        self.thread = threading.get_ident()
        self.came.set()


def _stream_of(texts: list[str]) -> bytes:
    chunks = [{"model": "deepseek-chat", "choices": [{"delta": {"content": text}}]} for text in texts]
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)


@pytest.mark.parametrize("of", ["request", "answer", "stream"])
def test_a_long_text_is_counted_on_another_thread(of: str) -> None:
    sums, long = Where(), "word " * 20_000
    lifecycle = Lifecycle(price=Tokenmeter()._billing.price, sums=sums, estimate=True)
    call = lifecycle.open(ROUTE, "deepseek-chat", stream=of == "stream")
    if of == "stream":
        body = _stream_of([long, "end"])
        call.reading = reading = StreamReading("deepseek", "openai.chat", "deepseek-chat", "text/event-stream")
        lifecycle.body_opened(call)
        for at in range(0, len(body), 70_000):
            reading.chunks.append(body[at : at + 70_000])
            lifecycle.body_grew(call)
        lifecycle.body_closed(call)
    else:
        call.request = {"messages": [{"role": "user", "content": long if of == "request" else "hi"}]}
        answer = {"choices": [{"message": {"content": long if of == "answer" else "hello"}}]}
        call.reading = BodyReading("deepseek", "openai.chat", "deepseek-chat", json.dumps(answer).encode())
    lifecycle.settle(call, End.COMPLETE)
    assert sums.came.wait(30)
    assert sums.thread != threading.get_ident()
    usage = sums.records[0].usage
    tokens = usage.input_tokens if of == "request" else usage.output_tokens
    assert tokens is not None
    assert tokens >= 20_000


def test_what_the_caller_adds_to_its_messages_is_not_counted() -> None:
    sums, long = Where(), "word " * 20_000
    lifecycle = Lifecycle(price=Tokenmeter()._billing.price, sums=sums, estimate=True)
    counted = []
    for more in ("", long):
        call = lifecycle.open(ROUTE, "deepseek-chat")
        messages = [{"role": "user", "content": long}]
        call.request = {"messages": messages}
        call.reading = BodyReading("deepseek", "openai.chat", "deepseek-chat", b'{"choices": []}')
        with lifecycle._deferred._turn:  # the background thread begins after the caller went on
            lifecycle.settle(call, End.COMPLETE)
            if more:
                messages.append({"role": "user", "content": more})
        lifecycle.drain()
        counted.append(sums.records[-1].usage.input_tokens)
    assert counted[0] == counted[1] is not None


@pytest.mark.parametrize(
    ("ends", "end"),
    [
        ([End.DROPPED], End.DROPPED),
        ([End.DROPPED, End.CLOSED_EARLY], End.CLOSED_EARLY),
        ([End.CLOSED_EARLY, End.DROPPED], End.CLOSED_EARLY),
    ],
)
def test_a_stream_that_is_closed_was_not_dropped(ends: list[End], end: End) -> None:
    sums = Sums()
    lifecycle = _lifecycle(sums)
    call = _call(lifecycle)
    with lifecycle._deferred._turn:
        for one in ends:
            lifecycle.end_later(call, one)
    over = call.started_ns + lifecycle.monotonic() - call.started_mono
    lifecycle.drain()
    assert [record.end for record in sums.records] == [end]
    assert sums.records[0].ended_ns <= over
