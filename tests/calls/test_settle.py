"""The record of a finished call: which of two facts wins, and what is said of an answer that carried no usage."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tokenmeter import End, Source, Tokenmeter, Usage
from tokenmeter.record import Record
from tokenmeter.testing import FixedClock, capture, json_reply, provider_server
from tokenmeter.tokens import count_request


def recorded(meter: Tokenmeter, request: dict[str, Any], answer: dict[str, Any], provider: str) -> Record:
    """The record of a request sent with httpx to a server that gives this answer."""
    httpx = pytest.importorskip("httpx")
    with provider_server(answer=lambda _: json_reply(answer)) as server, capture(meter) as records:
        client = meter.wrap(httpx.Client(base_url=server.url()), provider=provider)
        client.post("chat/completions", json=request)
    return records.only()


def sonar(asked: str | None, answered: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """A request to Perplexity and its answer, each with the search context it states."""
    options = {"web_search_options": {"search_context_size": asked}} if asked is not None else {}
    request = {"model": "sonar", "messages": [{"role": "user", "content": "你好"}], **options}
    said = {"search_context_size": answered} if answered is not None else {}
    usage = {"prompt_tokens": 14, "completion_tokens": 400, "total_tokens": 414, **said}
    choice = {"index": 0, "message": {"role": "assistant", "content": "你好"}, "finish_reason": "stop"}
    return request, {"id": "c-1", "object": "chat.completion", "model": "sonar", "choices": [choice], "usage": usage}


def test_a_beta_header_that_bills_is_counted(meter: Tokenmeter) -> None:
    """An answer without usage: the prompt is counted with what its header switches on."""
    httpx = pytest.importorskip("httpx")
    tools = [{"name": "note", "input_schema": {"type": "object", "properties": {}}}]
    request = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    answer = {"type": "message", "role": "assistant", "content": [{"type": "text", "text": "hello"}]}
    with provider_server(answer=lambda _: json_reply(answer)) as server, capture(meter) as records:
        client = meter.wrap(httpx.Client(base_url=server.url()), provider="anthropic")
        for headers in ({}, {"anthropic-beta": "interleaved-thinking-2025-05-14"}):
            client.post("messages", json=request | {"tools": tools}, headers=headers)
    counts = [record.usage.input_tokens or 0 for record in records]
    assert counts[1] - counts[0] == 140


def test_tool_definitions_are_counted_where_the_input_is(meter: Tokenmeter) -> None:
    function = {"name": "weather", "description": "The weather of a city.", "parameters": {"type": "object"}}
    request, answer = sonar(None, None)
    plain = request | {"model": "deepseek-chat"}
    offered = plain | {"tools": [{"type": "function", "function": function}]}
    silent = {name: value for name, value in answer.items() if name != "usage"}
    first, second = (recorded(meter, body, silent, "deepseek") for body in (plain, offered))
    assert (first.tool_definition_tokens, first.usage.source_of("input_tokens")) == (0, Source.COUNTED)
    assert second.tool_definition_tokens
    assert second.usage.input_tokens == (first.usage.input_tokens or 0) + second.tool_definition_tokens
    assert count_request(offered, provider="deepseek").tool_definitions == second.tool_definition_tokens
    reported = recorded(meter, offered, answer, "deepseek")
    assert (reported.usage.input_tokens, reported.tool_definition_tokens) == (14, None)


@pytest.mark.parametrize(
    ("asked", "answered", "billed"),
    [
        pytest.param("high", "low", "low", id="the answer's fact bills"),
        pytest.param("low", "high", "high", id="the answer's fact bills, upwards too"),
        pytest.param("high", None, "high", id="the request's where the answer says nothing"),
        pytest.param(None, "medium", "medium", id="the answer's where the request says nothing"),
        pytest.param(None, None, None, id="neither"),
    ],
)
def test_a_fact_of_the_answer_wins_over_the_requests(
    meter: Tokenmeter, asked: str | None, answered: str | None, billed: str | None
) -> None:
    record = recorded(meter, *sonar(asked, answered), provider="perplexity")
    assert record.params.get("search_context_size") == billed


def test_a_call_that_nothing_came_back_from_has_no_usage_and_says_so(meter: Tokenmeter) -> None:
    with capture(meter) as records, meter.call(provider="zhipu", model="glm-4.6"):
        pass
    record = records.only()
    assert (record.usage, record.reason) == (Usage(source=Source.NONE), "no answer was seen")
    assert (record.cost.status, record.cost.amount) == ("unpriced", None)


def test_a_usage_given_by_hand_that_contradicts_itself_is_flagged(meter: Tokenmeter) -> None:
    with capture(meter) as records, meter.call(provider="zhipu", model="glm-4.6") as call:
        call.observe_usage(Usage(input_tokens=10, output_tokens=5, cache_read_input_tokens=30))
    record = records.only()
    assert record.end is End.COMPLETE
    assert [flag for flag in record.flags if flag.startswith("contradiction: ")], record.flags


def test_the_duration_is_that_of_the_steady_clock() -> None:
    """The wall clock is set back during the call; the call still took three seconds."""
    wall, steady = FixedClock("2026-06-01T12:00:00+08:00"), FixedClock("2000-01-01T00:00:00+00:00")
    meter = Tokenmeter(clock=wall, monotonic=steady, spans="none")
    with capture(meter) as records, meter.call(provider="zhipu", model="glm-4.6"):
        wall.set("2026-06-01T11:00:00+08:00")
        steady.advance(3)
    assert records.only().duration == Decimal(3)
