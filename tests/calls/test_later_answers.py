"""Calls that wait for their answer: how many may, and how the oldest ends when one more comes; calls by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tokenmeter import End, Tokenmeter
from tokenmeter.calls import later_answers
from tokenmeter.calls.opencall import OpenCall
from tokenmeter.calls.response import ObjectReading
from tokenmeter.calls.waiting_calls import any_wait
from tokenmeter.testing import Records, capture

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


def answered(call: OpenCall, answer: object) -> None:
    call.reading = ObjectReading(answer, call.provider, call.api, call.request_model)
    call.lifecycle.settle(call, End.COMPLETE)


def submitted(meter: Tokenmeter, task: str) -> None:
    """A call whose answer names a task that is not over."""
    route = meter.route(
        "ark.cn-beijing.volces.com", None, "/api/v3", "/contents/generations/tasks", None, any_host=False
    )
    assert route is not None
    answered(meter.open_call(route, "doubao-seedance-1-0-pro", stream=False, body={}), {"id": task, "status": "queued"})


def poll(task: str) -> OpenCall | None:
    return later_answers.poll_of("GET", f"/api/v3/contents/generations/tasks/{task}", None)


def test_the_oldest_of_too_many_waiting_calls_is_recorded_as_dropped(meter: Tokenmeter, records: Records) -> None:
    names = [f"task-{number}" for number in range(MOST + 1)]
    for name in names[:-1]:
        submitted(meter, name)
    assert (list(records.drain()), any_wait()) == ([], True)
    submitted(meter, names[-1])
    assert [record.end for record in records.drain()] == [End.DROPPED]
    assert [poll(name) is not None for name in (names[0], names[1], names[-1])] == [False, True, True]
    for name in names[1:]:
        found = poll(name)
        assert found is not None
        answered(found, {"id": name, "status": "succeeded", "usage": {"completion_tokens": 7, "total_tokens": 7}})
        assert poll(name) is None
    ended = records.drain()
    assert [record.end for record in ended] == [End.DROPPED, *[End.COMPLETE] * MOST]
    assert {record.usage.output_tokens for record in ended[1:]} == {7}
    assert not any_wait()


@pytest.mark.parametrize(
    ("provider", "answer"),
    [
        ("openai", {"id": "resp_1", "object": "response", "status": "queued", "output": [], "usage": None}),
        ("zhipu", {"id": "t1", "request_id": "r", "model": "glm-4.6", "task_status": "PROCESSING"}),
        ("alibaba", {"output": {"task_id": "t", "task_status": "PENDING"}, "request_id": "r"}),
        ("google", {"id": "int1", "object": "interaction", "status": "in_progress"}),
    ],
)
def test_an_announcement_given_by_hand_is_no_answer(
    meter: Tokenmeter, records: Records, provider: str, answer: dict[str, object]
) -> None:
    request = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    with meter.call(provider=provider, model="m", request=request) as call:
        call.observe(answer)
    record = records.only()
    assert (record.usage.input_tokens, record.usage.output_tokens, record.cost.total) == (None, None, None)
    assert record.reason == "the vendor answers later, and that answer was not seen"
