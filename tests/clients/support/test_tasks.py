"""Calls that wait for their task: how many may wait, and how the oldest ends when one more comes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tokenmeter import End, Tokenmeter
from tokenmeter.calls.opencall import OpenCall
from tokenmeter.clients.support import tasks
from tokenmeter.clients.table import TaskForm
from tokenmeter.testing import Records, capture

FORM = TaskForm("id", "status", done=("succeeded",), failed=("failed",), error="error.code")
MOST = 1000


@pytest.fixture
def meter() -> Iterator[Tokenmeter]:
    made = Tokenmeter(spans="none")
    yield made
    made.shutdown()


@pytest.fixture
def records(meter: Tokenmeter) -> Iterator[Records]:
    with capture(meter) as found:
        yield found


def submitted(meter: Tokenmeter, task: str) -> OpenCall:
    """A call whose answer names a task that is not over."""
    route = meter.route(
        "ark.cn-beijing.volces.com", None, "/api/v3", "/contents/generations/tasks", None, any_host=False
    )
    assert route is not None
    call = meter.open_call(route, "doubao-seedance-1-0-pro", stream=False, body={})
    assert tasks.hold(FORM, call, {"id": task, "status": "queued"})
    return call


def test_the_oldest_of_too_many_waiting_calls_is_recorded_as_dropped(meter: Tokenmeter, records: Records) -> None:
    names = [f"task-{number}" for number in range(MOST + 1)]
    try:
        for name in names[:-1]:
            submitted(meter, name)
        assert list(records.drain()) == []
        submitted(meter, names[-1])
        assert [record.end for record in records.drain()] == [End.DROPPED]
        assert [tasks.waiting(name) for name in (names[0], names[1], names[-1])] == [False, True, True]
    finally:
        for name in names:
            tasks.finish(FORM, {"id": name, "status": "succeeded"})
    assert [record.end for record in records.drain()] == [End.DROPPED, *[End.COMPLETE] * MOST]
