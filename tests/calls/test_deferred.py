"""Calls whose record nothing waits for are settled in a batch; none is lost when the meter is replaced or forked."""

from __future__ import annotations

import pytest

from tokenmeter import End, Record, Tokenmeter, Usage
from tokenmeter.calls.deferred import DeferredCalls
from tokenmeter.calls.lifecycle import Lifecycle
from tokenmeter.calls.opencall import OpenCall, Route

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
    lifecycle.drop(_call(lifecycle))
    deferred.forked()
    lifecycle.drain()
    assert sums.records == []
